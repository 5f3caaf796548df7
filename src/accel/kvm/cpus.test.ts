/** CPUs on threads of their own, which take each other out of KVM_RUN: what is tested is the built code, which those threads load. */
import * as fs from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import type * as Models from '../../arch/x86/cpu-models.js';
import type * as Cpuid from '../../arch/x86/cpuid.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import type * as Vms from './vm.js';

const kvm = await requireKvm();
const dist = new URL('../../../dist/', import.meta.url).href;

/** Parts that both sides need, as source text: a machine whose CPUs compute in ring 3 for ever, each for itself. */
const COMMON = `
const { KvmVm } = await import('${dist}accel/kvm/vm.js');
const { cpuModel } = await import('${dist}arch/x86/cpu-models.js');
const { cpuidLeaves } = await import('${dist}arch/x86/cpuid.js');
const { vcpuStateSchema } = await import('${dist}arch/x86/state.js');
const model = cpuModel('x86-64-v2');
const options = {
  model,
  cpus: 3,
  tscHz: 1e9,
  backingSize: 1 << 20,
  cpuid: (index) => cpuidLeaves(model, { cpus: 3, apicId: index, tscHz: 1e9, crystalHz: 1e9 }),
};
const apic = {
  apicBase: 0xfee00900n, cr8: 0, pendingVector: () => -1, acknowledge: () => -1, extIntPending: false,
  takeExtInt: () => false, tscChanged: () => undefined, takeIn: () => { taken++; },
};
let taken = 0;
const io = { portRead: () => 0, portWrite: () => undefined, mmioRead: () => 0, mmioWrite: () => undefined };
const environment = { io, apic, now: () => performance.now() * 1e6, fillRandom: () => undefined, acknowledgeExtInt: () => 0 };
function spin(vm, cpu) {
  const view = new DataView(vm.backing.buffer);
  vm.backing.set([0x48, 0xff, 0xc0, 0xeb, 0xfb], 0x8000);
  view.setBigUint64(0x1000, 0x2007n, true);
  view.setBigUint64(0x2000, 0x3007n, true);
  view.setBigUint64(0x3000, 0x87n, true);
  const state = vcpuStateSchema.check(cpu.saveState(), 'cpu');
  const segment = (selector, attributes) => ({ selector, base: 0n, limit: 0xffffffff, attributes });
  const data = segment(0x23, 0xc0f3);
  const flat = { cs: segment(0x2b, 0xa0fb), ss: data, ds: data, es: data, fs: data, gs: data };
  const mode = { cr0: 0x80000033n, cr4: 0x620n, cr3: 0x1000n, efer: 0x501n, rip: 0x8000n, activity: 'running' };
  cpu.restoreState({ ...state, ...mode, segments: { ...state.segments, ...flat } });
}
`;

/** A CPU that runs again and again, and counts how often it was kicked and how often its time of a second was up. */
const RUNNER = `
(async () => {
${COMMON}
const { workerData } = await import('node:worker_threads');
const counts = new Int32Array(workerData.counts);
const vm = new KvmVm(options, workerData.share);
Atomics.store(counts, 3, 1);
Atomics.notify(counts, 3);
const cpu = vm.createVcpu(workerData.index, environment);
spin(vm, cpu);
for (;;) {
  const began = performance.now();
  const exit = cpu.run(2e9);
  if (exit.kind === 'kicked') Atomics.add(counts, 0, 1);
  // The host's kernel may have its own reasons to end a run early.
  else if (performance.now() - began > 900) Atomics.add(counts, 1, 1);
  Atomics.store(counts, 2, taken);
  Atomics.notify(counts, 0);
}
})().catch(() => undefined);
`;

interface Runner {
  readonly worker: Worker;
  /** Kicks, other ends, interrupts that were looked for, and whether all is loaded. */
  readonly counts: Int32Array;
}

/** One that leaves the guest all the time, for a port and for the end of its time. */
const LEAVER = RUNNER.replace('cpu.run(2e9)', 'cpu.run(1e5)').replace(
  'spin(vm, cpu);',
  `
vm.backing.set([0xe6, 0x80, 0xeb, 0xfc], 0x8000);
const state = vcpuStateSchema.check(cpu.saveState(), 'cpu');
const cs = { ...state.segments.cs, selector: 0, base: 0n };
cpu.restoreState({ ...state, rip: 0x8000n, activity: 'running', segments: { ...state.segments, cs } });
io.portWrite = () => { Atomics.add(counts, 0, 1); };
`,
);

