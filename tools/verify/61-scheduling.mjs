import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { availableParallelism, loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Assembler } from '../../dist/cpu/x86/assembler/index.js';
import { usableProcessors } from '../../dist/host/node/processors.js';
import { MachineHandle } from '../../dist/sdk/index.js';
import { litmusKernel } from '../../dist/testing/smp/litmus.js';
import { cli, expect, extendedInitrd, FIRST_STEPS, guest, seconds, withFolder } from './lib.mjs';

export const title =
  'Scheduling: machines of a process share processors by what each may have, and stay usable with little';

const PARTS = (process.env.VITRINE_SCHED ?? 'shares,cap,wide,processes,linux').split(',');
/** Milliseconds that machines get to settle, and for which they are measured. */
const SETTLE = 1500;
const MEASURE = Number(process.env.VITRINE_SCHED_MS ?? 7000);
/** What a console may take to answer while its guest is busy, milliseconds: median of ANSWERS. */
const PATIENCE = 250;
const ANSWERS = 21;

const COMPLAINTS = /BUG:|WARNING:|stall|soft lockup|unstable|Oops|Kernel panic/;

const KVM = existsSync('/dev/kvm') ? ['kvm'] : [];

export async function run(log, { accel } = {}) {
  for (const name of accel ? [accel] : ['wasm', 'interp', ...KVM]) {
    if (PARTS.includes('shares')) await shares(name, log);
    if (PARTS.includes('cap')) await cap(name, log);
    if (PARTS.includes('processes')) await processes(name, log);
    if (PARTS.includes('wide')) await wide(name, log);
  }
  for (const name of accel ? [accel] : ['wasm', 'interp'])
    if (PARTS.includes('linux') && name !== 'kvm') await linux(name, log);
}

/** Multiboot, 32 bits, no paging: runs in a circle. */
function circle() {
  const [load, entry] = [0x10_0000, 0x10_0020];
  const header = Uint32Array.of(0x1bad_b002, 1 << 16, -0x1bad_b002 - (1 << 16), load, load, 0, 0, entry);
  const asm = new Assembler({ bits: 32, origin: entry });
  const again = asm.bind();
  asm.emit('jmp', again);
  return Buffer.concat([new Uint8Array(header.buffer), asm.finish()]);
}

function start(accel, { cpus = 1, limits = {}, memory = 32, data, commandLine = '', modules = [], seen }) {
  const kernel = { name: 'kernel', data: new Uint8Array(data), commandLine, modules };
  const config = { cpu: 'x86-64-v2', cpus, memory: memory << 20, boot: { kernel }, disks: [], clock: 'host' };
  return new MachineHandle(
    { kind: 'create', config: { ...config, debugExit: true, noReboot: true } },
    {
      output(channel, bytes, done) {
        if (channel === 'serial') seen?.(Buffer.from(bytes).toString('latin1'));
        done();
      },
    },
    { version: '0', accel, limits },
  );
}

/** Runs `use` with machines, which have ended afterwards. */
async function withMachines(handles, use) {
  try {
    await Promise.all(handles.map((handle) => Promise.race([handle.started, handle.exited])));
    return await use();
  } finally {
    for (const handle of handles) handle.stop();
    await Promise.allSettled(handles.map(({ exited }) => exited));
  }
}

const timeOf = ({ usage }) => usage.reduce((sum, { time }) => sum + time, 0) / 1e9;

/** Parts of one processor that machines have. */
async function measure(handles, what = timeOf) {
  const before = handles.map(what);
  const begun = performance.now();
  await delay(MEASURE);
  const passed = seconds(begun);
  return handles.map((handle, i) => (what(handle) - before[i]) / passed);
}

const percent = (values) => values.map((value) => `${(value * 100).toFixed(1)} %`).join(', ');

