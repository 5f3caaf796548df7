import { fstatSync } from 'node:fs';
import { expect, it } from 'vitest';
import { memoryFiles } from '../../host/node/native/memory-files.js';
import { MachineHandle, type MachineOptions } from './machine-handle.js';
import type { Branch } from './protocol.js';

const files = memoryFiles;

it.skipIf(files === undefined)('lets go of what a machine would have begun with that is refused', () => {
  const create = (): number => files?.create() ?? -1;
  const refused: [Partial<MachineOptions>, string][] = [
    [{ worker: 'shared', accel: 'kvm' }, 'a machine that shares its worker runs on wasm or interp'],
    [{ limits: { shares: 0 } }, 'shares'],
  ];
  for (const [options, message] of refused) {
    const [boot, fd, codeFd] = [create(), create(), create()];
    const none = { accelerator: '', epoch: 0, size: 0, recordsEnd: 0, pagesStart: 0 };
    const code = { ...none, directory: new Uint32Array(0), straddles: new Uint8Array(0) };
    const branch: Branch = {
      state: new Uint8Array(0),
      boot,
      memory: { files: [{ fd, pages: 1 }], runs: [] },
      code: { fd: codeFd, code, stale: [] },
    };
    expect(
      () => new MachineHandle({ kind: 'branch', branch }, { output: () => {} }, { version: '', ...options }),
    ).toThrow(message);
    for (const one of [boot, fd, codeFd]) expect(() => fstatSync(one)).toThrow('EBADF');
  }
});
