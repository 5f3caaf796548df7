/**
 * koffi 3.3.4 maps a stack and a heap of its own for each thread that loads it, and never gives them back: three mappings, of the 65,530 that Linux gives a process.
 * So each thread writes down where its own are, and the next that loads koffi gives back those of threads that have ended.
 */
import * as fs from 'node:fs';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import type * as Koffi from 'koffi';
import { threadNumber } from './thread-number.js';

/** Another one may do so itself: then this would unmap what somebody else has by now. */
const VERSION = '3.3.4';
const KEY = 'vitrine.koffi';
/** Threads that are known at a time; what others map stays. */
const PLACES = 4096;
/** Bytes of a page on the one architecture that this is for. */
const PAGE = 4096;

/** 64-bit words of a place. */
const WORD = {
  /** 0: nobody's. Otherwise a thread, by Linux's number, or TAKEN while the others are written or read. */
  THREAD: 0,
  STACK: 1,
  STACK_SIZE: 2,
  HEAP: 3,
  HEAP_SIZE: 4,
  SIZE: 5,
} as const;
const TAKEN = -1n;

/** ucontext_t of x86-64: where getcontext(3) writes the stack pointer. */
const CONTEXT = { SIZE: 1024, RSP: 160 } as const;

interface Range {
  readonly start: number;
  readonly size: number;
}

interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly rights: string;
}

function readMappings(): Mapping[] {
  return fs
    .readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .flatMap((line) => {
      const [, start, end, rights] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ 00:00 0 *$/.exec(line) ?? [];
      return start ? [{ start: parseInt(start, 16), end: parseInt(end, 16), rights }] : [];
    });
}

/** Where this thread's are. Undefined where something is not as it is known to be: then they stay. */
function find(koffi: typeof Koffi, library: Koffi.LibraryHandle): { stack: Range; heap: Range } | undefined {
  const { sync_stack_size: stackSize, sync_heap_size: heapSize } = koffi.config();
  if (stackSize === undefined || heapSize === undefined) return undefined;
  // Arguments that are copied lie at the heap's beginning, and calls have the stack.
  const argument = library.func('intptr_t strchr(const char *text, int letter)') as (...args: unknown[]) => unknown;
  const getcontext = library.func('int getcontext(void *context)') as (context: Uint8Array) => number;
  const heap = Number(argument('x', 'x'.charCodeAt(0)));
  const context = new Uint8Array(CONTEXT.SIZE);
  if (getcontext(context) !== 0) return undefined;
  const pointer = Number(new DataView(context.buffer).getBigUint64(CONTEXT.RSP, true));
  const mappings = readMappings();
  const within = (address: number): Mapping | undefined =>
    mappings.find(({ start, end, rights }) => start <= address && address < end && rights === 'rw-p');
  const [around, above] = [within(heap), within(pointer)];
  const guard = mappings.find(({ end, rights }) => end === above?.start && rights === '---p');
  if (!around || !above || !guard || heap % PAGE !== 0) return undefined;
  // Behind each there may be more in one mapping, and below the guard, too.
  if (around.end < heap + heapSize || above.end < above.start + stackSize + PAGE) return undefined;
  return {
    stack: { start: above.start - PAGE, size: stackSize + 2 * PAGE },
    heap: { start: heap, size: heapSize },
  };
}

/** One for the process, made by its first thread: what it maps goes with the process. */
function places(): BigInt64Array | undefined {
  const known = getEnvironmentData(KEY);
  if (known instanceof SharedArrayBuffer) return new BigInt64Array(known);
  if (isMainThread) setEnvironmentData(KEY, new SharedArrayBuffer(PLACES * WORD.SIZE * 8));
  return undefined;
}

const isAlive = (thread: bigint): boolean => fs.existsSync(`/proc/self/task/${thread}`);

let isDone = false;

/** This thread has loaded koffi. */
export function keepKoffiMemory(koffi: typeof Koffi, library: Koffi.LibraryHandle): void {
  if (isDone || process.platform !== 'linux' || process.arch !== 'x64' || koffi.version !== VERSION) return;
  isDone = true;
  const all = places();
  if (!all || isMainThread) return;
  const own = find(koffi, library);
  const thread = BigInt(threadNumber());
  if (!own || thread === 0n) return;
  const munmap = library.func('int munmap(intptr_t start, size_t size)') as (start: number, size: number) => number;
  const words = [own.stack.start, own.stack.size, own.heap.start, own.heap.size].map(BigInt);
  // Another copy of this module may have been here.
  for (let at = 0; at < all.length; at += WORD.SIZE)
    if (Atomics.load(all, at) === thread && all[at + WORD.STACK] === words[0]) return;
  let isKept = false;
  for (let at = 0; at < all.length; at += WORD.SIZE) {
    const who = Atomics.load(all, at);
    if (who < 0n || (who === 0n && isKept) || (who > 0n && who !== thread && isAlive(who))) continue;
    if (Atomics.compareExchange(all, at, who, TAKEN) !== who) continue;
    const before = all.subarray(at + WORD.STACK, at + WORD.SIZE);
    if (who > 0n) {
      const [stack, stackSize, heap, heapSize] = [...before].map(Number);
      munmap(stack, stackSize);
      munmap(heap, heapSize);
    }
    if (!isKept) before.set(words);
    Atomics.store(all, at, isKept ? 0n : thread);
    isKept = true;
  }
}
