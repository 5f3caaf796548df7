/**
 * Makes WebAssembly of regions on a thread of its own, the latest request first: that is where the guest is. Small ones that
 * wait together become one module. Where it works for several CPUs it remembers what it has made.
 */
import { setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { fromPortable } from '../../accel/wasm/portable-region.js';
import { compileRegions } from '../../accel/wasm/region-module.js';
import type { CompiledRegion, RegionRequest } from '../../accel/wasm/compiler.js';
import { TranslationCache } from '../../accel/wasm/translation-cache.js';
import { cpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { loadVariants } from './interp-image.js';
import {
  ANSWERS,
  type PortableRequest,
  type TranslationAnswer,
  type TranslationGuest,
  type TranslationLink,
  type TranslationWorkerData,
} from './translation-protocol.js';

/** Guest instructions in a module, about: what comes last also waits for what came first. */
const BATCH = 256;

/** The guest comes first: on Linux the process number 0 stands for the calling thread. */
const NICE = 5;

/**
 * How V8 is to compile: at once, not at the first call, which is on the CPU's thread; and with the optimising compiler on this thread.
 * By itself V8 would use its baseline compiler first and the other one later, on several threads that take the processors
 * from the CPU's thread just when much is new. The flags are the process's, so each module leaves them as they were.
 */
const FLAGS = [
  { set: '--no-wasm-lazy-compilation', reset: '--wasm-lazy-compilation' },
  { set: '--no-liftoff', reset: '--liftoff' },
  { set: '--wasm-num-compilation-tasks=1', reset: '--wasm-num-compilation-tasks=128' },
];

const { links, anyCpu, numbers } = workerData as TranslationWorkerData;
const variants = loadVariants();
const bases = cpuBases(anyCpu);
const cache = anyCpu ? new TranslationCache() : undefined;
let nextModule = numbers.first;

/** A CPU that asks. */
interface Asker extends TranslationLink {
  /** ANSWERS. */
  readonly counts: Int32Array;
}

/** By number. */
const askers = new Map<number, Asker>();
let nextAsker = 0;

interface Waiting {
  readonly request: PortableRequest;
  /** Number of the asker. */
  readonly cpu: number;
}

/** In the order in which they came. */
const waiting: Waiting[] = [];

function takeIn(): void {
  for (const [cpu, { port }] of askers)
    for (;;) {
      const request = receiveMessageOnPort(port)?.message as PortableRequest | undefined;
      if (request === undefined) break;
      waiting.push({ request, cpu });
    }
}

function answer(cpu: number, message: TranslationAnswer): void {
  const asker = askers.get(cpu);
  asker?.port.postMessage(message);
  if (asker) Atomics.add(asker.counts, ANSWERS.POSTED, 1);
}

function compileModule(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  for (const { set } of FLAGS) setFlagsFromString(set);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const { reset } of FLAGS) setFlagsFromString(reset);
  }
}

/** Answers at once when it has been made before. */
function isKnown({ request, cpu }: Waiting): boolean {
  const found = cache?.find(request, cpu);
  if (found === undefined) return false;
  answer(cpu, { kind: 'shared', ticket: request.ticket, ...found });
  return true;
}

function failed(batch: readonly Waiting[], error: unknown): void {
  for (const { request, cpu } of batch)
    answer(cpu, {
      kind: 'failed',
      tickets: [request.ticket],
      error: error instanceof Error ? error : new Error(String(error)),
    });
}

/** The latest request, if it may be in one module with another: what has different memories has nothing to do with each other. */
function nextWith({ cpu }: Waiting): Waiting | undefined {
  return anyCpu || waiting.at(-1)?.cpu === cpu ? waiting.pop() : undefined;
}

/** Compiles a request, and some that wait with it. */
function compile(first: Waiting): void {
  const batch: Waiting[] = [];
  const regions: RegionRequest[] = [];
  /** The same for other CPUs. */
  const twins: Waiting[] = [];
  try {
    let units = 0;
    for (let next: Waiting | undefined = first; next; next = units < BATCH ? nextWith(first) : undefined) {
      if (isKnown(next)) continue;
      if (cache && batch.some((one) => isTwin(one, next))) {
        twins.push(next);
        continue;
      }
      batch.push(next);
      const region = fromPortable(next.request, variants);
      regions.push(region);
      units += region.graph.units;
    }
  } catch (error) {
    failed([...batch, ...twins], error);
    return;
  }
  if (batch.length === 0) return;
  const compiled = compileRegions(regions, bases, { now: () => performance.now(), compile: compileModule });
  if (compiled.kind !== 'module') {
    failed([...batch, ...twins], compiled.kind === 'failed' ? compiled.error : undefined);
    return;
  }
  const { module, bytes, links: count } = compiled;
  const made = { module, bytes, links: count, ...(cache && { id: (nextModule += numbers.step) }) };
  let times = { emitTime: compiled.emitTime, compileTime: compiled.compileTime };
  for (const cpu of new Set(batch.map((one) => one.cpu))) {
    const own = compiled.regions.filter((_, i) => batch[i].cpu === cpu);
    answer(cpu, { kind: 'module', ...made, ...times, regions: own });
    times = { emitTime: 0, compileTime: 0 };
  }
  const kept = compiled.regions.map(
    (region, i): readonly [CompiledRegion, PortableRequest, RegionRequest['graph'], number] => [
      region,
      batch[i].request,
      regions[i].graph,
      batch[i].cpu,
    ],
  );
  cache?.add(made, kept);
  waiting.push(...twins);
}

/** Whether two CPUs ask for a region that begins at the same place. */
function isTwin({ request: a, cpu }: Waiting, { request: b, cpu: other }: Waiting): boolean {
  return cpu !== other && a.host === b.host && a.key === b.key && a.hasGrown === b.hasGrown && !b.isFresh;
}

if (process.platform === 'linux') setPriority(0, NICE);

function serve(link: TranslationLink): void {
  const cpu = nextAsker++;
  const { port } = link;
  askers.set(cpu, { ...link, counts: new Int32Array(link.answers) });
  port.on('message', (request: PortableRequest) => {
    waiting.push({ request, cpu });
    for (;;) {
      takeIn();
      const latest = waiting.pop();
      if (latest === undefined) return;
      compile(latest);
    }
  });
  port.on('close', () => askers.delete(cpu));
}

for (const link of links) serve(link);
// Of machines that come and go there may be none for a while.
if (!anyCpu && links.length === 0) parentPort?.on('message', ({ link }: TranslationGuest) => serve(link));
