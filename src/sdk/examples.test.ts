/** The programs of README and of examples/, compiled and run in a project that has the package. */
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { startRegistry } from '../testing/oci-images.js';
import { pushPython, requirePython } from '../testing/python-image.js';
import { describeWith, requireGuest, requireTool } from '../testing/tools.js';

const [guest, python, registryTool, skopeo, umoci] = await Promise.all([
  requireGuest('amd64'),
  requirePython(),
  requireTool('docker-registry'),
  requireTool('skopeo'),
  requireTool('umoci'),
]);

const root = fileURLToPath(new URL('../../', import.meta.url));
const project = mkdtempSync(path.join(tmpdir(), 'vitrine-example-'));
afterAll(() => rmSync(project, { recursive: true }));

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

/** Runs Node on a program; a registry of this process goes on answering meanwhile. */
function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = spawn(process.execPath, args, { cwd: project, env: { ...process.env, ...env }, timeout: 100_000 });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve) => child.on('close', (status) => resolve({ stdout, stderr, status })));
}

/** The program that README shows. */
const readme =
  /^## From a program\n+```ts\n(.*?)^```$/ms.exec(readFileSync(path.join(root, 'README.md'), 'utf8'))?.[1] ?? '';

describe('the examples', () => {
  let built: Ended;
  beforeAll(async () => {
    const examples = readdirSync(path.join(root, 'examples')).filter((name) => name.endsWith('.ts'));
    for (const name of examples) copyFileSync(path.join(root, 'examples', name), path.join(project, name));
    writeFileSync(path.join(project, 'readme.ts'), readme);
    mkdirSync(path.join(project, 'node_modules/@types'), { recursive: true });
    symlinkSync(root, path.join(project, 'node_modules/vitrine'));
    symlinkSync(path.join(root, 'node_modules/@types/node'), path.join(project, 'node_modules/@types/node'));
    writeFileSync(path.join(project, 'package.json'), '{ "type": "module" }');
    const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
    const options = ['--target', 'es2022', '--module', 'nodenext', '--lib', 'es2023', '--strict', '--types', 'node'];
    built = await run([compiler, ...options, '--skipLibCheck', ...examples, 'readme.ts']);
  });

  it('are right in their types', () => {
    expect(built).toMatchObject({ stdout: '', status: 0 });
  });

  describeWith([guest], 'that need no registry', () => {
    it('run', async () => {
      const sorted = { stdout: 'exit code 0, sorted: 1 2 3\nLinux x86_64\n', status: 0, stderr: '' };
      expect(await run(['ten-lines.js'])).toEqual(sorted);
      const greeting = { stdout: 'hello, world\nended with 43\n', status: 0, stderr: '' };
      expect(await run(['kernel-test.js'])).toEqual(greeting);
    });
  });

  describeWith([guest, python, registryTool, skopeo, umoci], "README's, with an image of a registry", () => {
    it('prints what README says, in ten lines', async () => {
      const lines = readme.trim().split('\n');
      expect(lines.length).toBeLessThanOrEqual(10);
      const [, image] = /image: '([^']+)'/.exec(readme) ?? [];
      const [, printed] = /console\.log\(.*\); \/\/ (.*)$/m.exec(readme) ?? [];
      const registry = await startRegistry(registryTool, project);
      try {
        await pushPython({ python, umoci, skopeo }, registry, image, project);
        // Where it comes from alone is another place than README's.
        const program = readFileSync(path.join(project, 'readme.js'), 'utf8');
        expect(program.split(`'${image}'`)).toHaveLength(2);
        const changed = program.replace(`'${image}'`, `'${registry.host}/${image}'`);
        // A cache of the test's own, with the guests of the machine's: the image has to be pulled.
        const cache = path.join(project, 'cache');
        mkdirSync(path.join(cache, 'vitrine'), { recursive: true });
        symlinkSync(path.join(cacheRoot(), 'guests'), path.join(cache, 'vitrine/guests'));
        const [name, tag] = image.split(':');
        const accept = { accept: 'application/vnd.oci.image.manifest.v1+json' };
        const manifest = await fetch(`http://${registry.host}/v2/${name}/manifests/${tag}`, { headers: accept });
        expect(await manifest.text()).toMatch(/tar\+zstd.*tar\+gzip/s);
        // As text: its threads are files all the same.
        const ended = await run(['--input-type=module', '--eval', changed], {
          XDG_CACHE_HOME: cache,
          DOCKER_CONFIG: project,
        });
        expect(ended).toEqual({ stdout: `${printed}\n`, status: 0, stderr: '' });
      } finally {
        registry.stop();
      }
    });
  });
});
