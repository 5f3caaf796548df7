/**
 * Makes WebAssembly of regions on a thread of its own, the latest request first: that is where the guest is. Small ones that
 * wait together become one module.
 */
import { setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { fromPortable } from '../../accel/wasm/portable-region.js';
import { compileRegions } from '../../accel/wasm/region-module.js';
import type { Compiled, RegionRequest } from '../../accel/wasm/compiler.js';
import { cpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { loadVariants } from './interp-image.js';
import type { PortableRequest, TranslationWorkerData } from './translation-protocol.js';

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

const { port, answers, anyCpu } = workerData as TranslationWorkerData;
const words = new Int32Array(answers);
const variants = loadVariants();
const bases = cpuBases(anyCpu);

/** In the order in which they came. */
const waiting: PortableRequest[] = [];

function takeIn(): void {
  for (;;) {
    const request = receiveMessageOnPort(port)?.message as PortableRequest | undefined;
    if (request === undefined) return;
    waiting.push(request);
  }
}

function compileModule(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  for (const { set } of FLAGS) setFlagsFromString(set);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const { reset } of FLAGS) setFlagsFromString(reset);
  }
}

function compile(first: PortableRequest): Compiled {
  const batch: RegionRequest[] = [];
  try {
    let units = 0;
    for (let request: PortableRequest | undefined = first; request;) {
      const region = fromPortable(request, variants);
      batch.push(region);
      units += region.graph.units;
      request = units < BATCH ? waiting.pop() : undefined;
    }
    return compileRegions(batch, bases, { now: () => performance.now(), compile: compileModule });
  } catch (error) {
    return {
      kind: 'failed',
      tickets: batch.map(({ ticket }) => ticket),
      error: error instanceof Error ? error : new Error(String(error)),
    };
  }
}

if (process.platform === 'linux') setPriority(0, NICE);

port.on('message', (first: PortableRequest) => {
  waiting.push(first);
  for (;;) {
    takeIn();
    const latest = waiting.pop();
    if (latest === undefined) return;
    port.postMessage(compile(latest));
    Atomics.add(words, 0, 1);
  }
});
