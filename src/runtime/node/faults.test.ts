/** Threads that die and memory that cannot be had: the machine ends with one line, and others of the process go on. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { VitrineProcess } from '../../testing/machine-process.js';
import { litmusKernel } from '../../testing/smp/litmus.js';
import { describeWith, requireKvm } from '../../testing/tools.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-faults-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Loaded by each thread of a process: makes the first CPU worker, or the machine's thread, of a machine with three CPUs do what FAULT says. */
const PRELOAD = path.join(folder, 'fault.cjs');
writeFileSync(
  PRELOAD,
  `
const fs = require('node:fs');
const threads = require('node:worker_threads');
const { syncBuiltinESMExports } = require('node:module');
const { FAULT = '', FAULT_AT = 'cpu' } = process.env;
const data = threads.workerData ?? {};
const isMachine = data.start?.config?.cpus === 3;
const isCpu = (given) => given?.cpus === 3 && given.index === 1;
const isVictim = (given) => (FAULT_AT === 'cpu' ? isCpu(given) : given?.start?.config?.cpus === 3);

let victim;
const { Worker } = threads;
threads.Worker = class extends Worker {
  constructor(entry, options) {
    const chosen = isVictim(options?.workerData);
    super(entry, chosen && FAULT === 'memory' ? { ...options, resourceLimits: { maxOldGenerationSizeMb: 64 } } : options);
    if (chosen) victim = this;
  }
};
syncBuiltinESMExports();

const work = {
  throw: () => { throw new Error('injected'); },
  exit: () => process.exit(3),
  memory: () => { for (const all = []; ;) all.push(new Array(100000).fill(all.length)); },
  terminate: () => victim.terminate(),
}[FAULT];

// A thread is killed when it runs.
const alive = __filename + process.pid;
if (isVictim(data)) fs.writeFileSync(alive, '');

// Whoever kills a thread is its parent.
const acts = FAULT === 'terminate' ? isMachine || (FAULT_AT !== 'cpu' && threads.isMainThread) : isVictim(data);
if (acts && work) {
  const { hrtime } = process;
  let [begun, done] = [Infinity, false];
  const look = () => {
    if (begun === Infinity && fs.existsSync(alive)) begun = Date.now();
    if (done || !(Date.now() - begun > 500)) return;
    done = true;
    fs.writeSync(2, '@fault\\n');
    work();
  };
  if (threads.isMainThread) setInterval(look, 100).unref();
  else process.hrtime = (...args) => { look(); return hrtime(...args); };
}
if (FAULT === 'reserve' && isMachine) {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(limits) {
      if (limits.maximum > 500) throw new RangeError('WebAssembly.Memory(): could not allocate memory');
      super(limits);
    }
  };
}
`,
);

const kernel = (cpus: number, sums: number, ring3 = false): string => {
  const file = path.join(folder, `kernel-${String(cpus)}${ring3 ? '-ring3' : ''}`);
  // Those that wait for each other without a processor each take long.
  const rounds = ring3 ? 10 : 100;
  writeFileSync(file, litmusKernel({ cpus, rounds, sums, splits: 100, wides: 1000, ring3 }));
  return file;
};
/** It takes minutes, and a second or two. */
const LONG = kernel(3, 2_000_000_000);
const LONG_RING3 = kernel(3, 2_000_000_000, true);
const SHORT = kernel(2, 3_000_000);
const kvm = await requireKvm();

/** Two machines: the first has three CPUs, and what befalls it; the second ends by itself. */
const BOTH = path.join(folder, 'both.mjs');
writeFileSync(
  BOTH,
  `
import { readFileSync } from 'node:fs';
const { MachineHandle } = await import(${JSON.stringify(new URL('../../../dist/sdk/index.js', import.meta.url).href)});
const start = (file, cpus) => {
  const kernel = { name: file, data: new Uint8Array(readFileSync(file)), commandLine: '', modules: [] };
  const config = { cpu: 'x86-64-v2', cpus, memory: 64 << 20, boot: { kernel }, disks: [], debugExit: true, noReboot: true, clock: 'host' };
  const handle = new MachineHandle({ kind: 'create', config }, { output: (channel, bytes, done) => done() }, { version: '0', accel: 'wasm' });
  return handle.exited.then(
    (exit) => ({ exit }),
    ({ message, name }) => ({ message, name }),
  );
};
const [broken, other] = await Promise.all([start(${JSON.stringify(LONG)}, 3), start(${JSON.stringify(SHORT)}, 2)]);
console.log(JSON.stringify({ broken, other }));
`,
);

interface Both {
  readonly broken: { readonly message?: string; readonly name?: string };
  readonly other: { readonly exit?: { readonly kind: string; readonly code?: number } };
}

