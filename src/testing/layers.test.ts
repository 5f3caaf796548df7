import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** A source tree that breaks every rule of the layer lint once, and the line that the lint must print for it. */
const violations: readonly { file: string; text: string; line: string | undefined }[] = [
  { file: 'base/units.ts', text: 'export const one = 1;', line: undefined },
  { file: 'iface/vcpu.ts', text: "export { one } from '../base/units.js';", line: undefined },
  {
    file: 'base/up.ts',
    text: "import type { one } from '../iface/vcpu.js'; export type T = typeof one;",
    line: 'layer-base',
  },
  { file: 'ir/guest.ts', text: "export { reg } from '../arch/x86/reg.js';", line: 'layer-ir' },
  { file: 'arch/x86/reg.ts', text: "export { one as reg } from '../../base/units.js';", line: undefined },
  { file: 'accel/interp/index.ts', text: "export { one } from '../../base/units.js';", line: undefined },
  { file: 'machine/pc.ts', text: "export * from '../accel/interp/index.js';", line: 'no-accelerator' },
  { file: 'vmm/run.ts', text: "export const a = import('../accel/interp/index.js');", line: 'no-accelerator' },
  { file: 'devices/legacy/disk.ts', text: "export { readFileSync } from 'node:fs';", line: 'node-modules-of-node' },
  { file: 'host/node/disk.ts', text: "export { readFileSync } from 'node:fs';", line: undefined },
  { file: 'host/browser/screen.ts', text: "export * from '../node/disk.js';", line: 'page-without-node' },
  { file: 'runtime/entry.ts', text: "export * from '../host/browser/screen.js';", line: 'dom' },
  { file: 'runtime/node-worker.ts', text: "export { parentPort } from 'node:worker_threads';", line: undefined },
  { file: 'cli/main.ts', text: "export * from '../server/main.js';", line: 'layer-cli' },
  { file: 'server/main.ts', text: "export { one } from '../base/units.js';", line: undefined },
  { file: 'cpu/x86/build/emit.ts', text: "export { writeFileSync } from 'node:fs';", line: undefined },
  { file: 'cpu/x86/decode.ts', text: "export * from './build/emit.js';", line: 'emitters' },
  { file: 'net/tcp.ts', text: "export * from '../testing/mock.js';", line: 'testing' },
  { file: 'testing/mock.ts', text: "export { one } from '../vmm/loop-a.js';", line: undefined },
  {
    file: 'net/tcp.test.ts',
    text: "export * from '../testing/mock.js'; export * from 'node:fs';",
    line: undefined,
  },
  { file: 'bus/pio.test.ts', text: "export * from '../vmm/run.js';", line: 'layer-bus-tests' },
  {
    file: 'vmm/loop-a.ts',
    text: "import { b } from './loop-b.js'; export const one = b;",
    line: 'no-cycle',
  },
  { file: 'vmm/loop-b.ts', text: "import { one } from './loop-a.js'; export const b = one;", line: undefined },
  { file: 'block/raw.ts', text: "export * from './nowhere.js';", line: 'unresolvable' },
  { file: 'helpers/odd.ts', text: "export * from '../base/units.js';", line: 'known-layer' },
];

describe('the layer lint', () => {
  let root = '';
  let output = '';
  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'vitrine-layers-'));
    for (const { file, text } of violations) {
      const target = path.join(root, 'src', file);
      await mkdir(path.dirname(target), { recursive: true });
      await writeFile(target, text);
    }
    const lint = path.resolve('tools/layers.mjs');
    const run = promisify(execFile)(process.execPath, [lint, root]);
    output = await run.then(
      () => 'the lint found nothing',
      (error: unknown) => (error as { stderr: string }).stderr,
    );
  });
  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });

  it.each(violations.filter(({ line }) => line !== undefined))('$line catches src/$file', ({ file, line }) => {
    expect(output).toMatch(new RegExp(`^src/${file} → .*: ${String(line)}: `, 'm'));
  });

  it.each(violations.filter(({ line }) => line === undefined))('leaves src/$file alone', ({ file }) => {
    expect(output).not.toContain(`src/${file} →`);
  });
});
