import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { buildDemo } from '../cpu/x86/demo/image.js';
import type { Check } from '../cpu/x86/demo/plan.js';
import { ACCELERATORS, type AcceleratorName } from '../runtime/node/accelerator-names.js';
import { requireKvm } from '../testing/tools.js';

const { stages } = buildDemo();
const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface Outcome {
  readonly code: number | string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

function vitrine(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? undefined) : 0, stdout, stderr });
    });
  });
}

const demo = (...args: readonly string[]): Promise<Outcome> => vitrine('run', 'demo', ...args);

/** The line that a check which went well has. */
function lineOf({ text, expected, compare, show }: Check): RegExp {
  const value = compare === 'at-least' ? '\\d+' : show === 'hex' ? `0x${expected.toString(16)}` : String(expected);
  return new RegExp(`^  ${text.replace(/[^\w ]/g, '\\$&')} +${value}  ok$`);
}

/** What of it an accelerator can run: /dev/kvm of some hosts cannot do more. */
const STAGES: Readonly<Record<AcceleratorName, readonly string[]>> = {
  interp: stages.map(({ name }) => name),
  wasm: stages.map(({ name }) => name),
  kvm: ['real', 'long', 'ring3'],
};

const kvm = await requireKvm();
const accelerators = ACCELERATORS.map((name) => ({ name, missing: name === 'kvm' ? kvm.missing : undefined }));

describe.each(accelerators)('vitrine run demo --accel $name', ({ name, missing }) => {
  const title = (text: string): string => (missing === undefined ? text : `${text} [${missing}]`);

  it.skipIf(missing !== undefined)(title('sees what it should in every stage, and powers off'), async () => {
    const { code, stdout, stderr } = await demo('--accel', name, '--append', `stages=${STAGES[name].join()}`);
    const lines = stdout.split('\r\n');
    // Some KVMs cannot run operating systems, which is told.
    expect(stderr).toMatch(name === 'kvm' ? /^(this host's KVM cannot do [^\n]*\n)?$/ : /^$/);
    let checked = 0;
    for (const stage of stages.filter((each) => STAGES[name].includes(each.name))) {
      const first = lines.findIndex((line) => line.startsWith(`${stage.name.padEnd(10)} ${stage.title} `));
      expect(lines[first]).toMatch(/ \d+\.\d{3} ms$/);
      for (const [n, check] of stage.checks.entries()) expect(lines[first + 1 + n]).toMatch(lineOf(check));
      checked += stage.checks.length;
    }
    expect(lines).toContain(`${checked} checks passed`);
    expect(code).toBe(0);
  });
});

describe('vitrine run demo', () => {
  it('runs the stages that are named, and only those', async () => {
    const { code, stdout } = await demo('--append', 'first stages=real,nonsense,long last');
    expect(stdout.match(/^\w+(?= .* ms\r$)/gm)).toEqual(['real', 'long']);
    expect(code).toBe(0);
  });

  it('says which stages there are when none of those that are named is one', async () => {
    const { code, stdout, stderr } = await demo('--append', 'stages=nosuch,reals');
    expect(stdout).toMatch(/\nstages= names none of real, protected, v86, pae, long, ring3, calls\r\n$/);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/\nvitrine: the guest ended with exit code 3\n$/)]);
  });

  it('says what a 32-bit CPU does not have', async () => {
    const { code, stdout } = await demo('--cpu', '486');
    expect(stdout).toMatch(/^ {2}SYSENTER and SYSEXIT, calls +- {2}not in this CPU\r$/m);
    expect(stdout).toMatch(/^long +.*: not in this CPU\r$/m);
    expect(stdout).not.toContain('FAILED');
    expect(code).toBe(0);
  });

  it('says what failed, and ends with another exit code', async () => {
    const image = buildDemo().image;
    // MOV AL, 83h; SUB AL, 48h; DAS of real mode.
    const at = Buffer.from(image).indexOf(Uint8Array.of(0xb0, 0x83, 0x2c, 0x48, 0x2f));
    image[at + 1] = 0x84;
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-demo-'));
    const file = path.join(folder, 'demo');
    await writeFile(file, image);
    const { code, stdout, stderr } = await vitrine('run', '--kernel', file, '--append', 'stages=real', '--debug-exit');
    await rm(folder, { recursive: true });
    expect(stdout).toMatch(/decimal 83 - 48, SUB and DAS +0x36 {2}FAILED: 0x35 expected\r$/m);
    expect(stdout).toMatch(/^1 of 8 checks failed\r$/m);
    expect(stderr).toMatch(/\nvitrine: the guest ended with exit code 3\n$/);
    expect(code).toBe(3);
  });

  it('takes the same time each time when time is virtual', async () => {
    const args = ['--clock', 'virtual', '--append', 'stages=real,long'];
    const [first, second] = [await demo(...args), await demo(...args)];
    expect(second).toEqual(first);
  });
});
