/** What makes the agent the first process of a Linux guest: an archive that follows its initramfs. */
import { readFile } from 'node:fs/promises';
import { HostError, UsageError } from '../base/errors.js';
import { writeCpio } from './cpio.js';

/** Architectures that the agent is built for. */
export type AgentArchitecture = 'amd64' | 'i386';

/** One step of booting: words, of which none has a tab or a newline in it. guest/agent/boot.c knows them. */
export type BootStep = readonly [string, ...string[]];

const folder = new URL('../../guest/agent/', import.meta.url);

/** The agent's program. */
export async function readAgent(architecture: AgentArchitecture): Promise<Uint8Array> {
  try {
    return await readFile(new URL(`agent-${architecture}`, folder));
  } catch (cause) {
    throw new HostError(`the guest's agent for ${architecture} is missing from this installation`, { cause });
  }
}

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
