import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { describeWith, requireGuest } from '../testing/tools.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const project = mkdtempSync(path.join(tmpdir(), 'vitrine-example-'));
afterAll(() => rmSync(project, { recursive: true }));

describeWith([await requireGuest('amd64')], 'the examples', () => {
  it('are right in their types, and those that need no registry run in a project that has the package', () => {
    const examples = readdirSync(path.join(root, 'examples')).filter((name) => name.endsWith('.ts'));
    for (const name of examples) copyFileSync(path.join(root, 'examples', name), path.join(project, name));
    mkdirSync(path.join(project, 'node_modules/@types'), { recursive: true });
    symlinkSync(root, path.join(project, 'node_modules/vitrine'));
    symlinkSync(path.join(root, 'node_modules/@types/node'), path.join(project, 'node_modules/@types/node'));
    writeFileSync(path.join(project, 'package.json'), '{ "type": "module" }');
    const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
    const options = ['--target', 'es2022', '--module', 'nodenext', '--lib', 'es2023', '--strict', '--types', 'node'];
    const built = spawnSync(process.execPath, [compiler, ...options, '--skipLibCheck', ...examples], {
      cwd: project,
      encoding: 'utf8',
    });
    expect(built).toMatchObject({ stdout: '', status: 0 });
    const run = (file: string) =>
      spawnSync(process.execPath, [file], { cwd: project, encoding: 'utf8', timeout: 100_000 });
    expect(run('ten-lines.js')).toMatchObject({
      stdout: 'exit code 0, sorted: 1 2 3\nLinux x86_64\n',
      status: 0,
      stderr: '',
    });
    expect(run('kernel-test.js')).toMatchObject({ stdout: 'hello, world\nended with 43\n', status: 0, stderr: '' });
  }, 120_000);
});
