/** Memory that begins at a page of the host, so that the host can move data between it and a disk without a copy. */

/** Bytes of a page of WebAssembly. */
const WASM_PAGE = 0x1_0000;
/** Bytes of a page of the host, at least: every page is a multiple. */
const PAGE = 4096;

const aligned = new WeakSet<ArrayBufferLike>();

/**
 * Zeros, beginning at a page: memory of WebAssembly does, where ordinary buffers lie anywhere. It takes some gigabytes of
 * the process's addresses, whatever its size, so nobody should have many; where there are none left, it begins anywhere.
 */
export function pageAligned(size: number): Uint8Array {
  const pages = Math.ceil(size / WASM_PAGE);
  try {
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    aligned.add(buffer);
    return new Uint8Array(buffer, 0, size);
  } catch {
    return new Uint8Array(size);
  }
}

/** Somebody else's memory begins at a page, too. */
export function beginsAtPage(memory: ArrayBufferLike): void {
  aligned.add(memory);
}

/** Whether bytes are a part of such memory, and begin at a page of it. */
export const isPageAligned = ({ buffer, byteOffset }: Uint8Array): boolean =>
  byteOffset % PAGE === 0 && aligned.has(buffer);
