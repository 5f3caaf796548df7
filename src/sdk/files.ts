/** Files of the guest. */
import { UsageError } from '../base/errors.js';
import type { AgentConnection } from './agent/connection.js';
import { checkListener, checkObject, checkOptions, checkSignalOption, checkText } from './kinds.js';
import { ProtocolError } from './agent/protocol.js';
import type { AgentRequest } from './agent/request.js';
import { runApplet, type AppletOptions } from './applet.js';
import { join } from './bytes.js';
import { errnoCode, errnoText } from './errno.js';
import { GuestFileError } from './errors.js';
import type { Input } from './exec.js';

/** What a file is. */
export type FileType = 'file' | 'folder' | 'link' | 'pipe' | 'socket' | 'character-device' | 'block-device' | 'other';

/** What the guest knows of a file. */
export interface FileStatus {
  readonly type: FileType;
  /** Permissions, 0 … 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Hard links. */
  readonly links: number;
  /** Bytes; beyond 2**53 not exact. */
  readonly size: number;
  readonly inode: bigint;
  readonly modified: Date;
}

/** A file in a folder. */
export interface FolderEntry extends FileStatus {
  readonly name: string;
}

/** What all calls about files take. */
export interface FileOptions {
  /** Whose rights count; without it root's. */
  readonly user?: string;
  readonly signal?: AbortSignal;
}

/** How a file is written. */
export interface WriteOptions extends FileOptions {
  /** Permissions; without them a new file has 0o644, and one that is there keeps its own. */
  readonly mode?: number;
  /** `replace` (unless given), `append`, or `create`: only where nothing is. */
  readonly how?: 'replace' | 'append' | 'create';
}

/** What has happened. `overflow`: more than the guest's kernel could remember. */
export type FileChange = 'created' | 'changed' | 'removed' | 'attributes' | 'moved-from' | 'moved-to' | 'overflow';

/** Something has happened to a watched file, or in a watched folder. */
export interface FileEvent {
  readonly change: FileChange;
  /** In a folder; empty for what is watched itself. */
  readonly name: string;
  readonly isFolder: boolean;
  /** The same for both ends of a move; else 0. */
  readonly cookie: number;
}

/** Bytes of a status, as guest/agent/applets.c has it. */
const RECORD = 56;

/** Bytes of a file that are read into memory, whatever the guest says it has, and of a list: a million names and more. */
const MAX_READ = 2 ** 30;
const MAX_LIST = 2 ** 28;

/** Events that wait for whoever watches; the guest's kernel keeps more, and tells when it lost some. */
const MAX_EVENTS = 4096;

const TYPES: Readonly<Record<number, FileType>> = {
  0o010000: 'pipe',
  0o020000: 'character-device',
  0o040000: 'folder',
  0o060000: 'block-device',
  0o100000: 'file',
  0o120000: 'link',
  0o140000: 'socket',
};

/** Of inotify(7). */
const IN = { MODIFY: 0x2, ATTRIB: 0x4, CLOSE_WRITE: 0x8, FROM: 0x40, TO: 0x80, CREATE: 0x100, DELETE: 0x200 } as const;
const IN_SELF = { DELETE: 0x400, MOVE: 0x800 } as const;
const IN_TOLD = { OVERFLOW: 0x4000, IS_FOLDER: 0x4000_0000 } as const;
const WATCHED = [...Object.values(IN), ...Object.values(IN_SELF)].reduce((all, bit) => all | bit, 0);
const INOTIFY_EVENT = 16;

const CHANGES: readonly (readonly [number, FileChange])[] = [
  [IN_TOLD.OVERFLOW, 'overflow'],
  [IN.CREATE, 'created'],
  [IN.DELETE | IN_SELF.DELETE, 'removed'],
  [IN.FROM | IN_SELF.MOVE, 'moved-from'],
  [IN.TO, 'moved-to'],
  [IN.ATTRIB, 'attributes'],
  [IN.MODIFY | IN.CLOSE_WRITE, 'changed'],
];

