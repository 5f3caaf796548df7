/** What `vitrine run NAME` boots. */
import { UsageError } from '../base/errors.js';
import { KERNEL_WORDS } from '../guests/common/kernel-words.js';
import { cacheRoot, DEFAULT_GUEST, ensureGuest, targets } from '../guests/index.js';
import { readWholeFile } from '../host/node/read-file.js';
import type { BootSource } from '../machine/common/board.js';
import { loadDemo } from '../runtime/node/demo-image.js';
import { interruptibleProgress } from './progress-line.js';

/** Names that can be run, apart from files. */
const runnable = targets.filter((target) => target.kind === 'linux').map(({ name }) => name);

/** The name of our own guest, which needs nothing from outside. */
export const DEMO = 'demo';

/** With the console of our guests. */
export const COMMAND_LINE = `console=ttyS0 ${KERNEL_WORDS}`;

/** The kernel and initrd of a guest, prepared first if need be, with progress on stderr. */
export async function guestBoot(name: string = DEFAULT_GUEST, append?: string): Promise<BootSource> {
  if (name === DEMO) return { kernel: { name: DEMO, data: loadDemo(), commandLine: append ?? '', modules: [] } };
  if (!runnable.includes(name))
    throw new UsageError(
      `there is no guest ${name} to run; there are ${runnable.join(', ')} and ${DEMO}; a container image is oci:${name}`,
    );
  const { progress, done } = interruptibleProgress();
  try {
    const { files } = await ensureGuest(name, { cache: cacheRoot(), progress });
    done();
    // 32-bit kernels have no PVH entry.
    const kernel = name === 'i386' ? files['vmlinuz'] : files['vmlinux'];
    return {
      kernel: {
        name: kernel,
        data: readWholeFile(kernel, 'kernel'),
        commandLine: append ?? COMMAND_LINE,
        modules: [{ name: files['initrd'], data: readWholeFile(files['initrd'], 'initrd') }],
      },
    };
  } finally {
    done();
  }
}
