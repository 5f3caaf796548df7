/** The guest's files: folders to walk through, files that come and go. */
import type { FileEntry } from '../../api/schemas.js';
import { button, confirmed, el, enable, field, prompted } from './dom.js';
import { formatBytes, formatTime } from './format.js';
import { childOf, cleanPath, modeText, nameProblem, parentOf, sorted } from './guest-path.js';
import { messageOf } from './notices.js';
import { chosenFolders, droppedFolder, isFolder, type PickedFolder } from './picked-folders.js';
import { Uploads } from './uploads.js';
import type { Session, View } from './view.js';

const COLUMNS = ['Name', 'Size', 'Mode', 'Changed'] as const;
/** Lines of a folder that are shown: a page with more becomes slow. */
const MOST_SHOWN = 2000;

/** A folder that is to be uploaded; what is in it is found when its turn comes. */
interface LookedFor {
  readonly name: string;
  readonly look: (signal: AbortSignal) => Promise<PickedFolder>;
}

export class FilesTab implements View {
  readonly element: HTMLElement;
  private readonly path = el('input', { name: 'folder', autocomplete: 'off', spellcheck: false, value: '/' });
  private readonly body = el('tbody');
  private readonly caption = el('caption', { tabIndex: -1 });
  private readonly table: HTMLTableElement;
  private readonly state = el('span', { className: 'note', attrs: { role: 'status' } });
  private readonly picker = el('input', { type: 'file', multiple: true, hidden: true });
  private readonly folderPicker = el('input', { type: 'file', webkitdirectory: true, hidden: true });
  private readonly up: HTMLButtonElement;
  private readonly controls: readonly HTMLButtonElement[];
  private readonly uploads: Uploads;
  private folder = '/';
  private known: ReadonlySet<string> = new Set();
  private looking: AbortController | undefined;
  /** What is being opened; undefined: nothing is. */
  private wanted: { readonly path: string; readonly focus: boolean } | undefined;

  /** `blocked`: why files are not to be had now; undefined: they are. */
  constructor(
    private readonly session: Session,
    private readonly name: string,
    private readonly blocked: () => string | undefined,
  ) {
    const { failed } = session.notices;
    this.uploads = new Uploads(session.client, name, {
      done: (file) => {
        session.notices.say(`${file} is in ${name}.`);
        this.refresh();
      },
      failed: (error) => {
        failed(error);
        this.refresh();
      },
    });
    this.up = button('Up', () => this.open(parentOf(this.folder), true), failed);
    const upload = button('Upload', () => this.picker.click(), failed);
    const uploadFolder = button('Upload folder', () => this.folderPicker.click(), failed);
    const make = button('New folder', () => this.makeFolder(), failed);
    const reload = button('Reload', () => this.open(this.folder), failed);
    this.controls = [upload, uploadFolder, make];
    this.picker.onchange = () => {
      this.send([...(this.picker.files ?? [])]).catch(failed);
      this.picker.value = '';
    };
    this.folderPicker.onchange = () => {
      const folders = chosenFolders(this.folderPicker.files ?? []);
      this.send(
        [],
        [...folders].map(([folder, found]) => ({ name: folder, look: () => Promise.resolve(found) })),
      ).catch(failed);
      this.folderPicker.value = '';
    };
    const form = el(
      'form',
      { className: 'line path' },
      field('Folder', this.path),
      el('button', { type: 'submit' }, 'Open'),
      this.up,
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      void this.open(this.path.value, true);
    };
    const head = el('tr', {}, ...[...COLUMNS, ''].map((label) => el('th', { scope: 'col' }, label)));
    this.table = el('table', { className: 'files', hidden: true }, this.caption, el('thead', {}, head), this.body);
    this.element = el(
      'div',
      { className: 'drop' },
      form,
      el('div', { className: 'bar' }, upload, uploadFolder, make, reload, this.state, this.picker, this.folderPicker),
      el(
        'p',
        { className: 'note' },
        'Files and folders that are dropped here are uploaded into the folder that is shown.',
      ),
      this.uploads.element,
      this.table,
    );
    this.takeDrops();
  }

  private takeDrops(): void {
    const { element } = this;
    const mark = (event: DragEvent): void => {
      // Only files: what is dragged within the page is something else.
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = 'copy';
      element.dataset['over'] = '';
    };
    element.ondragenter = mark;
    element.ondragover = mark;
    element.ondragleave = (event) => {
      if (!(event.relatedTarget instanceof Node && element.contains(event.relatedTarget)))
        delete element.dataset['over'];
    };
    element.ondrop = (event) => {
      delete element.dataset['over'];
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      const items = [...event.dataTransfer.items];
      // Both are to be had during the event only.
      const entries = items.map((item) => item.webkitGetAsEntry());
      const files = items.flatMap((item, i) => (isFolder(entries[i]) ? [] : (item.getAsFile() ?? [])));
      const folders = entries.filter(isFolder).map((entry) => ({
        name: entry.name,
        look: (signal: AbortSignal) => droppedFolder(entry, signal),
      }));
      this.send(files, folders).catch(this.session.notices.failed);
    };
  }

