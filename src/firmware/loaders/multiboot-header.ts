/** The header of a multiboot 1 kernel (Multiboot Specification 0.6.96, §3.1). */
import { viewOf } from '../bytes.js';

export const MULTIBOOT_FLAG = {
  PAGE_ALIGN: 1 << 0,
  MEMORY_INFO: 1 << 1,
  VIDEO_MODE: 1 << 2,
  /** The header has load addresses: the file need not be ELF. */
  ADDRESSES: 1 << 16,
} as const;

/** Where the kernel wants to be, for files that are not ELF. Physical addresses. */
export interface MultibootAddresses {
  readonly header: number;
  readonly load: number;
  /** 0: the whole file. */
  readonly loadEnd: number;
  /** 0: nothing to clear. */
  readonly bssEnd: number;
  readonly entry: number;
}

export interface MultibootHeader {
  /** Offset in the file. */
  readonly at: number;
  readonly flags: number;
  readonly addresses: MultibootAddresses | undefined;
}

const MAGIC = 0x1bad_b002;
/** The header lies completely within this many bytes, 4-byte aligned. */
const SEARCH = 8192;

export function findMultibootHeader(file: Uint8Array): MultibootHeader | undefined {
  const view = viewOf(file);
  const end = Math.min(SEARCH, file.length);
  for (let at = 0; at + 12 <= end; at += 4) {
    if (view.getUint32(at, true) !== MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if ((MAGIC + flags + view.getUint32(at + 8, true)) >>> 0 !== 0) continue;
    if ((flags & MULTIBOOT_FLAG.ADDRESSES) === 0) return { at, flags, addresses: undefined };
    if (at + 32 > end) continue;
    const word = (index: number): number => view.getUint32(at + 12 + 4 * index, true);
    const addresses = { header: word(0), load: word(1), loadEnd: word(2), bssEnd: word(3), entry: word(4) };
    return { at, flags, addresses };
  }
  return undefined;
}
