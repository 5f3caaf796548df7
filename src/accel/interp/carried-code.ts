/**
 * What a CPU has decoded (cpu/x86/assembly/code-cache.ts), for the only CPU of another machine: its memory begins as this one's is, at the same addresses, so the
 * records are right there. Pages of the pool are taken as they are, but for what leads to translated code, which stays.
 */
import { MIB, PAGE_SIZE } from '../../base/units.js';
import { MICRO } from '../../cpu/x86/micro.js';
import { RECORD, RECORD_SIZE, STATE } from '../../cpu/x86/state-layout.js';
import { CodeView } from '../../cpu/x86/translate/code-view.js';
import type { CarriedCode } from '../../iface/vcpu.js';
import { JUMP_ENTRIES, LAYOUT, PAGE, POOL, POOL_HEADER, STRADDLES } from '../../memory/layout.js';

/**
 * What may have been decoded since something was taken that is taken again: bytes, or a share of what was taken. Each taking costs its time, and memory for as long as somebody
 * has it.
 */
const LITTLE = MIB;
const LITTLE_SHARE = 1 / 4;
/** Bytes at a time, whole pages. */
const CHUNK = 64 << 10;
const POOL_FIRST = LAYOUT.CODE_POOL + POOL_HEADER;
const STRADDLE_TABLE = LAYOUT.JUMP_CACHE + JUMP_ENTRIES * 16;
const BREAK_OFFSETS = LAYOUT.STATES + STATE.BREAK_OFFSETS;
/** CPUs as CODE_OWNERS has them: the first. */
const OWNER = 1;

const chunk = new Uint8Array(CHUNK);
const chunkView = new DataView(chunk.buffer);

const down = (address: number): number => address - (address % PAGE_SIZE);

/** Code that a debugger has looked at is decoded in its own way. */
const isDebugged = (memory: Uint8Array): boolean =>
  memory.subarray(BREAK_OFFSETS, BREAK_OFFSETS + PAGE_SIZE / 8).some((bits) => bits !== 0);

/** The pool's page entries, in ascending order: each was made below those before. */
function pageEntries(view: DataView): number[] {
  const entries: number[] = [];
  for (
    let entry = view.getUint32(LAYOUT.CODE_POOL + POOL.PAGES, true);
    entry !== 0;
    entry = view.getUint32(entry + PAGE.ALL, true)
  )
    entries.push(entry);
  return entries;
}

/** Writes pages, a piece at a time. `amend` changes the copy of those that lie between two addresses. */
function writePages(
  bytes: Uint8Array,
  { from, to }: { readonly from: number; readonly to: number },
  amend: (from: number, to: number) => void,
  write: (bytes: Uint8Array) => void,
): void {
  for (let at = from; at < to; at += CHUNK) {
    const size = Math.min(CHUNK, to - at);
    chunk.set(bytes.subarray(at, at + size));
    amend(at, at + size);
    write(chunk.subarray(0, size));
  }
}

/** Gives records at which translated code begins their own handlers back. */
function untranslate(code: CodeView, from: number, to: number): void {
  for (let record = Math.max(POOL_FIRST, from); record < to; record += RECORD_SIZE) {
    const at = record - from;
    if (chunkView.getUint16(at + RECORD.HANDLER, true) !== MICRO.REGION) continue;
    chunkView.setUint16(at + RECORD.HANDLER, code.handler(record), true);
    chunkView.setUint32(at + RECORD.LINK, 0, true);
  }
}

/** Undefined: there is nothing that others could use. `earlier`: what was taken before, and is the result while there is little more. */
export function takeCode(
  { memory, accelerator }: { readonly memory: DataView; readonly accelerator: string },
  earlier: CarriedCode | undefined,
  write: (bytes: Uint8Array) => void,
): CarriedCode | undefined {
  const bytes = new Uint8Array(memory.buffer);
  const header = (field: keyof typeof POOL): number => memory.getUint32(LAYOUT.CODE_POOL + POOL[field], true);
  const end = header('NEXT');
  if (end === 0 || isDebugged(bytes)) return undefined;
  const recordsEnd = down(end + PAGE_SIZE - 1);
  const pagesStart = down(header('LIMIT'));
  // About to be thrown away: one page has both.
  if (recordsEnd > pagesStart) return undefined;
  const size = recordsEnd - LAYOUT.CODE_POOL + LAYOUT.CODE_POOL_END - pagesStart;
  const epoch = header('EPOCH');
  if (earlier?.accelerator === accelerator) {
    const fresh = earlier.epoch === epoch ? size - earlier.size : size;
    if (fresh <= Math.max(LITTLE, earlier.size * LITTLE_SHARE)) return earlier;
  }
  const entries = pageEntries(memory);
  const code = new CodeView(memory, 0);
  const records = { from: LAYOUT.CODE_POOL, to: recordsEnd };
  writePages(bytes, records, (from, to) => untranslate(code, from, to), write);
  let next = 0;
  const unmark = (from: number, to: number): void => {
    for (; next < entries.length && entries[next] + PAGE.TRANSLATED < to; next++)
      chunkView.setBigUint64(entries[next] + PAGE.TRANSLATED - from, 0n, true);
  };
  writePages(bytes, { from: pagesStart, to: LAYOUT.CODE_POOL_END }, unmark, write);
  // By host page: where the directory has them.
  const hosts = new Set(entries.map((entry) => memory.getUint32(entry + PAGE.HOST, true) / PAGE_SIZE));
  const directory = new Uint32Array(hosts.size * 2);
  let at = 0;
  for (const host of hosts) {
    directory[at++] = host;
    directory[at++] = memory.getUint32(LAYOUT.CODE_CACHE + host * 4, true);
  }
  return {
    accelerator,
    epoch,
    size,
    recordsEnd,
    pagesStart,
    directory,
    straddles: bytes.slice(STRADDLE_TABLE, STRADDLE_TABLE + STRADDLES * 4),
  };
}

/** Puts code into the place of none. `read` puts into whole pages what was written from an offset on. */
export function adoptCode(memory: DataView, code: CarriedCode, read: (into: Uint8Array, offset: number) => void): void {
  const bytes = new Uint8Array(memory.buffer);
  const { recordsEnd, pagesStart, directory, straddles } = code;
  read(bytes.subarray(LAYOUT.CODE_POOL, recordsEnd), 0);
  read(bytes.subarray(pagesStart, LAYOUT.CODE_POOL_END), recordsEnd - LAYOUT.CODE_POOL);
  bytes.set(straddles, STRADDLE_TABLE);
  for (let i = 0; i < directory.length; i += 2) {
    memory.setUint32(LAYOUT.CODE_CACHE + directory[i] * 4, directory[i + 1], true);
    // Bit 0: it holds code now.
    if (directory[i + 1] & 1) memory.setUint32(LAYOUT.CODE_OWNERS + directory[i] * 4, OWNER, true);
  }
}
