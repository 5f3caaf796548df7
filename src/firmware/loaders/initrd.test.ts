import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { checkInitrd } from './initrd.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A file of a cpio archive. */
function entry(path: string, data: Uint8Array): Uint8Array {
  const fields = [1, 0o100755, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
  const header = text(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${path}\0`);
  const padded = (bytes: Uint8Array): Uint8Array => join(bytes, new Uint8Array(-bytes.length & 3));
  return join(padded(header), padded(data));
}

/** An ELF file, as far as anybody looks at it. */
function program(machine: number): Uint8Array {
  const file = new Uint8Array(64);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file[18] = machine;
  return file;
}

const archive = (machine: number): Uint8Array =>
  join(entry('bin/busybox', program(machine)), entry('etc/motd', text('hello')), entry('TRAILER!!!', new Uint8Array()));

const X86 = 62;
const cpio = archive(X86);
/** Frames of one raw and one repeated block, with and without a checksum. */
const zstd = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x50, 0x18, 0, 0, 1, 2, 3, 0x53, 0, 0, 7, 9, 9, 9, 9);
const lz4 = Uint8Array.of(0x02, 0x21, 0x4c, 0x18, 3, 0, 0, 0, 1, 2, 3);
const xz = join(Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2, 3, 4), text('YZ'));

const check = (data: Uint8Array): void => checkInitrd(data, 'img', (packed) => gunzipSync(packed));

describe('an initrd', () => {
  it.each<[string, Uint8Array]>([
    ['cpio', cpio],
    ['two archives with zeros between them', join(cpio, new Uint8Array(20), cpio, new Uint8Array(512))],
    ['gzip', gzipSync(cpio)],
    ['an archive, and a packed one', join(cpio, new Uint8Array(8), gzipSync(cpio))],
    ['zstd', zstd],
    ['lz4', join(lz4, lz4)],
    ['xz', xz],
    ['something else', text('a file system, perhaps')],
  ])('is whole: %s', (_, data) => {
    expect(() => check(data)).not.toThrow();
  });

  it.each<[string, Uint8Array]>([
    // Without the zeros behind its trailer.
    ['cpio', cpio.subarray(0, cpio.length - 3)],
    ['gzip', gzipSync(cpio)],
    ['zstd', zstd],
    ['lz4', lz4],
    ['xz', xz],
  ])('is truncated, wherever: %s', (_, data) => {
    // The first bytes alone may be anything.
    for (let size = 6; size < data.length; size++) {
      if (data === lz4 && size < 8) continue;
      expect(() => check(data.subarray(0, size))).toThrow(/^the initrd img is .*truncated/);
    }
  });

  it('is for another architecture', () => {
    for (const data of [archive(183), gzipSync(archive(183))])
      expect(() => check(data)).toThrow(/^the initrd img is for another architecture \(its bin\/busybox: AArch64\)/);
    // Not a program that the machine starts with.
    expect(() =>
      check(join(entry('lib/firmware/dsp.elf', program(40)), entry('TRAILER!!!', new Uint8Array()))),
    ).not.toThrow();
  });

  it('is damaged', () => {
    const broken = cpio.slice();
    broken.set(text('zzzz'), 54);
    expect(() => check(broken)).toThrow(/^the initrd img is damaged/);
  });
});
