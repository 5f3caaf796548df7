/** Folders of the user's computer, chosen or dropped, with all that is in them. */

/** A file in one. */
export interface PickedFile {
  /** From the folder on, without it: `sub/name`. */
  readonly path: string;
  readonly open: () => Promise<File>;
}

export interface PickedFolder {
  /** Folders in it, each behind the one that it is in. */
  readonly folders: readonly string[];
  readonly files: readonly PickedFile[];
}

/** What was chosen with `<input webkitdirectory>`, by the folders' names. Browsers leave out folders without files there. */
export function chosenFolders(files: Iterable<File>): ReadonlyMap<string, PickedFolder> {
  const picked = new Map<string, { folders: Set<string>; files: PickedFile[] }>();
  for (const file of files) {
    const [name, ...parts] = file.webkitRelativePath.split('/');
    const folder = picked.get(name) ?? { folders: new Set(), files: [] };
    picked.set(name, folder);
    for (let i = 1; i < parts.length; i++) folder.folders.add(parts.slice(0, i).join('/'));
    folder.files.push({ path: parts.join('/'), open: () => Promise.resolve(file) });
  }
  return new Map([...picked].map(([name, { folders, files: own }]) => [name, { folders: [...folders], files: own }]));
}

/** Looks through a folder that was dropped (File and Directory Entries API). Rejected with the signal's reason when it is aborted. */
export async function droppedFolder(folder: FileSystemDirectoryEntry, signal: AbortSignal): Promise<PickedFolder> {
  const folders: string[] = [];
  const files: PickedFile[] = [];
  const walk = async (at: FileSystemDirectoryEntry, before: string): Promise<void> => {
    const reader = at.createReader();
    for (;;) {
      signal.throwIfAborted();
      // A part of them at a time; none when there are no more.
      const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (entries.length === 0) return;
      for (const entry of entries) {
        const path = before + entry.name;
        if (isFolder(entry)) {
          folders.push(path);
          await walk(entry, `${path}/`);
        } else if (isFile(entry))
          files.push({ path, open: () => new Promise((resolve, reject) => entry.file(resolve, reject)) });
      }
    }
  };
  await walk(folder, '');
  return { folders, files };
}

export const isFolder = (entry: FileSystemEntry | null): entry is FileSystemDirectoryEntry =>
  entry?.isDirectory === true;
const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
