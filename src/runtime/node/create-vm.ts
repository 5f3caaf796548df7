/** Makes the accelerators of WebAssembly for a machine's thread. */
import { inspect } from 'node:util';
import { InterpVm } from '../../accel/interp/vm.js';
import { WasmCpu } from '../../accel/interp/wasm-cpu.js';
import { createTranslator } from '../../accel/wasm/translator.js';
import type { Translation } from '../../cpu/x86/translate/describe.js';
import { populate } from '../../host/node/give-back.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import type { AcceleratorName } from './accelerator-names.js';
import { checkMemory } from './accelerators.js';
import { loadInterpImage, loadTranslatingImage, loadVariants } from './interp-image.js';
import type { TranslationLink } from './translation-protocol.js';
import { WorkerCompiler } from './worker-compiler.js';

export interface VmOptions {
  /** An accelerator of WebAssembly. */
  readonly accel?: Exclude<AcceleratorName, 'kvm'> | undefined;
  /** The machine's memory, when another thread has made it. */
  readonly memory?: WebAssembly.Memory;
  /** The ways of a CPU to threads that translate for all; absent: each CPU has one of its own. */
  readonly translation?: (cpu: number) => readonly TranslationLink[] | undefined;
  /** Gives ways to a thread that translates for several machines of one CPU; absent: a CPU has a thread of its own. */
  readonly joinTranslation?: (() => TranslationLink) | undefined;
  /** Is told what the user should know, in one line or more. */
  readonly report: (text: string) => void;
  /** Gets each translation. */
  readonly observe?: ((translation: Translation) => void) | undefined;
}

/** Reports the first defect of the translator, with what somebody who looks into it wants to see. */
function reportOnce(report: VmOptions['report']): (error: Error) => void {
  let reported = false;
  return (error) => {
    if (!reported)
      report(
        `some code of the guest could not be translated and runs slower; please report this\n${inspect(error.cause)}`,
      );
    reported = true;
  };
}

/** For the next machine of this thread that can use it. */
let ahead: WasmCpu | undefined;

/** Makes what the next machine of this thread takes longest to make, if it has one CPU and translates. */
export function prepareVm(): void {
  if (ahead) return;
  try {
    ahead = WasmCpu.ahead(loadTranslatingImage(1));
    for (const bytes of ahead.soonWritten) populate(bytes);
  } catch {
    // As when there is no memory for it: the machine makes it, or says why it cannot.
  }
}

function takePrepared(): WasmCpu | undefined {
  const taken = ahead;
  ahead = undefined;
  return taken;
}

/** Memory and CPUs for a machine, in WebAssembly. */
export function createVm(
  request: VmRequest,
  { accel = 'wasm', report, observe, memory, translation, joinTranslation: join }: VmOptions,
): Vm {
  checkMemory(request.backingSize, request.cpus);
  const shared = memory && { memory };
  if (accel === 'interp') return new InterpVm({ ...request, ...shared, image: loadInterpImage(request.cpus) });
  const variants = loadVariants();
  return new InterpVm({
    ...request,
    ...shared,
    image: loadTranslatingImage(request.cpus),
    wasm: (request.cpus ?? 1) === 1 && !memory ? takePrepared() : undefined,
    createTranslator: createTranslator(variants, {
      now: () => performance.now(),
      failed: reportOnce(report),
      // Whoever wants to see every translation needs it on this thread.
      ...(observe
        ? { observe }
        : {
            createCompiler: (bases, memory, cpu) =>
              new WorkerCompiler({
                bases,
                memory: new Uint8Array(memory.buffer),
                variants,
                report,
                links: translation?.(cpu),
                join,
              }),
          }),
    }),
  });
}
