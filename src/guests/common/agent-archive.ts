/** What makes the agent the first process of a Linux guest: an archive that follows its initramfs. */
import { UsageError } from '../../base/errors.js';
import { writeCpio } from './cpio.js';

/** Architectures that the agent is built for. */
export type AgentArchitecture = 'amd64' | 'i386';

/** One step of booting: words, of which none has a tab or a newline in it. guest/agent/boot.c knows them. */
export type BootStep = readonly [string, ...string[]];

/**
 * An archive to be put behind an initramfs, whose files it replaces: the agent as `/init`, and what it is to do. Linux takes
 * several archives one behind the other (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export function agentArchive(agent: Uint8Array, steps: readonly BootStep[]): Uint8Array {
  for (const word of steps.flat())
    if (/[\t\n\0]/.test(word)) throw new UsageError(`${JSON.stringify(word)} cannot be told to the guest`);
  const script = steps.map((words) => `${words.join('\t')}\n`).join('');
  return writeCpio([
    { kind: 'folder', path: 'dev' },
    { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'file', path: 'init', data: agent, mode: 0o755 },
    { kind: 'file', path: 'vitrine.boot', data: new TextEncoder().encode(script) },
  ]);
}

/** Archives one behind the other, each at a multiple of four bytes. */
export function joinArchives(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const start = Math.ceil(first.length / 4) * 4;
  const all = new Uint8Array(start + second.length);
  all.set(first);
  all.set(second, start);
  return all;
}

/** Whether a kernel runs 64-bit programs: an ELF file by its class, a bzImage by XLF_KERNEL_64 (Linux boot protocol 2.12). */
export function architectureOf(kernel: Uint8Array): AgentArchitecture {
  const isElf = kernel.length > 4 && kernel[0] === 0x7f && kernel[1] === 0x45;
  const is64 = isElf ? kernel[4] === 2 : ((kernel[0x236] ?? 0) & 1) === 1;
  return is64 ? 'amd64' : 'i386';
}
