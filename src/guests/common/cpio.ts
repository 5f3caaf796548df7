/** A file of an initramfs. */
export type CpioEntry =
  | { readonly kind: 'folder'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'file'; readonly path: string; readonly data: Uint8Array; readonly mode?: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'character-device';
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly mode?: number;
    };

/** File type bits of `c_mode`, as in stat(2). */
const TYPE = { link: 0o120000, file: 0o100000, folder: 0o040000, 'character-device': 0o020000 } as const;
const DEFAULT_MODE = { link: 0o777, file: 0o644, folder: 0o755, 'character-device': 0o600 } as const;

/** Ends an archive. */
const TRAILER = 'TRAILER!!!';

/**
 * Writes a cpio archive in the "newc" format, which Linux unpacks as an initramfs (Documentation/driver-api/early-userspace/
 * buffer-format.rst): for each entry a header of "070701" and thirteen numbers of eight hexadecimal digits, the name with a
 * NUL, the data; header with name, and data, are padded to 4 bytes.
 *
 * Everything belongs to root and is dated 0, so the bytes depend on the contents alone. Parent folders must come before what
 * is in them: the kernel does not make them.
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const push = (part: Uint8Array): void => {
    parts.push(part);
    length += part.length;
    const padding = -length & 3;
    if (padding > 0) parts.push(new Uint8Array(padding));
    length += padding;
  };
  const encoder = new TextEncoder();
  const write = (path: string, data: Uint8Array, inode: number, mode: number, major: number, minor: number): void => {
    const name = encoder.encode(`${path}\0`);
    const links = mode >> 12 === TYPE.folder >> 12 ? 2 : 1;
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, name.length, 0];
    const header = encoder.encode(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    const whole = new Uint8Array(header.length + name.length);
    whole.set(header);
    whole.set(name, header.length);
    push(whole);
    push(data);
  };
  entries.forEach((entry, index) => {
    const mode = TYPE[entry.kind] | (('mode' in entry ? entry.mode : undefined) ?? DEFAULT_MODE[entry.kind]);
    const data = entry.kind === 'file' ? entry.data : encoder.encode(entry.kind === 'link' ? entry.target : '');
    const device = entry.kind === 'character-device' ? entry : { major: 0, minor: 0 };
    write(entry.path, data, index + 1, mode, device.major, device.minor);
  });
  write(TRAILER, new Uint8Array(0), 0, 0, 0, 0);
  const archive = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}
