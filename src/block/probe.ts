/** What format the contents of a file say it has. */
import type { HostFile } from '../iface/file.js';
import { ImageError } from './image.js';

/** "QFI" and 0xfb, the first bytes of qcow and qcow2 images. */
export const QCOW_MAGIC = 0x5146_49fb;

/** Formats that only other programs read, by the text that stands somewhere in them: `at` bytes from the beginning, or from the end if negative. */
const OTHERS: readonly { readonly format: string; readonly at: number; readonly text: string }[] = [
  { format: 'VMDK', at: 0, text: 'KDMV' },
  { format: 'VMDK', at: 0, text: 'COWD' },
  { format: 'VMDK', at: 0, text: '# Disk DescriptorFile' },
  { format: 'VDI', at: 0x40, text: '\x7f\x10\xda\xbe' },
  { format: 'VHDX', at: 0, text: 'vhdxfile' },
  // A dynamic one begins with a copy of what ends all of them.
  { format: 'VHD', at: 0, text: 'conectix' },
  { format: 'VHD', at: -512, text: 'conectix' },
  { format: 'QED', at: 0, text: 'QED\0' },
  { format: 'Parallels', at: 0, text: 'WithoutFreeSpace' },
  { format: 'Parallels', at: 0, text: 'WithouFreSpacExt' },
  { format: 'DMG', at: -512, text: 'koly' },
];

/** Whether the first bytes of a file are those of a qcow2 image (or of its predecessor). */
export function looksLikeQcow2(start: Uint8Array): boolean {
  return start.length >= 8 && new DataView(start.buffer, start.byteOffset).getUint32(0) === QCOW_MAGIC;
}

/** What a file is, as far as it says so. Throws a one-line error for what would only seem to be a raw disk. */
export function probeFormat(file: HostFile): 'raw' | 'qcow2' {
  const start = new Uint8Array(8);
  file.read(0, start);
  if (looksLikeQcow2(start)) return 'qcow2';
  const other = OTHERS.find(({ at, text }) => stands(file, at, text));
  if (other)
    throw new ImageError(
      `the disk ${file.name} is a ${other.format} image, which only other programs read ` +
        `('qemu-img convert -O qcow2' makes a qcow2 image of it); it counts as raw only where that is said`,
    );
  return 'raw';
}

function stands(file: HostFile, at: number, text: string): boolean {
  const from = at < 0 ? file.size + at : at;
  const bytes = new Uint8Array(text.length);
  if (from < 0 || file.read(from, bytes) !== bytes.length) return false;
  return bytes.every((byte, i) => byte === text.charCodeAt(i));
}
