import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';
import { Bus } from '../../dist/bus/io-space.js';
import { expect, withFolder } from './lib.mjs';

export const title = 'KVM: ring 3 as fast as without a guest, exits nearly as in C, 200 machines leave nothing behind';

const SOURCE = fileURLToPath(new URL('kvm/native.c', import.meta.url));
/** Short ones, many times, in turn: what the host does besides changes slowly, and comes to both. */
const PAIRS = 60;
const ROUNDS = 20_000_000;
const EXITS = 1500;
const CYCLES = 200;
const LIMIT = { compute: 1.05, exit: 1.15, dispatch: 1.3 };

const CODE = 0x1000;
const MEMORY = 0x20_0000;
/** Behind the memory: a write there is an exit. */
const OUTSIDE = MEMORY;

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Several things in turn, one way and then the other: the median time of each, and of its ratios to the first. */
function compare(things) {
  const times = things.map(() => []);
  for (let pair = 0; pair < PAIRS; pair++) {
    const order = [...things.keys()];
    if (pair % 2) order.reverse();
    for (const i of order) times[i].push(things[i]());
  }
  return times.map((own) => ({ time: median(own), ratio: median(own.map((time, pair) => time / times[0][pair])) }));
}

const apic = {
  apicBase: 0xfee0_0900n,
  cr8: 0,
  pendingVector: () => -1,
  acknowledge: () => -1,
  extIntPending: false,
  takeExtInt: () => false,
  tscChanged: () => undefined,
};

async function parts() {
  const load = (file) => import(`../../dist/${file}`);
  const { KvmVm } = await load('accel/kvm/vm.js');
  const { ioctlRun } = await load('accel/kvm/libc.js');
  const { KVM, RUN, EXIT } = await load('accel/kvm/abi.js');
  const { cpuModel, resetIdentity } = await load('arch/x86/cpu-models.js');
  const { cpuidLeaves } = await load('arch/x86/cpuid.js');
  const { resetVcpuState } = await load('arch/x86/boot-state.js');
  const model = cpuModel('x86-64-v2');
  const reset = () => resetVcpuState(resetIdentity(model), true);
  const topology = (index) => ({ cpus: 1, apicId: index, tscHz: 1e9, crystalHz: 1e9 });
  const machine = (io) => {
    const cpuid = (index) => cpuidLeaves(model, topology(index));
    const vm = new KvmVm({ model, cpuid, tscHz: 1e9, backingSize: MEMORY });
    vm.setSlots([{ start: 0, size: MEMORY, offset: 0, kind: 'ram' }]);
    const environment = { io, apic, now: () => 0, fillRandom: () => undefined, acknowledgeExtInt: () => 0 };
    return { vm, cpu: vm.createVcpu(0, environment) };
  };
  return { machine, reset, ioctlRun, KVM, RUN, EXIT };
}

/** In real mode: out 0x80, al; jmp to it. */
function outLoop({ vm, cpu }, reset) {
  vm.backing.set([0xe6, 0x80, 0xeb, 0xfc], CODE);
  const state = reset();
  const cs = { ...state.segments.cs, selector: 0, base: 0n };
  cpu.restoreState({ ...state, rip: BigInt(CODE), segments: { ...state.segments, cs } });
}

/** In ring 3: imul rax, rax, 29; add rax, 7; dec rcx; jnz; mov [OUTSIDE], eax; jmp to itself. */
function computeLoop({ vm, cpu }, reset) {
  const loop = [0x48, 0x6b, 0xc0, 0x1d, 0x48, 0x83, 0xc0, 0x07, 0x48, 0xff, 0xc9, 0x75, 0xf3];
  vm.backing.set([...loop, 0x89, 0x04, 0x25, 0, 0, OUTSIDE >> 16, 0, 0xeb, 0xfe], CODE);
  const view = new DataView(vm.backing.buffer);
  view.setBigUint64(0x2000, 0x3007n, true);
  view.setBigUint64(0x3000, 0x4007n, true);
  for (let i = 0; i < 2; i++) view.setBigUint64(0x4000 + 8 * i, BigInt((i << 21) | 0x87), true);
  const state = reset();
  const segment = (selector, attributes) => ({ selector, base: 0n, limit: 0xffff_ffff, attributes });
  const data = segment(0x23, 0xc0f3);
  const flat = { cs: segment(0x2b, 0xa0fb), ss: data, ds: data, es: data, fs: data, gs: data };
  const gpr = state.gpr.map((value, i) => (i === 1 ? BigInt(ROUNDS) : i === 0 ? 1n : value));
  const mode = { cr0: 0x8000_0033n, cr4: 0x620n, cr3: 0x2000n, efer: 0x501n, rip: BigInt(CODE) };
  cpu.restoreState({ ...state, ...mode, gpr, segments: { ...state.segments, ...flat } });
}

