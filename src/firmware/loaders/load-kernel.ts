/** Boots any kernel: finds out what a file is and hands it to the loader of its kind. */
import { assertNever } from '../../base/assert.js';
import type { BootState } from '../../arch/x86/boot-state.js';
import type { GuestMemoryWriter } from '../guest-memory.js';
import { loadBzImage } from './bzimage.js';
import { describeKernel, detectKernel } from './detect.js';
import { loadMultiboot } from './multiboot.js';
import { loadPvh } from './pvh.js';
import { checkModules, type KernelRequest } from './request.js';

export interface LoadedKernel {
  /** How the first CPU starts. */
  readonly boot: BootState;
  /** `Linux bzImage`, `PVH kernel`, `multiboot kernel`. */
  readonly description: string;
}

/**
 * Puts a kernel and all it needs into guest memory. Whatever cannot be booted throws a `UsageError` of one line. Nothing
 * is kept: a machine that is reset calls this again.
 */
export function loadKernel(memory: GuestMemoryWriter, request: KernelRequest): LoadedKernel {
  checkModules(request);
  const found = detectKernel(request.kernel, request.name, (data) => request.gunzip(data));
  const description = describeKernel(found);
  switch (found.kind) {
    case 'bzimage':
      return { boot: loadBzImage(memory, request, found.image), description };
    case 'multiboot':
      return { boot: loadMultiboot(memory, request, found.image, found.header), description };
    case 'pvh':
      return { boot: loadPvh(memory, request, found.image, found.elf, found.entry), description };
    default:
      return assertNever(found);
  }
}