function statusAt(bytes: Uint8Array, at: number): FileStatus {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, RECORD);
  const mode = view.getUint32(0, true);
  return {
    type: TYPES[mode & 0o170000] ?? 'other',
    mode: mode & 0o7777,
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
    links: view.getUint32(12, true),
    size: Number(view.getBigUint64(16, true)),
    inode: view.getBigUint64(24, true),
    modified: new Date(Number(view.getBigInt64(32, true)) * 1000 + Math.floor(view.getUint32(40, true) / 1e6)),
  };
}

/** Reads a list of a folder. Names that are no names, which only a guest that lies sends, throw a ProtocolError. */
export function readEntries(bytes: Uint8Array): FolderEntry[] {
  const entries: FolderEntry[] = [];
  const decoder = new TextDecoder();
  for (let at = 0; at < bytes.length;) {
    if (at + RECORD + 2 > bytes.length) throw new ProtocolError('a list that ends in the middle');
    const length = bytes[at + RECORD] | (bytes[at + RECORD + 1] << 8);
    const start = at + RECORD + 2;
    if (start + length > bytes.length) throw new ProtocolError('a list that ends in the middle');
    const name = decoder.decode(bytes.subarray(start, start + length));
    if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name))
      throw new ProtocolError('a file whose name is none');
    entries.push({ name, ...statusAt(bytes, at) });
    at = start + length;
  }
  return entries;
}

/** Cuts what inotify says into events; what is not whole yet stays. */
export class EventReader {
  private rest: Uint8Array = new Uint8Array(0);

  read(bytes: Uint8Array): FileEvent[] {
    const all = this.rest.length > 0 ? join([this.rest, bytes]) : bytes;
    const view = new DataView(all.buffer, all.byteOffset, all.length);
    const events: FileEvent[] = [];
    let at = 0;
    while (all.length - at >= INOTIFY_EVENT) {
      const mask = view.getUint32(at + 4, true);
      const length = view.getUint32(at + 12, true);
      // A name has at most 255 bytes, and the structure is filled up to a multiple of its size.
      if (length > 4096) throw new ProtocolError('an event whose name is none');
      const end = at + INOTIFY_EVENT + length;
      if (end > all.length) break;
      const name = new TextDecoder().decode(all.subarray(at + INOTIFY_EVENT, end)).replace(/\0.*$/s, '');
      const change = CHANGES.find(([bits]) => (mask & bits) !== 0)?.[1];
      const isFolder = (mask & IN_TOLD.IS_FOLDER) !== 0;
      if (change) events.push({ change, name, isFolder, cookie: view.getUint32(at + 8, true) });
      at = end;
    }
    this.rest = all.slice(at);
    return events;
  }
}

/** How a file is written, by the agent's letters. */
const HOW = { replace: 'w', append: 'a', create: 'x' } as const;

/** Users and signals of a call; all others are this module's, or a mistake. */
const APPLET_OPTIONS: readonly (keyof AppletOptions)[] = [
  'user',
  'signal',
  'stdin',
  'maxAnswer',
  'onData',
  'onRequest',
];

/** What was given as options. Throws a UsageError unless it is an object. */
function given<T extends object>(options: T): T {
  checkObject(options, 'options');
  return options;
}

/** Throws a UsageError for what is no option of a call, or of a wrong kind. */
function checkApplet(options: AppletOptions): void {
  checkOptions(options, APPLET_OPTIONS);
  if (options.user !== undefined) checkText(options.user, 'user');
  checkSignalOption(options.signal);
}

/** Files of a guest, by their paths there, which begin with `/`. */
export class GuestFiles {
  /** @internal Made with the machine: `vm.fs`. */
  constructor(private readonly connection: AgentConnection) {}

  private async run(what: string, argv: readonly string[], options: AppletOptions = {}): Promise<Uint8Array> {
    const path = argv[1];
    for (const word of argv) checkText(word, 'a path');
    checkApplet(options);
    if (!path.startsWith('/')) throw new UsageError(`${path} is no path from the guest's root: it begins with /`);
    const answer = await runApplet(this.connection, argv, options);
    if ('bytes' in answer) return answer.bytes;
    const { errno } = answer;
    throw new GuestFileError(`cannot ${what} ${path} in the guest: ${errnoText(errno)}`, errnoCode(errno), path);
  }

