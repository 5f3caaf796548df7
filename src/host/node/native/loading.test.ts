import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(path.join(tmpdir(), 'loading-'));
const built = new URL('../../../../dist/host/node/native/loading.js', import.meta.url).href;

afterAll(() => rmSync(folder, { recursive: true }));

/** What a process prints whose thread does `work`, and which exits when that thread says so. */
function run(work: string): { readonly status: number | null; readonly stdout: string; readonly milliseconds: number } {
  const file = path.join(folder, 'program.mjs');
  writeFileSync(
    file,
    `import { writeSync } from 'node:fs';
    import { Worker, isMainThread, parentPort } from 'node:worker_threads';
    import { loading } from ${JSON.stringify(built)};
    const sleep = (milliseconds) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
    const say = (text) => writeSync(1, text);
    const exit = () => parentPort.postMessage('now');
    if (isMainThread) {
      const worker = new Worker(new URL(import.meta.url));
      worker.on('message', () => process.exit(3));
    } else {
      ${work}
    }`,
  );
  const begun = performance.now();
  const { status, stdout } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 30_000 });
  return { status, stdout, milliseconds: performance.now() - begun };
}

it('a process that ends lets a thread load what it is loading', () => {
  const { status, stdout } = run(`loading(() => { exit(); sleep(500); say('loaded'); });`);
  expect({ status, stdout }).toEqual({ status: 3, stdout: 'loaded' });
});

it('nothing is loaded from then on', () => {
  const { status, stdout } = run(`exit(); sleep(500); loading(() => say('loaded'));`);
  expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
});

it('does not wait for ever', () => {
  const { status, stdout, milliseconds } = run(`loading(() => { exit(); sleep(20_000); say('loaded'); });`);
  expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
  expect(milliseconds).toBeLessThan(15_000);
});