function expectProportion(got, wanted, what) {
  const total = got.reduce((a, b) => a + b, 0);
  const sum = wanted.reduce((a, b) => a + b, 0);
  for (const [i, value] of got.entries()) {
    const off = (value * sum) / (total * wanted[i]) - 1;
    const said = `${what}: ${percent(got)}, ${(off * 100).toFixed(1)} % off what was promised`;
    // A thread does not get its part of processors that others keep busy.
    expect(Math.abs(off) <= 0.1, `${said}; load average of the host: ${loadavg()[0].toFixed(1)}`);
  }
}

async function shares(accel, log) {
  const [first] = usableProcessors();
  const data = circle();
  const handles = [1, 2, 4].map((n) => start(accel, { data, limits: { shares: n * 512, pin: [first] } }));
  await withMachines(handles, async () => {
    await delay(SETTLE);
    const got = await measure(handles);
    log(`${accel}: shares 1:2:4 on one processor get ${percent(got)} of it`);
    expectProportion(got, [1, 2, 4], 'shares');
    handles[0].limit({ shares: 2048 });
    await delay(SETTLE);
    const changed = await measure(handles);
    log(`${accel}: changed to 4:2:4 they get ${percent(changed)}`);
    expectProportion(changed, [4, 2, 4], 'changed shares');
  });
}

async function cap(accel, log) {
  const handle = start(accel, { data: circle(), limits: { cap: 25 } });
  await withMachines([handle], async () => {
    await delay(SETTLE);
    const [got] = await measure([handle]);
    log(`${accel}: a cap of 25 % holds at ${percent([got])}`);
    expect(Math.abs(got - 0.25) <= 0.05, `a cap of 25 % let ${percent([got])} through`);
    handle.limit({ cap: undefined });
    const [free] = await measure([handle]);
    log(`${accel}: without it, ${percent([free])}`);
    const isHostBusy = loadavg()[0] > availableParallelism() + 1;
    expect(free > 0.4 || isHostBusy, 'the machine does not run freely when the cap has gone');
  });
}

/** Four CPUs of a machine, and two machines of one CPU, on two processors. */
async function wide(accel, log) {
  const pin = usableProcessors().slice(0, 2);
  const data = circle();
  const litmus = litmusKernel({ cpus: 4, rounds: 100, sums: 2_000_000_000, splits: 100, wides: 1000 });
  const handles = [
    start(accel, { data: litmus, cpus: 4, memory: 64, limits: { pin } }),
    start(accel, { data, limits: { pin } }),
    start(accel, { data, limits: { pin } }),
  ];
  await withMachines(handles, async () => {
    await delay(3 * SETTLE);
    const cpusOf = handles[0].usage.map((_, cpu) => ({ usage: [cpu] }));
    const each = ({ usage: [cpu] }) => handles[0].usage[cpu].time / 1e9;
    const [got, cpus] = await Promise.all([measure(handles), measure(cpusOf, each)]);
    log(`${accel}: machines of 4, 1 and 1 CPUs on ${pin.length} processors get ${percent(got)}`);
    log(`${accel}: the CPUs of the first ${percent(cpus)}`);
    expectProportion(got, [1, 1, 1], 'machines of 4, 1 and 1 CPUs');
    const mean = got[0] / 4;
    for (const cpu of cpus) expect(Math.abs(cpu / mean - 1) < 0.25, 'CPUs of one machine do not get the same');
  });
}

