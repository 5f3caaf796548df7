import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type * as Sdk from './index.js';
import type { MachineConfig, MachineExit, MachineStart } from './index.js';

const dist = new URL('../../dist/', import.meta.url);
// What starts workers comes from dist/, as the workers do.
const { MachineHandle, VitrineError } = (await import(new URL('sdk/index.js', dist).href)) as typeof Sdk;

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-sdk-'));
afterAll(() => rmSync(folder, { recursive: true }));

const demo = (): MachineConfig => ({
  cpu: 'x86-64-v2',
  memory: 16 << 20,
  boot: {
    kernel: {
      name: 'demo',
      data: new Uint8Array(readFileSync(new URL('cpu/x86/demo.bin', dist))),
      commandLine: '',
      modules: [],
    },
  },
  disks: [],
  debugExit: true,
  noReboot: true,
  clock: 'virtual',
});

interface Running {
  readonly handle: InstanceType<typeof MachineHandle>;
  /** What it wrote so far. */
  output(): string;
  /** How it ends, and all that it wrote. */
  readonly ended: Promise<{ exit: MachineExit; output: string }>;
}

function start(what: MachineStart): Running {
  let output = '';
  const handle = new MachineHandle(
    what,
    {
      output: (channel, bytes, done) => {
        if (channel === 'serial') output += Buffer.from(bytes).toString();
        done();
      },
    },
    { version: '0' },
  );
  return { handle, output: () => output, ended: handle.exited.then((exit) => ({ exit, output })) };
}

describe('a machine in a worker', () => {
  it('runs, is saved while it goes on, and goes on in another', async () => {
    const file = path.join(folder, 'machine.snap');
    const first = start({ kind: 'create', config: demo() });
    // While it runs: at whatever moment that is.
    await first.handle.save(file);
    const before = first.output();
    const whole = await first.ended;
    expect(whole.exit).toEqual({ kind: 'power-off' });
    expect(whole.output).toMatch(/^\d+ checks passed\r$/m);

    const second = await start({ kind: 'resume', file }).ended;
    expect(second.exit).toEqual({ kind: 'power-off' });
    expect(before + second.output).toBe(whole.output);
    // For its owner only: it holds all that the guest had in memory. Nothing temporary stays.
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['machine.snap']);
  });

  it('is stopped', async () => {
    const { handle, ended } = start({ kind: 'create', config: demo() });
    handle.stop();
    expect((await ended).exit).toEqual({ kind: 'stopped' });
    await expect(handle.save(path.join(folder, 'late'))).rejects.toThrow('the machine has ended');
  });

  it('that cannot be is an error of one line', async () => {
    const { ended } = start({ kind: 'create', config: { ...demo(), cpu: 'z80' } });
    await expect(ended).rejects.toThrow(/^unknown CPU model "z80"/);
    await expect(ended).rejects.toBeInstanceOf(VitrineError);
  });

  it('that cannot be saved goes on', async () => {
    const { handle, ended } = start({ kind: 'create', config: demo() });
    await expect(handle.save(path.join(folder, 'none/x'))).rejects.toThrow(
      /^cannot write the snapshot .*: no such file$/,
    );
    expect((await ended).exit).toEqual({ kind: 'power-off' });
  });

  it('refuses a damaged snapshot', async () => {
    const file = path.join(folder, 'damaged.snap');
    const { handle, ended } = start({ kind: 'create', config: demo() });
    await handle.save(file);
    await ended;
    const bytes = readFileSync(file);
    bytes[5000] ^= 1;
    writeFileSync(file, bytes);
    await expect(start({ kind: 'resume', file }).ended).rejects.toThrow(/^the snapshot .*damaged\.snap is damaged: /);
    writeFileSync(file, bytes.subarray(0, 9000));
    await expect(start({ kind: 'resume', file }).ended).rejects.toThrow(/^the snapshot .*damaged\.snap is truncated: /);
  });
});
