/** Memory and CPUs for a machine in a page. */
import { InterpVm } from '../../accel/interp/vm.js';
import { createTranslator } from '../../accel/wasm/translator.js';
import { readVariants } from '../../cpu/x86/handler-variants.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import type { Built } from './protocol.js';
import { ThreadCompiler, type TranslationThread } from './thread-compiler.js';

export interface VmOptions {
  readonly built: Built;
  /** The machine's memory, when another thread has made it. */
  readonly memory?: WebAssembly.Memory;
  /** What translates for the CPUs of this thread; absent: this one does. */
  readonly translation: TranslationThread | undefined;
  /** Is told what the user should know, in one line or more. */
  readonly report: (text: string) => void;
}

/** Throws a one-line error when the browser cannot give that much memory. */
export function createVm(request: VmRequest, { built, memory, translation, report }: VmOptions): Vm {
  const shared = memory && { memory };
  const { image } = built;
  if (!built.variants) return new InterpVm({ ...request, ...shared, image });
  const variants = readVariants(built.variants);
  let reported = false;
  return new InterpVm({
    ...request,
    ...shared,
    image,
    createTranslator: createTranslator(variants, {
      now: () => performance.now(),
      failed: (error) => {
        if (!reported)
          report(
            `some code of the guest could not be translated and runs slower; please report this\n${String(error.cause)}`,
          );
        reported = true;
      },
      ...(translation && {
        createCompiler: (bases, memory) =>
          new ThreadCompiler(translation, { bases, memory: new Uint8Array(memory.buffer), variants, report }),
      }),
    }),
  });
}