function runner(share: unknown, index: number, code = RUNNER): Runner {
  const counts = new SharedArrayBuffer(16);
  const worker = new Worker(code, { eval: true, workerData: { share, index, counts } });
  return { worker, counts: new Int32Array(counts) };
}

/** A thread that ends while it loads native code ends the process. */
async function end({ worker, counts }: Runner): Promise<void> {
  Atomics.wait(counts, 3, 0, 20_000);
  await worker.terminate();
}

async function machine() {
  const { KvmVm } = (await import(`${dist}accel/kvm/vm.js`)) as typeof Vms;
  const { cpuModel } = (await import(`${dist}arch/x86/cpu-models.js`)) as typeof Models;
  const { cpuidLeaves } = (await import(`${dist}arch/x86/cpuid.js`)) as typeof Cpuid;
  const model = cpuModel('x86-64-v2');
  const cpuid = (index: number) => cpuidLeaves(model, { cpus: 3, apicId: index, tscHz: 1e9, crystalHz: 1e9 });
  const vm = new KvmVm({ model, cpus: 3, tscHz: 1e9, backingSize: 1 << 20, cpuid });
  vm.setSlots([{ start: 0 as never, size: 1 << 20, offset: 0, kind: 'ram' }]);
  return vm;
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const kvms = (): string[] =>
  fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const to = fs.readlinkSync(`/proc/self/fd/${fd}`);
      return /^(\/dev\/|anon_inode:)kvm/.test(to) ? [to] : [];
    } catch {
      return [];
    }
  });
const timers = (): number =>
  fs
    .readFileSync('/proc/self/timers', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('ID:')).length;

describeWith([kvm], 'CPUs of a machine on threads of their own', () => {
  it('lose no kick, whenever it comes', async () => {
    const vm = await machine();
    const runners = [runner(vm.share, 1), runner(vm.share, 2)];
    try {
      for (const { counts } of runners)
        while (Atomics.load(counts, 0) === 0) {
          vm.signals.kick(1);
          vm.signals.kick(2);
          await pause(5);
        }
      for (let i = 0; i < 4000; i++) {
        const { counts } = runners[i & 1];
        const before = Atomics.load(counts, 0);
        // At all moments of a run, and before it has begun.
        for (let wait = (i * 7) % 400; wait > 0; wait--) Atomics.load(counts, 0);
        if (i % 3 === 0) vm.signals.interrupt(1 + (i & 1));
        vm.signals.kick(1 + (i & 1));
        while (Atomics.load(counts, 0) === before) expect(Atomics.wait(counts, 0, before, 1000)).not.toBe('timed-out');
      }
      // None of them waited for the end of its run.
      for (const { counts } of runners)
        expect([Atomics.load(counts, 1), Atomics.load(counts, 2) > 0]).toEqual([0, true]);
    } finally {
      vm.dispose();
      await Promise.all(runners.map(end));
    }
  });

  it('stand still when the machine ends, wherever they are, and leave nothing', async () => {
    const [fds, clocks] = [kvms(), timers()];
    for (let i = 0; i < 10; i++) {
      const vm = await machine();
      const runners = [runner(vm.share, 1), runner(vm.share, 2)];
      // Before they begin, while they do, in the guest.
      await pause(i * 20);
      vm.dispose();
      expect([kvms(), timers()]).toEqual([fds, clocks]);
      await Promise.all(runners.map(end));
    }
  });

  it('stand still also when they are out of the guest just then', async () => {
    const [fds, clocks] = [kvms(), timers()];
    for (let i = 0; i < 20; i++) {
      const vm = await machine();
      const runners = [runner(vm.share, 1, LEAVER), runner(vm.share, 2, LEAVER)];
      for (const { counts } of runners) while (Atomics.load(counts, 0) < 50) await pause(1);
      vm.dispose();
      expect([kvms(), timers()]).toEqual([fds, clocks]);
      // A CPU that goes on with what was taken from it ends the process.
      await pause(5);
      await Promise.all(runners.map(end));
    }
  });
});
