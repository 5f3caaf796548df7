/** `vitrine top`, and what a machine may have of the host's processors. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Assembler } from '../cpu/x86/assembler/index.js';
import { usableProcessors } from '../host/node/processors.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { qmpClient } from '../testing/qmp-client.js';
import { rowOf, showRows, type MachineRow, type UsageAnswer } from './top-view.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-top-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const env = { XDG_RUNTIME_DIR: folder };
const sockets = path.join(folder, 'vitrine');

/** Multiboot: runs in a circle. */
const kernel = path.join(folder, 'kernel');
const [load, entry] = [0x10_0000, 0x10_0020];
const header = Uint32Array.of(0x1bad_b002, 1 << 16, -0x1bad_b002 - (1 << 16), load, load, 0, 0, entry);
const asm = new Assembler({ bits: 32, origin: entry });
const again = asm.bind();
asm.emit('jmp', again);
writeFileSync(kernel, Buffer.concat([new Uint8Array(header.buffer), asm.finish()]));

const run = (...args: string[]): VitrineProcess =>
  new VitrineProcess(['run', '--accel', 'wasm', '--kernel', kernel, '--memory', '32M', '--net', 'none', ...args], env);

/** Looks until the machines are there. */
async function look(names: readonly string[]): Promise<MachineRow[]> {
  for (;;) {
    const { output, code } = await new VitrineProcess(['top', '--once', '--json'], env).ended;
    expect(code).toBe(0);
    const rows = JSON.parse(output) as MachineRow[];
    if (names.every((name) => rows.some((row) => row.name === name && row.accelerator !== undefined))) return rows;
  }
}

