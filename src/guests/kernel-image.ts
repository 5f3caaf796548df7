import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { HostError } from '../base/errors.js';
import { runChecked } from './command.js';
import { debianTool, type ToolOptions } from './debian-tools.js';

/** Fields of the setup header, by their offset in the file. Linux, Documentation/arch/x86/boot.rst. */
const SETUP = {
  /** Size of the setup code in sectors of 512 bytes, the boot sector apart; 0 means 4. */
  SETUP_SECTS: 0x1f1,
  /** "HdrS" */
  MAGIC: 0x202,
  /** Boot protocol, major in the high byte. */
  VERSION: 0x206,
  /** Where the compressed kernel begins, from the start of the protected-mode code, in bytes; protocol 2.08. */
  PAYLOAD_OFFSET: 0x248,
  /** Its length in bytes; protocol 2.08. */
  PAYLOAD_LENGTH: 0x24c,
} as const;

const HDRS = 0x53726448;

/** A kernel's compressed payload. */
export interface Payload {
  readonly format: 'gzip' | 'xz' | 'lz4' | 'zstd' | 'none';
  readonly data: Uint8Array;
}

/** Finds the compressed kernel in a bzImage; undefined where the file is not a bzImage or uses an unknown format. */
export function findPayload(image: Uint8Array): Payload | undefined {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 0x250 || view.getUint32(SETUP.MAGIC, true) !== HDRS) return undefined;
  if (view.getUint16(SETUP.VERSION, true) < 0x0208) return undefined;
  const start = ((view.getUint8(SETUP.SETUP_SECTS) || 4) + 1) * 512 + view.getUint32(SETUP.PAYLOAD_OFFSET, true);
  const end = start + view.getUint32(SETUP.PAYLOAD_LENGTH, true);
  if (end > image.length || end - start < 8) return undefined;
  // All formats but gzip are followed by the size of the kernel in four bytes, which is no part of them (gzip ends so itself).
  const body = image.subarray(start, end - 4);
  switch (view.getUint32(start, false)) {
    case 0xfd377a58:
      return { format: 'xz', data: body };
    case 0x02214c18:
      return { format: 'lz4', data: body };
    case 0x28b52ffd:
      return { format: 'zstd', data: body };
    case 0x7f454c46:
      return { format: 'none', data: body };
    default:
      return view.getUint16(start, false) === 0x1f8b ? { format: 'gzip', data: image.subarray(start, end) } : undefined;
  }
}

/** The Debian package of each program that unpacks what Node itself cannot. */
const PACKAGES = { xz: 'xz-utils', lz4: 'lz4', zstd: 'zstd' } as const;

/** Decompresses a file into another, with the machine's own program or Debian's. */
export async function decompressFile(
  format: keyof typeof PACKAGES,
  from: string,
  to: string,
  options: ToolOptions,
): Promise<void> {
  const tool = await debianTool(format, PACKAGES[format], options);
  const what = `cannot decompress ${path.basename(from)}`;
  await runChecked(what, tool.path, ['-d', '-c', '-q', from], { env: tool.env, stdoutFile: to });
}

/**
 * Writes the uncompressed kernel of a bzImage to `vmlinux`, for a monitor that would rather not run the decompressor: an
 * ELF file, booted by its PVH note or at its 64-bit entry.
 */
export async function extractVmlinux(
  bzImage: string,
  vmlinux: string,
  scratch: string,
  options: ToolOptions,
): Promise<void> {
  const payload = findPayload(await readFile(bzImage));
  if (payload === undefined) throw new HostError(`${path.basename(bzImage)} is not a bzImage that can be unpacked`);
  if (payload.format === 'gzip' || payload.format === 'none') {
    await writeFile(vmlinux, payload.format === 'gzip' ? gunzipSync(payload.data) : payload.data);
  } else {
    const packed = path.join(scratch, `vmlinux.${payload.format}`);
    await writeFile(packed, payload.data);
    await decompressFile(payload.format, packed, vmlinux, options);
  }
}