/** As `shares`, but in processes of their own. */
function processes(accel, log) {
  return withFolder(async (folder) => {
    const kernel = path.join(folder, 'kernel');
    writeFileSync(kernel, circle());
    const env = { ...process.env, XDG_RUNTIME_DIR: folder };
    const [first] = usableProcessors();
    const base = ['run', '--accel', accel, '--kernel', kernel, '--memory', '16M', '--net', 'none'];
    const children = [1, 2, 4].map((n) => {
      const limits = ['--cpu-group', 'verify', '--cpu-pin', String(first), '--cpu-shares', String(n * 512)];
      return spawn(process.execPath, [cli, ...base, ...limits, '--name', `m${n}`], { env, stdio: 'ignore' });
    });
    const ended = children.map((child) => once(child, 'exit'));
    try {
      const sums = [0, 0, 0];
      let looks = 0;
      const top = spawn(process.execPath, [cli, 'top', '--json'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      for await (const line of createInterface({ input: top.stdout })) {
        const rows = [1, 2, 4].map((n) => JSON.parse(line).find(({ name }) => name === `m${n}`));
        // While one starts, the others do what they like.
        if (rows.some((row) => row === undefined || row.exitsPerSecond === 0)) continue;
        looks++;
        for (const [i, row] of rows.entries()) if (looks > 2) sums[i] += row.cpuPercent / 100;
        if (looks > 2 + MEASURE / 1000) break;
      }
      top.kill();
      const got = sums.map((sum) => sum / (looks - 2));
      log(`${accel}: in processes of their own, shares 1:2:4 on one processor get ${percent(got)} of it`);
      expectProportion(got, [1, 2, 4], 'shares of processes');
      children[2].kill('SIGKILL');
    } finally {
      for (const child of children) child.kill();
      await Promise.all(ended);
    }
  });
}

const BUSY = `${FIRST_STEPS}stty -echo
(while :; do :; done) &
echo @busy
while read -r line; do
  case $line in
    time) read -r up rest </proc/uptime; echo "@time $up";;
    log) dmesg; echo "@end";;
    *) echo "@echo $line";;
  esac
done
`;

/** A busy Linux with a quarter of a processor: its console, its time, and what its kernel thinks of that. */
async function linux(accel, log) {
  const { files } = await guest('amd64');
  const busy = { path: 'busy', kind: 'file', mode: 0o755, data: Buffer.from(BUSY) };
  const initrd = new Uint8Array(extendedInitrd(files.initrd, [busy]));
  let text = '';
  const handle = start(accel, {
    data: readFileSync(files.vmlinux),
    memory: 256,
    commandLine: 'console=ttyS0 panic=-1 rdinit=/busy',
    modules: [{ name: 'initrd', data: initrd }],
    limits: { cap: 25 },
    seen: (more) => (text += more),
  });
  const until = async (pattern, from, limit = 120) => {
    for (const begun = performance.now(); seconds(begun) < limit; await delay(1)) {
      const match = pattern.exec(text.slice(from));
      if (match) return match;
    }
    throw new Error(`no ${pattern} within ${limit} s: ${text.slice(-500)}`);
  };
  const ask = async (line, pattern) => {
    const from = text.length;
    const begun = performance.now();
    handle.send('serial', Buffer.from(`${line}\n`));
    const match = await until(pattern, from);
    return { match, took: performance.now() - begun };
  };
  await withMachines([handle], async () => {
    const begun = performance.now();
    await until(/@busy/, 0);
    log(`${accel}: Linux boots with a cap of 25 % in ${seconds(begun).toFixed(1)} s`);
    const took = [];
    for (let i = 0; i < ANSWERS; i++) {
      took.push((await ask(`hello ${i}`, new RegExp(`@echo hello ${i}`))).took);
      await delay(30);
    }
    took.sort((a, b) => a - b);
    const median = took[ANSWERS >> 1];
    log(
      `${accel}: busy, its console answers within ${median.toFixed(0)} ms (median; ${took.at(-1).toFixed(0)} at most)`,
    );
    expect(median < PATIENCE, 'a busy machine with a cap does not answer');
    const first = await ask('time', /@time ([\d.]+)/);
    const since = performance.now();
    const [got] = await measure([handle]);
    const second = await ask('time', /@time ([\d.]+)/);
    const [host, inside] = [seconds(since), second.match[1] - first.match[1]];
    log(`${accel}: it has ${percent([got])}; ${host.toFixed(2)} s are ${inside.toFixed(2)} s in the guest`);
    expect(Math.abs(got - 0.25) <= 0.05, 'the cap does not hold');
    expect(Math.abs(inside - host) < 0.5, 'time in the guest goes wrong');
    await ask('log', /@end/);
    const complaint = text.split('\n').find((line) => COMPLAINTS.test(line));
    expect(complaint === undefined, `Linux complains: ${complaint}`);
  });
}
