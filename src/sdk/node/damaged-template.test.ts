import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runCommand } from '../../guests/command.js';
import { describeWith, requireMountNamespaces } from '../../testing/tools.js';

const mountNamespace = await requireMountNamespaces();
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-damaged-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A damaged template in a cache that can only be read, and a machine that would begin with it. */
const SCRIPT = `
  const [dist, cache, kernel] = process.argv.slice(1);
  const fs = await import('node:fs');
  const path = await import('node:path');
  const { execFileSync } = await import('node:child_process');
  const { Vm } = await import(dist + 'sdk/index.js');
  const { templateFile } = await import(dist + 'sdk/node/template.js');
  const { version } = JSON.parse(fs.readFileSync(new URL(dist + '../package.json'), 'utf8'));
  const options = { accel: 'wasm', memory: 64, kernel };
  const file = await templateFile(options, version);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, 'damaged');
  execFileSync('mount', ['-o', 'remount,ro', cache]);
  await Vm.create({ ...options, warm: true }).catch(({ message }) => console.log(message));
  console.log(fs.readFileSync(file, 'utf8'));`;

describeWith([mountNamespace], 'a warm machine whose template is damaged and cannot be removed', () => {
  it('starts cold', async () => {
    const cache = path.join(folder, 'cache');
    mkdirSync(cache);
    // A boot is not needed to see that one begins.
    const kernel = path.join(folder, 'kernel');
    writeFileSync(kernel, 'no kernel');
    const dist = new URL('../../../dist/', import.meta.url).href;
    const node = [process.execPath, '--input-type=module', '-e', SCRIPT, dist, cache, kernel];
    const words = ['-Urm', 'sh', '-c', 'mount -t tmpfs -o size=4m none "$0" && "$@"', cache, ...node];
    const { stdout, stderr } = await runCommand('unshare', words, { env: { XDG_CACHE_HOME: cache } });
    const [message, kept] = stdout.trim().split('\n');
    expect(message, stderr).toContain(kernel);
    expect(kept).toBe('damaged');
  });
});
