import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Bus } from '../../dist/bus/io-space.js';
import { expect, withFolder } from './lib.mjs';

export const title = 'KVM: ring 3 as fast as without a guest, exits nearly as in C, 200 machines leave nothing behind';

const SOURCE = fileURLToPath(new URL('kvm/native.c', import.meta.url));
/** Short ones, many times: the best of them was not disturbed. */
const RUNS = 40;
const ROUNDS = 30_000_000;
const EXITS = 2000;
const CYCLES = 200;
const LIMIT = { compute: 1.05, exit: 1.15, dispatch: 1.3 };

const CODE = 0x1000;
const MEMORY = 0x20_0000;
/** Behind the memory: a write there is an exit. */
const OUTSIDE = MEMORY;

/** The time of each of several things, the best of some runs of all in turn: what else the host does is not what is measured. */
function best(things) {
  const times = things.map(() => Infinity);
  for (let run = 0; run < RUNS; run++)
    for (const [i, thing] of things.entries()) times[i] = Math.min(times[i], thing());
  return times;
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

const nanoseconds = () => performance.now() * 1e6;

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
      while (ioctlRun(fd, KVM.RUN) < 0);
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
  const compare = (native) => {
    // Everything is warm before it counts.
    runBare(2000);
    runDispatching(2000);
    const c = (what, count) => () => Number(execFileSync(native, [what, String(count)], { encoding: 'utf8' })) / count;
    const [exitC, exit, dispatch] = best([c('exits', EXITS), () => runBare(EXITS), () => runDispatching(EXITS)]);
    const [computeC, computeGuest] = best([c('compute', ROUNDS), compute]);
    const ratio = (a, b) => (a / b).toFixed(2);
    log(
      `ring 3: ${computeGuest.toFixed(3)} ns a round, ${computeC.toFixed(3)} without a guest: ${ratio(computeGuest, computeC)}`,
    );
    log(`port exit: ${exit.toFixed(0)} ns, in C ${exitC.toFixed(0)}: ${ratio(exit, exitC)}`);
    log(`port exit with a device: ${dispatch.toFixed(0)} ns: ${ratio(dispatch, exitC)}`);
    expect(computeGuest <= LIMIT.compute * computeC, 'ring 3 is slower than the promise');
    expect(exit <= LIMIT.exit * exitC, 'an exit takes longer than the promise');
    expect(dispatch <= LIMIT.dispatch * exitC, 'an exit with a device takes longer than the promise');
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
    if (compiled) compare(native);
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
