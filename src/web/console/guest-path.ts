/** Paths of guests, and what is told of what is there. */
import type { FileEntry, Port } from '../../api/schemas.js';

/** From the root, without `.`, `..` and doubled slashes. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

export const childOf = (folder: string, name: string): string => (folder === '/' ? `/${name}` : `${folder}/${name}`);

export const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

/** Why a file cannot be called that; undefined: it can. */
export function nameProblem(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'a name is missing';
  if (name.includes('/')) return 'a name has no /';
  return name.includes('\0') ? 'a name has no character 0' : undefined;
}

const LETTERS: Readonly<Record<string, string>> = {
  folder: 'd',
  link: 'l',
  pipe: 'p',
  socket: 's',
  'character-device': 'c',
  'block-device': 'b',
};

/** As `ls -l` shows it: -rwxr-xr-x. */
export function modeText({ type, mode }: Pick<FileEntry, 'type' | 'mode'>): string {
  let text = '';
  for (const [i, special] of ['s', 's', 't'].entries()) {
    const bits = (mode >> (6 - 3 * i)) & 7;
    const executable = (bits & 1) !== 0;
    const isSpecial = (mode & (0o4000 >> i)) !== 0;
    const last = isSpecial ? (executable ? special : special.toUpperCase()) : executable ? 'x' : '-';
    text += (bits & 4 ? 'r' : '-') + (bits & 2 ? 'w' : '-') + last;
  }
  return (LETTERS[type] ?? '-') + text;
}

/** Folders first, each by name. */
export function sorted(entries: readonly FileEntry[]): FileEntry[] {
  const rank = ({ type }: FileEntry): number => (type === 'folder' ? 0 : 1);
  return [...entries].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Where a page reaches a port that is open; `page`: the name or address that it was loaded from, as in `location.hostname`. */
export function portUrl({ hostAddress, hostPort }: Pick<Port, 'hostAddress' | 'hostPort'>, page: string): string {
  const everywhere = hostAddress === '0.0.0.0' || hostAddress === '::';
  const host = everywhere ? page : hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress;
  return `http://${host}:${hostPort}/`;
}