describe('vitrine top', () => {
  it('finds machines of other processes, and says what they do', async () => {
    const [capped, free] = [run('--name', 'capped', '--cpu-cap', '25', '--cpu-shares', '512'), run()];
    const own = `vm-${String(free.pid)}`;
    const socket = path.join(sockets, 'capped.sock');
    // Starting takes time, too.
    await look(['capped', own]);
    const rows = await look(['capped', own]);
    const [first, other] = ['capped', own].map((name) => rows.find((row) => row.name === name));
    expect(first).toMatchObject({ pid: capped.pid, accelerator: 'wasm', cpus: 1, memory: 32, shares: 512, cap: 25 });
    expect(first?.cpuPercent).toBeLessThan(35);
    expect(other).toMatchObject({ pid: free.pid, shares: 1024 });
    expect(other?.mips).toBeGreaterThan(1);

    const table = await new VitrineProcess(['top', '--once'], env).ended;
    expect(table.output).toMatch(/^NAME +PID +ACCEL +CPUS +%CPU +SHARES +CAP +PIN +MIPS +EXITS\/S +MEMORY$/m);
    expect(table.output).toMatch(/^capped +\d+ +wasm +1 +[\d.]+ +512 +25% +- +[\d.]+ +\d+ +32M$/m);

    const qmp = await qmpClient(socket);
    await qmp.ask('qmp_capabilities');
    expect(await qmp.value('query-name')).toEqual({ name: 'capped' });
    expect(await qmp.ask('x-vitrine-set-limits', { shares: 2048, cap: 0 })).toEqual({ return: {} });
    expect(await qmp.value('x-vitrine-query-usage')).toMatchObject({ cpus: 1, limits: { shares: 2048 } });
    for (const wrong of [{ shares: 1 }, { cap: -1 }, { cap: 1e9 }, { pin: [9999] }, { pin: ['0'] }, { nice: 1 }])
      expect(await qmp.ask('x-vitrine-set-limits', wrong)).toHaveProperty('error');
    expect(await qmp.value('x-vitrine-query-usage')).toMatchObject({ limits: { shares: 2048 } });

    const again = await run('--name', 'capped').ended;
    expect([again.code, again.errors]).toEqual([1, 'vitrine: a machine called capped runs already\n']);
    await qmp.ask('quit');
    await capped.ended;
    // What was killed is not shown, and what has ended has taken its socket along.
    free.kill('SIGKILL');
    await free.ended;
    expect(await look([])).toEqual([]);
    // Called as others are by themselves, of a process that cannot be.
    const second = run('--name', 'vm-99999999');
    await look(['vm-99999999']);
    const third = run('--name', 'third');
    await look(['third']);
    expect(readdirSync(sockets)).toEqual(['third.sock', 'vm-99999999.sock']);
    for (const machine of [second, third]) machine.kill('SIGTERM');
    await Promise.all([second.ended, third.ended]);
  });

  it("does not look into a folder that may be somebody else's", async () => {
    const others = path.join(folder, 'others');
    const link = path.join(folder, 'links');
    for (const each of [others, link]) mkdirSync(each);
    mkdirSync(path.join(others, 'vitrine'), { mode: 0o700 });
    const socket = path.join(others, 'vitrine', 'old.sock');
    // What a process leaves that was killed; long ago.
    const code = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', code, socket]);
    utimesSync(socket, 0, 0);
    symlinkSync(path.join(others, 'vitrine'), path.join(link, 'vitrine'));
    const top = (base: string): Promise<unknown> =>
      new VitrineProcess(['top', '--once', '--json'], { XDG_RUNTIME_DIR: base }).ended;
    expect(await top(link)).toMatchObject({ output: '[]\n', code: 0 });
    expect(existsSync(socket)).toBe(true);
    // Its owner's own looks tidy up.
    expect(await top(others)).toMatchObject({ output: '[]\n', code: 0 });
    expect(existsSync(socket)).toBe(false);
  });

  it('shows how machines of several processes share a processor', async () => {
    const [processor] = usableProcessors();
    const machines = [1, 4].map((n) =>
      run('--name', `n${n}`, '--cpu-group', 'g', '--cpu-pin', String(processor), '--cpu-shares', String(n * 100)),
    );
    const names = ['n1', 'n4'];
    await look(names);
    const rows = await look(names);
    const [one, four] = names.map((name) => rows.find((row) => row.name === name)?.cpuPercent ?? 0);
    expect(four / one).toBeGreaterThan(2.5);
    expect(four / one).toBeLessThan(6);
    // The other has the processor for itself then.
    machines[1].kill('SIGKILL');
    await machines[1].ended;
    for (let alone = 0; alone <= one; [{ cpuPercent: alone }] = await look(['n1']));
    machines[0].kill('SIGTERM');
    await machines[0].ended;
  });

  it('counts between two looks', () => {
    const usage = (now: number, more: Partial<UsageAnswer> = {}): UsageAnswer => ({
      pid: 7,
      accelerator: 'wasm',
      cpus: 2,
      memory: 64 << 20,
      now,
      threads: [
        { time: now / 2, retired: now / 10, exits: now / 1e6 },
        { time: now / 4, retired: now / 10, exits: 0 },
      ],
      'process-time': now,
      limits: { shares: 1024 },
      ...more,
    });
    const row = rowOf('a', usage(1e9), usage(3e9));
    expect(row).toMatchObject({ cpuPercent: 75, mips: 200, exitsPerSecond: 1000, memory: 64 });
    // Where threads are not told apart, and instructions not counted.
    const other = { threads: [{ exits: 5 }], limits: { shares: 2, cap: 50, pin: [0, 1, 3] } };
    const unknown = rowOf('b', usage(1e9, other), usage(2e9, other));
    expect(unknown).toMatchObject({ cpuPercent: 100, mips: undefined, exitsPerSecond: 0 });
    expect(showRows([row, unknown])).toEqual([
      'NAME  PID  ACCEL  CPUS   %CPU  SHARES  CAP  PIN     MIPS  EXITS/S  MEMORY',
      'b       7  wasm      2  100.0       2  50%  0-1,3      -        0     64M',
      'a       7  wasm      2   75.0    1024    -  -      200.0     1000     64M',
    ]);
  });
});

describe('limits that cannot be', () => {
  it.each([
    [['--cpu-shares', '1'], 'CPU shares are a number from 2 to 262144'],
    [['--cpu-shares', 'many'], '--cpu-shares many is not a number'],
    [['--cpu-cap', '0'], 'a CPU cap is 1 to 1600 percent of a processor'],
    [['--cpu-pin', '0-'], '--cpu-pin 0- is no list of processors; write it as 0-2,5'],
    [['--cpu-pin', '1023'], 'there is no processor 1023 to pin to: there '],
    [['--cpu-group', 'a/b'], 'a CPU group cannot be called "a/b": '],
    [['--name', '../x'], 'a machine cannot be called "../x": '],
  ])('%s', async (args, message) => {
    const { code, errors } = await run(...args).ended;
    expect(code).toBe(1);
    expect(errors.startsWith(`vitrine: ${message}`), errors).toBe(true);
    expect(errors.trimEnd()).not.toContain('\n');
  });
});
