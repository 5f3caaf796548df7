/**
 * Makes WebAssembly of regions on a thread of its own, the latest request first: that is where the guest is. Small ones that wait together
 * become one module. Its bytes go back; a compiled module could only be posted, and the CPU's thread reads no posts.
 */
import type { Compiled, RegionRequest } from '../../accel/wasm/compiler.js';
import { fromPortable, type PortableRequest } from '../../accel/wasm/portable-region.js';
import { compileRegions } from '../../accel/wasm/region-module.js';
import { assert } from '../../base/assert.js';
import { readVariants } from '../../cpu/x86/handler-variants.js';
import { cpuBases, type CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Variant } from '../../cpu/x86/variants.js';
import type { Plain } from '../../snapshot/schema.js';
import { MessageRing } from '../common/message-ring.js';
import { READY, type TranslationStart } from './protocol.js';

/** Guest instructions in a module, about: what comes last also waits for what came first. */
const BATCH = 256;

let tools:
  | { readonly variants: readonly Variant[]; readonly bases: CpuBases; readonly answers: MessageRing }
  | undefined;
/** In the order in which they came. */
const waiting: PortableRequest[] = [];
let scheduled = false;
const later = new MessageChannel();

/** What the CPU's thread reads: `code` instead of the module. */
function translate(first: PortableRequest): Plain {
  assert(tools !== undefined, 'the first message says with what');
  const batch: RegionRequest[] = [];
  let code = new Uint8Array(0);
  let units = 0;
  for (let request: PortableRequest | undefined = first; request;) {
    const region = fromPortable(request, tools.variants);
    batch.push(region);
    units += region.graph.units;
    request = units < BATCH ? waiting.pop() : undefined;
  }
  const result: Compiled = compileRegions(batch, tools.bases, {
    now: () => performance.now(),
    compile: (bytes) => {
      code = bytes;
      // Nobody looks at it: the CPU's thread compiles.
      return {};
    },
  });
  if (result.kind !== 'module') {
    const error = result.kind === 'failed' ? result.error : new Error('nothing was made');
    return { tickets: batch.map(({ ticket }) => ticket), message: error.message, stack: String(error.cause) };
  }
  const { regions, links, emitTime } = result;
  return {
    code,
    regions: regions.map(({ ticket, name, entries, links: words, firstLink }) => ({
      ticket,
      name,
      entries: entries.map(({ number, record }) => ({ number, record })),
      links: new Uint8Array(words.buffer, words.byteOffset, words.byteLength),
      firstLink,
    })),
    links,
    emitTime: Math.round(emitTime * 1000),
  };
}

/** One batch for each turn of the event loop, which brings what has come meanwhile. */
later.port1.onmessage = () => {
  scheduled = false;
  const latest = waiting.pop();
  if (latest === undefined) return;
  tools?.answers.send(translate(latest));
  schedule();
};

function schedule(): void {
  if (scheduled || waiting.length === 0) return;
  scheduled = true;
  later.port2.postMessage(0);
}

self.onmessage = ({ data }: MessageEvent<TranslationStart | PortableRequest>) => {
  if ('variants' in data) {
    const { variants, answers, anyCpu } = data;
    tools = { variants: readVariants(variants), bases: cpuBases(anyCpu), answers: new MessageRing(answers) };
    self.postMessage(READY);
    return;
  }
  waiting.push(data);
  schedule();
};
