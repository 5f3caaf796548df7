/** Makes WebAssembly of regions on a thread of its own. What has gathered while it was at work becomes one module. */
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
const BATCH = 512;

const { port, answers } = workerData as TranslationWorkerData;
const words = new Int32Array(answers);
const variants = loadVariants();
const bases = cpuBases(0);

// V8 would compile each function at its first call, which is on the CPU's thread.
setFlagsFromString('--no-wasm-lazy-compilation');
// What gets here is hot. V8's first compiler would be followed by the optimising one on all of its threads at once, which
// takes the processors from the CPU's thread just when much is new.
setFlagsFromString('--no-liftoff');

/** The guest comes first: on Linux the process number 0 stands for the calling thread. */
const NICE = 10;
if (process.platform === 'linux') setPriority(0, NICE);

function compile(first: PortableRequest): Compiled {
  const batch: RegionRequest[] = [];
  try {
    let units = 0;
    for (let request: PortableRequest | undefined = first; request;) {
      const region = fromPortable(request, variants);
      batch.push(region);
      units += region.graph.units;
      request = units < BATCH ? (receiveMessageOnPort(port)?.message as PortableRequest | undefined) : undefined;
    }
    return compileRegions(batch, bases, () => performance.now());
  } catch (error) {
    return {
      kind: 'failed',
      tickets: batch.map(({ ticket }) => ticket),
      error: error instanceof Error ? error : new Error(String(error)),
    };
  }
}

port.on('message', (request: PortableRequest) => {
  port.postMessage(compile(request));
  Atomics.add(words, 0, 1);
});
