/** What the memory paths ask of the cache of decoded code. The owner of that cache fills these in. */

/** Whether the page of this memory at `hostPage` holds decoded code, so that stores must be reported. */
@inline
export function isCodePage(hostPage: usize): bool {
  return false;
}

/** `size` bytes at `host` in a code page have been overwritten; they do not cross a page. */
@inline
export function codeWritten(host: usize, size: i32): void {}
