/** The agent's program, from this installation. */
import { readFile } from 'node:fs/promises';
import { HostError } from '../base/errors.js';
import type { AgentArchitecture } from './common/agent-archive.js';

const folder = new URL('../../guest/agent/', import.meta.url);

export async function readAgent(architecture: AgentArchitecture): Promise<Uint8Array> {
  try {
    return await readFile(new URL(`agent-${architecture}`, folder));
  } catch (cause) {
    throw new HostError(`the guest's agent for ${architecture} is missing from this installation`, { cause });
  }
}