const CLOCK_THREAD_CPUTIME_ID = 3;
const clockGettime = koffi.load('libc.so.6').func('clock_gettime', 'int', ['int', 'void *']);
const timespec = new Uint8Array(16);

/** What this thread has had of a processor. */
function nanoseconds() {
  clockGettime(CLOCK_THREAD_CPUTIME_ID, timespec);
  const view = new DataView(timespec.buffer);
  return Number(view.getBigInt64(0, true)) * 1e9 + Number(view.getBigInt64(8, true));
}

export async function run(log) {
  if (!existsSync('/dev/kvm')) {
    log('skipped: there is no /dev/kvm');
    return;
  }
  log(`${cpus()[0].model}, ${cpus().length} CPUs, load ${loadavg()[0].toFixed(1)}`);
  const { machine, reset, ioctlRun, KVM, RUN, EXIT } = await parts();

  // ---- exits and computing ----
  const bus = new Bus();
  let written = 0;
  bus.ports.claim('counter', 1, { read: () => 0, write: () => void written++ }, 0x80);
  const dispatching = machine(bus);
  outLoop(dispatching, reset);
  const bare = machine(bus);
  outLoop(bare, reset);
  const computing = machine({ ...quiet, mmioWrite: () => computing.cpu.kick() });
  const compute = () => {
    computeLoop(computing, reset);
    const began = nanoseconds();
    while (computing.cpu.run(1e9).kind !== 'kicked');
    return (nanoseconds() - began) / ROUNDS;
  };
  const runBare = (count) => {
    const { fd, view } = bare.cpu;
    bare.cpu.timer.set(60e9);
    const began = nanoseconds();
    for (let i = 0; i < count; i++) {
      // The timer of another machine of this thread.
      while (ioctlRun(fd, KVM.RUN) < 0) bare.cpu.timer.drain();
      expect(view.getUint32(RUN.EXIT_REASON, true) === EXIT.IO, 'an exit that is not of the port');
      written += view.getUint8(Number(view.getBigUint64(RUN.IO_DATA_OFFSET, true)));
    }
    return (nanoseconds() - began) / count;
  };
  const runDispatching = (count) => {
    const before = written;
    const began = nanoseconds();
    while (written - before < count) dispatching.cpu.run(4e6);
    return (nanoseconds() - began) / (written - before);
  };
  const compareWith = (native) => {
    // Everything is warm before it counts.
    runBare(5000);
    runDispatching(20_000);
    compute();
    const c = (what, count) => () => Number(execFileSync(native, [what, String(count)], { encoding: 'utf8' })) / count;
    const [exitC, exit, dispatch] = compare([c('exits', EXITS), () => runBare(EXITS), () => runDispatching(EXITS)]);
    const [computeC, computeGuest] = compare([c('compute', ROUNDS), compute]);
    const line = ({ time, ratio }, digits) => `${time.toFixed(digits)} ns, ${ratio.toFixed(3)} times that`;
    log(`ring 3: ${line(computeGuest, 3)} without a guest (${computeC.time.toFixed(3)} ns a round)`);
    log(`port exit: ${line(exit, 0)} in C (${exitC.time.toFixed(0)} ns)`);
    log(`port exit with a device: ${line(dispatch, 0)} in C`);
    expect(computeGuest.ratio <= LIMIT.compute, 'ring 3 is slower than the promise');
    expect(exit.ratio <= LIMIT.exit, 'an exit takes longer than the promise');
    expect(dispatch.ratio <= LIMIT.dispatch, 'an exit with a device takes longer than the promise');
  };
  let compiled = false;
  await withFolder((folder) => {
    const native = path.join(folder, 'native');
    try {
      execFileSync('gcc', ['-O2', '-o', native, SOURCE], { stdio: 'pipe' });
      compiled = true;
    } catch {
      log('not compared: there is no gcc, or no headers of Linux');
    }
    if (compiled) compareWith(native);
  });
  for (const { vm } of [dispatching, bare, computing]) vm.dispose();

  // ---- machines that come and go ----
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  const began = performance.now();
  for (let i = 0; i < CYCLES; i++) {
    const one = machine({ ...quiet, portWrite: () => one.cpu.kick() });
    outLoop(one, reset);
    expect(one.cpu.run(1e9).kind === 'kicked', 'a machine that does not run');
    one.vm.dispose();
  }
  log(`${CYCLES} machines made, run and ended in ${(performance.now() - began).toFixed(0)} ms`);
  expect(open() === before, 'descriptors were left open');
}

const quiet = { portRead: () => 0, portWrite: () => undefined, mmioRead: () => 0, mmioWrite: () => undefined };
