import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { runCommand } from './command.js';
import { describeWith, requireTool, type Requirement } from '../testing/tools.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-agent-'));
afterAll(() => rmSync(folder, { recursive: true }));

const gcc = await requireTool('gcc-12');
const ld = await requireTool('ld', 'binutils');
const env = {
  ...ld.env,
  ...gcc.env,
  // gcc looks for the assembler and the linker of its own package where programs are looked for.
  PATH: [path.dirname(gcc.path), path.dirname(ld.path), process.env['PATH']].join(path.delimiter),
};

/** The versions that made what is in the repository. */
async function pinned(): Promise<Requirement> {
  const compiler = await runCommand(gcc.path, ['-dumpfullversion'], { env });
  const linker = await runCommand(ld.path, ['--version'], { env });
  const right = compiler.stdout.trim() === '12.2.0' && /^GNU ld .* 2\.40$/m.test(linker.stdout);
  return {
    name: 'gcc 12.2.0 and binutils 2.40',
    missing: right ? undefined : 'gcc 12.2.0 and binutils 2.40 are missing',
  };
}

describeWith([gcc, ld, await pinned()], "the guest's agent", () => {
  it('is what its source makes, byte by byte', async () => {
    const script = path.join(root, 'tools/build-agent.mjs');
    const { status, stderr } = await runCommand(process.execPath, [script, '--gcc', gcc.path, '--out', folder], {
      env,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const name of ['agent-amd64', 'agent-i386'])
      expect(readFileSync(path.join(folder, name)).equals(readFileSync(path.join(root, 'guest/agent', name)))).toBe(
        true,
      );
  });
});
