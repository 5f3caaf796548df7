import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { forkIdentity } from './identity.js';
import { DEFAULT_HOSTNAME, type Note } from './note.js';

it('a fork gets what is given, and something of its own for what is not, undefined or absent', () => {
  const note = { hostname: DEFAULT_HOSTNAME } as Note;
  const given = { hostname: undefined, machineId: 'f'.repeat(32) } as never;
  const { hostname, machineId } = forkIdentity(note, randomBytes, given);
  expect(hostname).toMatch(/^vitrine-[0-9a-f]{6}$/);
  expect(machineId).toBe('f'.repeat(32));
});
