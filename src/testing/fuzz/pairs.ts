/** Translators that random programs are run with: each in its own way unlike in earnest. */
import type { Compiled, Compiler, RegionRequest } from '../../accel/wasm/compiler.js';
import { InThreadCompiler } from '../../accel/wasm/in-thread-compiler.js';
import type { TranslatorSettings } from '../../accel/wasm/translator.js';
import { builtVariants } from '../accelerators.js';
import { noise } from '../noise.js';
import { GuestBench } from '../x86-guest.js';
import { Lockstep } from './lockstep.js';
import { SharedTranslations, SharingCompiler } from './sharing-compiler.js';

/** Answers some questions later, so that what it has translated may have been overwritten meanwhile. */
class LateCompiler implements Compiler {
  readonly isReady = true;
  private readonly dice = noise(1);
  private delay = 0;

  constructor(private readonly inner: InThreadCompiler) {}

  request(region: RegionRequest): void {
    this.inner.request(region);
    this.delay = this.dice() % 6;
  }

  take(): Compiled | undefined {
    return this.delay-- > 0 ? undefined : this.inner.take();
  }

  close(): void {
    this.inner.close();
  }
}

const pair =
  (hotAfter: number, translator: TranslatorSettings = {}, index = 0) =>
  (): Lockstep =>
    new Lockstep(
      new GuestBench({ accelerator: 'interp' }),
      new GuestBench({ accelerator: 'wasm', hotAfter, translator, index }),
    );

/** Two CPUs of machines of their own, with memory at the same addresses, that run the same and share what is made of it. */
function sharing(): Lockstep {
  const shared = new SharedTranslations(builtVariants());
  const bench = (hotAfter: number, cpu: number): GuestBench =>
    new GuestBench({
      accelerator: 'wasm',
      hotAfter,
      index: 1,
      translator: { createCompiler: (bases, memory) => new SharingCompiler(shared, cpu, bases, memory) },
    });
  return new Lockstep(new GuestBench({ accelerator: 'interp' }), bench(2, 0), [bench(3, 1)]);
}

export const PAIRS: readonly { readonly name: string; readonly make: () => Lockstep }[] = [
  { name: 'translated after 1 jump to a place', make: pair(1) },
  { name: 'translated after 3 jumps to a place', make: pair(3) },
  { name: 'translated after 20 jumps to a place', make: pair(20) },
  { name: 'on the third CPU of a machine', make: pair(2, {}, 2) },
  { name: 'on two CPUs that share translations', make: sharing },
  // Room for a handful of regions.
  { name: 'thrown away soon', make: pair(2, { limits: { bytes: 40_000, slots: 256, regions: 48, links: 4096 } }) },
  {
    name: 'translated some time later',
    make: pair(2, { createCompiler: (bases) => new LateCompiler(new InThreadCompiler(bases, () => 0)) }),
  },
];
