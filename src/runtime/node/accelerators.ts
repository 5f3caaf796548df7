/** The accelerators, and what this host has of them. */
import { inspect } from 'node:util';
import { totalmem } from 'node:os';
import { maxBacking } from '../../accel/interp/memory.js';
import { InterpVm } from '../../accel/interp/vm.js';
import { createTranslator } from '../../accel/wasm/translator.js';
import { HostError, UsageError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import type { Translation } from '../../cpu/x86/translate/describe.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import type { AcceleratorName } from './accelerator-names.js';
import { loadInterpImage, loadTranslatingImage, loadVariants } from './interp-image.js';
import type { TranslationLink } from './translation-protocol.js';
import { WorkerCompiler } from './worker-compiler.js';

/** By so much may the rate of a time-stamp counter differ from what a guest was told: parts of one. */
export const TSC_TOLERANCE = 250e-6;

/** Bytes of memory that this process can have at all. */
function hostMemory(): number {
  // 0 or absurdly large without a limit, undefined before Node 19.6.
  const limit = (process as { constrainedMemory?: () => number | undefined }).constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

const mebibytes = (size: number): string => `${Math.floor(size / MIB)} MiB`;

/** Throws a one-line error when so much guest memory is beyond the accelerator or the host. */
export function checkMemory(size: number, cpus = 1, accel?: AcceleratorName): void {
  if (accel !== 'kvm' && size > maxBacking(cpus))
    throw new UsageError(
      `${mebibytes(size)} of memory are too much: an accelerator can give ${mebibytes(maxBacking(cpus))} at most, but for --accel kvm`,
    );
  const host = hostMemory();
  if (size > host) throw new HostError(`${mebibytes(size)} of memory are too much: this host has ${mebibytes(host)}`);
}

export interface VmOptions {
  /** An accelerator of WebAssembly. */
  readonly accel?: Exclude<AcceleratorName, 'kvm'> | undefined;
  /** The machine's memory, when another thread has made it. */
  readonly memory?: WebAssembly.Memory;
  /** The ways of a CPU to threads that translate for all; absent: each CPU has one of its own. */
  readonly translation?: (cpu: number) => readonly TranslationLink[] | undefined;
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

/** Memory and CPUs for a machine, in WebAssembly. */
export function createVm(request: VmRequest, { accel = 'wasm', report, observe, memory, translation }: VmOptions): Vm {
  checkMemory(request.backingSize, request.cpus);
  const shared = memory && { memory };
  if (accel === 'interp') return new InterpVm({ ...request, ...shared, image: loadInterpImage(request.cpus) });
  const variants = loadVariants();
  return new InterpVm({
    ...request,
    ...shared,
    image: loadTranslatingImage(request.cpus),
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
              }),
          }),
    }),
  });
}