  /** A file's contents, or a part of them: 1 GiB at most unless `length` says more. `readTo` is for what is larger. */
  async read(
    path: string,
    options: FileOptions & { readonly offset?: number; readonly length?: number } = {},
  ): Promise<Uint8Array> {
    const { offset = 0, length, ...rest } = given(options);
    return this.run(
      'read',
      ['read', path, count(offset, 'offset'), length === undefined ? '' : count(length, 'length')],
      { ...rest, maxAnswer: length ?? MAX_READ },
    );
  }

  /** A file's contents as UTF-8. */
  async readText(path: string, options: FileOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.read(path, options));
  }

  /** Hands a file's contents over as they come; a promise makes the guest wait. */
  async readTo(
    path: string,
    take: (bytes: Uint8Array) => void | Promise<void>,
    options: FileOptions = {},
  ): Promise<void> {
    checkListener(take);
    await this.run('read', ['read', path, '0', ''], { ...given(options), onData: take });
  }

  /** Writes a file: a text, bytes, or what comes piece by piece. */
  async write(path: string, contents: Input, options: WriteOptions = {}): Promise<void> {
    const { mode, how = 'replace', ...rest } = given(options);
    if (!Object.hasOwn(HOW, how)) throw new UsageError(`how is ${Object.keys(HOW).join(', ')}, not "${how}"`);
    const permissions = mode === undefined ? '' : checkMode(mode);
    await this.run('write', ['write', path, permissions, HOW[how]], { ...rest, stdin: contents });
  }

  /**
   * What is in a folder, without order. `maxBytes`: of the list, in which a name takes 58 and its own; with more it fails with EFBIG.
   * 256 MiB unless given.
   */
  async list(path: string, options: FileOptions & { readonly maxBytes?: number } = {}): Promise<FolderEntry[]> {
    const { maxBytes = MAX_LIST, ...rest } = given(options);
    return readEntries(
      await this.run('list', ['list', path], { ...rest, maxAnswer: Number(count(maxBytes, 'maxBytes')) }),
    );
  }

  /** What a file is. `follow`: false to look at a symbolic link itself. */
  async stat(path: string, options: FileOptions & { readonly follow?: boolean } = {}): Promise<FileStatus> {
    const { follow = true, ...rest } = given(options);
    const bytes = await this.run('look at', ['stat', path, follow ? '1' : '0'], rest);
    if (bytes.length !== RECORD) throw new ProtocolError('a status of the wrong size');
    return statusAt(bytes, 0);
  }

  /** Whether something is there. */
  async exists(path: string, options: FileOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, { ...given(options), follow: false });
      return true;
    } catch (error) {
      if (error instanceof GuestFileError && ['ENOENT', 'ENOTDIR'].includes(error.code)) return false;
      throw error;
    }
  }

  /** Makes a folder; `parents`: those above it too, and none of them need be new. */
  async mkdir(
    path: string,
    options: FileOptions & { readonly mode?: number; readonly parents?: boolean } = {},
  ): Promise<void> {
    const { mode = 0o755, parents = false, ...rest } = given(options);
    await this.run('make the folder', ['mkdir', path, checkMode(mode), parents ? '1' : '0'], rest);
  }

  /** Gives something another name, in place of what has it. */
  async rename(from: string, to: string, options: FileOptions = {}): Promise<void> {
    await this.run('rename', ['rename', from, to], options);
  }

  /** Removes a file or an empty folder; `recursive`: a folder with all that is in it. */
  async remove(path: string, options: FileOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    const { recursive = false, ...rest } = given(options);
    await this.run('remove', ['remove', path, recursive ? '1' : '0'], rest);
  }

  /** Sets permissions, 0 … 0o7777. */
  async chmod(path: string, mode: number, options: FileOptions = {}): Promise<void> {
    await this.run('change the mode of', ['chmod', path, checkMode(mode)], options);
  }

  /** By numbers; of a symbolic link, itself. */
  async chown(path: string, uid: number, gid: number, options: FileOptions = {}): Promise<void> {
    await this.run('change the owner of', ['chown', path, checkOwner(uid, 'user'), checkOwner(gid, 'group')], options);
  }

  /** Makes a symbolic link that leads to `target`. */
  async symlink(target: string, path: string, options: FileOptions = {}): Promise<void> {
    for (const word of [target, path]) checkText(word, 'a path');
    checkApplet(options);
    const answer = await runApplet(this.connection, ['symlink', target, path], options);
    if ('errno' in answer)
      throw new GuestFileError(
        `cannot make the link ${path} in the guest: ${errnoText(answer.errno)}`,
        errnoCode(answer.errno),
        path,
      );
  }

  /** Where a symbolic link leads. */
  async readlink(path: string, options: FileOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.run('read the link', ['readlink', path], options));
  }

  /**
   * What happens from now on to a file, or in a folder (not in folders below it):
   *
   *   const watch = await vm.fs.watch('/srv');
   *   for await (const { change, name } of watch) …
   */
  async watch(path: string, options: FileOptions = {}): Promise<FileWatch> {
    const watch = new FileWatch();
    const running = this.run('watch', ['watch', path, String(WATCHED)], {
      ...given(options),
      onRequest: (request) => watch.begin(request),
      onData: (bytes) => watch.take(bytes),
    });
    running.then(
      () => watch.finish(undefined),
      (error: unknown) => watch.finish(error),
    );
    // The agent begins with an event of nothing, when the guest's kernel watches.
    await Promise.race([watch.begun, running]);
    return watch;
  }
}