async function runBoth(env: Readonly<Record<string, string>>): Promise<Both> {
  const child = spawn(process.execPath, ['--require', PRELOAD, BOTH], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  await new Promise((resolve) => child.on('close', resolve));
  return JSON.parse(text) as Both;
}

describe('a machine ends with one line, and others go on, when', () => {
  it.each([
    { FAULT: 'throw', message: /^CPU 1 has failed: injected$/ },
    { FAULT: 'exit', message: /^CPU 1 has failed: its thread ended with code 3$/ },
    { FAULT: 'terminate', message: /^CPU 1 has failed: its thread ended with code 1$/ },
    {
      FAULT: 'memory',
      message: /^CPU 1 has failed: Worker terminated due to reaching memory limit: JS heap out of memory$/,
    },
    {
      FAULT: 'memory',
      FAULT_AT: 'machine',
      message: /^the machine's thread has failed: Worker terminated due to reaching memory limit/,
    },
    { FAULT: 'terminate', FAULT_AT: 'machine', message: /^the machine's thread has ended, with code 1$/ },
    { FAULT: 'reserve', message: /^cannot reserve 80 MiB of memory for the guest$/ },
  ])('a thread meets $FAULT ($FAULT_AT)', async ({ FAULT, FAULT_AT = 'cpu', message }) => {
    const { broken, other } = await runBoth({ FAULT, FAULT_AT });
    expect(broken.message).toMatch(message);
    expect(broken.name).toMatch(/^(Vitrine|Host)Error$/);
    expect(other.exit).toEqual({ kind: 'exit', code: 1 });
  });
});

describe('output of a machine that has ended', () => {
  it('does not count for the next one', async () => {
    const script = path.join(folder, 'late.mjs');
    writeFileSync(
      script,
      `
import { readFileSync } from 'node:fs';
const { MachineHandle } = await import(${JSON.stringify(new URL('../../../dist/sdk/index.js', import.meta.url).href)});
const start = (output) => {
  const kernel = { name: 'kernel', data: new Uint8Array(readFileSync(${JSON.stringify(SHORT)})), commandLine: '', modules: [] };
  const config = { cpu: 'x86-64-v2', cpus: 2, memory: 64 << 20, boot: { kernel }, disks: [], debugExit: true, noReboot: true, clock: 'host' };
  return new MachineHandle({ kind: 'create', config }, { output }, { version: '0', accel: 'wasm' });
};
const late = [];
const first = start((channel, bytes, done) => late.push(done));
await first.exited;
// Its thread ends, and the next has its place.
await new Promise((resolve) => setTimeout(resolve, 500));
const second = start((channel, bytes, done) => done());
for (const done of late) done();
const { kind } = await Promise.race([second.exited, new Promise((resolve) => setTimeout(resolve, 20_000, { kind: 'hangs' }))]);
console.log(late.length > 0, kind);
process.exit();
`,
    );
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    await new Promise((resolve) => child.on('close', resolve));
    expect(text).toBe('true exit\n');
  });
});

describe('vitrine run', () => {
  it.each(['throw', 'exit', 'memory', 'terminate'])('ends with one line soon after a CPU: %s', async (FAULT) => {
    const vitrine = new VitrineProcess(
      ['run', '--accel', 'wasm', '--kernel', LONG, '--smp', '3', '--memory', '64M', '--net', 'none'],
      { FAULT, NODE_OPTIONS: `--require ${PRELOAD}` },
    );
    while (!vitrine.errors.includes('@fault')) await new Promise((resolve) => setTimeout(resolve, 20));
    const begun = performance.now();
    const { code, errors } = await vitrine.ended;
    expect(errors.replace('@fault\n', '')).toMatch(/^vitrine: CPU 1 has failed: .*\n$/);
    expect(code).toBe(1);
    // Memory takes a while to be used up.
    expect(performance.now() - begun).toBeLessThan(5000);
  });
});

describeWith([kvm], 'vitrine run on KVM', () => {
  it.each(['throw', 'exit', 'terminate'])('ends with one line after a CPU: %s', async (FAULT) => {
    const vitrine = new VitrineProcess(
      ['run', '--accel', 'kvm', '--kernel', LONG_RING3, '--smp', '3', '--memory', '64M', '--net', 'none'],
      { FAULT, NODE_OPTIONS: `--require ${PRELOAD}` },
    );
    const { code, errors } = await vitrine.ended;
    expect(errors).toContain('@fault');
    expect(errors).toMatch(/^vitrine: CPU 1 has failed: .*$/m);
    expect(code).toBe(1);
  });
});