  /** Shows a folder; `focus`: its name gets the focus, since what had it is gone. What goes wrong is said beside it. */
  private async open(path: string, focus = false): Promise<void> {
    this.looking?.abort();
    const looking = new AbortController();
    this.looking = looking;
    const why = this.blocked();
    for (const control of [this.up, ...this.controls]) enable(control, why === undefined);
    if (why !== undefined) {
      this.state.textContent = why;
      return;
    }
    this.state.textContent = 'looks …';
    this.wanted = { path, focus };
    try {
      const folder = cleanPath(path);
      const entries = await this.session.client.listFolder(this.name, folder, { signal: looking.signal });
      if (looking.signal.aborted) return;
      // What somebody types meanwhile stays.
      if (focus || folder !== this.folder || this.path.value === '') this.path.value = folder;
      this.fill(folder, entries);
      if (focus) this.caption.focus();
    } catch (error) {
      if (!looking.signal.aborted) this.state.textContent = messageOf(error);
    }
    if (this.looking === looking) this.wanted = undefined;
  }

  /** Looks once more: where somebody is about to go, if so. */
  private refresh(): void {
    const { path, focus } = this.wanted ?? { path: this.folder, focus: false };
    void this.open(path, focus);
  }

  private fill(folder: string, entries: readonly FileEntry[]): void {
    this.folder = folder;
    this.caption.textContent = folder;
    this.known = new Set(entries.map(({ name }) => name));
    enable(this.up, folder !== '/');
    const left = entries.length - MOST_SHOWN;
    this.state.textContent =
      (entries.length === 1 ? '1 entry' : `${entries.length} entries`) +
      (left > 0 ? `, the first ${MOST_SHOWN} shown` : '');
    this.table.hidden = false;
    this.body.replaceChildren(
      ...sorted(entries)
        .slice(0, MOST_SHOWN)
        .map((entry) => this.row(folder, entry)),
    );
  }

  private row(folder: string, entry: FileEntry): HTMLElement {
    const { name, type, size, modified } = entry;
    const { failed } = this.session.notices;
    const path = childOf(folder, name);
    const leads = type === 'folder' || type === 'link';
    const work = (): Promise<void> => (type === 'folder' ? this.open(path, true) : this.follow(path, name));
    // What is neither file nor folder has no contents.
    const label = leads || type === 'file' ? button(name, work, failed, 'link') : el('span', {}, name);
    if (type === 'folder') label.setAttribute('aria-label', `${name}, a folder`);
    const remove = button('Delete', () => this.remove(path, name, type === 'folder'), failed, 'danger');
    remove.setAttribute('aria-label', `Delete ${name}`);
    const cell = (i: number, text: string): HTMLElement => el('td', { attrs: { 'data-label': COLUMNS[i] } }, text);
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, el('bdi', {}, label), type === 'folder' && '/'),
      cell(1, type === 'file' ? formatBytes(size) : ''),
      el('td', { attrs: { 'data-label': COLUMNS[2] } }, el('code', {}, modeText(entry))),
      cell(3, formatTime(modified)),
      el('td', { className: 'actions' }, type === 'file' && this.downloadButton(path, name), remove),
    );
  }

  private downloadButton(path: string, name: string): HTMLButtonElement {
    const made = button('Download', () => this.download(path, name), this.session.notices.failed);
    made.setAttribute('aria-label', `Download ${name}`);
    return made;
  }

  /** A symbolic link leads to a folder or to a file. */
  private async follow(path: string, name: string): Promise<void> {
    const { type } = await this.session.client.fileStatus(this.name, path);
    if (type === 'folder') await this.open(path, true);
    else await this.download(path, name);
  }

  /** The browser writes it to its disk as it comes: a ticket stands for the token, which an address must not have. */
  private async download(path: string, name: string): Promise<void> {
    const { client } = this.session;
    const { type } = await client.fileStatus(this.name, path);
    // Others have no end, or none that comes by itself.
    if (type !== 'file') throw new Error(`${path} is no file: it cannot be downloaded.`);
    const { ticket } = await client.ticket();
    const link = el('a', { href: client.fileAddress(this.name, path, ticket), download: name, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
  }

  private async makeFolder(): Promise<void> {
    const name = await prompted('New folder', 'Name', 'Make');
    if (name === undefined) return;
    const problem = nameProblem(name);
    if (problem !== undefined) throw new Error(`${problem}.`);
    await this.session.client.makeFolder(this.name, childOf(this.folder, name));
    await this.open(this.folder);
  }

  private async remove(path: string, name: string, isFolder: boolean): Promise<void> {
    const question = isFolder ? `Delete the folder ${name} with all that is in it?` : `Delete ${name}?`;
    if (!(await confirmed(question, 'Delete'))) return;
    await this.session.client.removeFile(this.name, path, { recursive: isFolder });
    await this.open(this.folder, true);
  }

  private async send(files: readonly File[], folders: readonly LookedFor[] = []): Promise<void> {
    const why = this.blocked();
    if (why !== undefined) throw new Error(`Nothing can be uploaded: ${why}.`);
    const { folder, known } = this;
    for (const file of files) {
      const isNew = !known.has(file.name);
      if (isNew || (await confirmed(`${file.name} is there already. Replace it?`, 'Replace')))
        this.uploads.add(folder, file, isNew);
    }
    for (const { name, look } of folders)
      if (!known.has(name) || (await confirmed(`${name} is there already. Replace what is in both?`, 'Replace')))
        this.uploads.addFolder(folder, name, look);
  }

  show(): void {
    this.refresh();
  }

  hide(): void {
    // What is on its way goes on.
    this.looking?.abort();
  }

  close(): void {
    this.hide();
    this.uploads.close();
  }
}
