/** Extended attributes of files, which Node does not have: xattr(7) of Linux. */
import { onLinux } from './c-library.js';

/** Names and values have to fit: XATTR_SIZE_MAX, XATTR_LIST_MAX. */
const ROOM = 65_536;

/** Names are bytes that end with a NUL. What fails gives an error number of Linux. */
export interface AttributeCalls {
  get(path: string, name: Uint8Array): Uint8Array | number;
  /** `flags` of setxattr(2). 0, or an error number. */
  set(path: string, name: Uint8Array, value: Uint8Array, flags: number): number;
  /** Names, each with a NUL behind it. */
  list(path: string): Uint8Array | number;
  /** 0, or an error number. */
  remove(path: string, name: Uint8Array): number;
}

const load = (): AttributeCalls | undefined =>
  onLinux(({ koffi, func }) => {
    const getxattr = func('intptr_t getxattr(const char *path, void *name, void *into, size_t size)');
    const setxattr = func('int setxattr(const char *path, void *name, void *value, size_t size, int flags)');
    const listxattr = func('intptr_t listxattr(const char *path, void *into, size_t size)');
    const removexattr = func('int removexattr(const char *path, void *name)');
    const room = new Uint8Array(ROOM);
    const filled = (length: number): Uint8Array | number => (length < 0 ? koffi.errno() : room.slice(0, length));
    const done = (result: number): number => (result === 0 ? 0 : koffi.errno());
    return {
      get: (path, name) => filled(getxattr(path, name, room, ROOM)),
      set: (path, name, value, flags) => done(setxattr(path, name, value, value.length, flags)),
      list: (path) => filled(listxattr(path, room, ROOM)),
      remove: (path, name) => done(removexattr(path, name)),
    };
  });

let loaded: { readonly calls: AttributeCalls | undefined } | undefined;

/** Undefined: this host has none, or no way to them. */
export function attributeCalls(): AttributeCalls | undefined {
  loaded ??= { calls: load() };
  return loaded.calls;
}