/** Events of a watched file or folder, in their order; ends when it is closed. */
export class FileWatch implements AsyncIterable<FileEvent> {
  /** @internal Made by `vm.fs.watch`. */
  constructor() {
    this.begun = new Promise((resolve) => (this.markBegun = resolve));
  }

  /** Resolves when the guest watches. */
  readonly begun: Promise<void>;
  private markBegun: () => void = () => {};
  private readonly reader = new EventReader();
  private readonly events: FileEvent[] = [];
  private request: AgentRequest | undefined;
  private ending: { readonly error: unknown } | undefined;
  private wake = (): void => {};
  /** What makes the guest go on that has to wait. */
  private goOn = (): void => {};

  /** @internal */
  begin(request: AgentRequest): void {
    this.request = request;
  }

  /**
   * Resolves when there is room for more events.
   * @internal
   */
  async take(bytes: Uint8Array): Promise<void> {
    this.markBegun();
    this.events.push(...this.reader.read(bytes));
    this.wake();
    if (this.events.length >= MAX_EVENTS && !this.ending) await new Promise<void>((resolve) => (this.goOn = resolve));
  }

  /** @internal */
  finish(error: unknown): void {
    this.ending ??= { error };
    this.goOn();
    this.wake();
  }

  /** Watches no more; loops over it end behind what has been told. */
  close(): void {
    this.request?.close(true);
    this.finish(undefined);
  }

  /** Like `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** What has happened so far, then what happens. */
  async *[Symbol.asyncIterator](): AsyncGenerator<FileEvent, void, undefined> {
    try {
      for (;;) {
        for (let next = this.events.shift(); next; next = this.events.shift()) yield next;
        this.goOn();
        if (this.ending) {
          // eslint-disable-next-line @typescript-eslint/only-throw-error -- whatever ended it, as it was thrown
          if (this.ending.error !== undefined) throw this.ending.error;
          return;
        }
        await new Promise<void>((resolve) => (this.wake = resolve));
      }
    } finally {
      this.close();
    }
  }
}

function checkMode(mode: number): string {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777)
    throw new UsageError(`mode is a number from 0 to 0o7777, not ${mode}`);
  return String(mode);
}

/** Numbers of users and groups have 32 bits; the last one means none (chown(2)). */
function checkOwner(value: number, what: string): string {
  if (value > 0xffff_fffe) throw new UsageError(`${what} is a number from 0 to 4294967294, not ${value}`);
  return count(value, what);
}

function count(value: number, what: string): string {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new UsageError(`${what} is a whole number from 0 on, not ${value}`);
  return String(value);
}
