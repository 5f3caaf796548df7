/** CPUs on the host's KVM: what they do by themselves, and a program that moves between accelerators as it runs. */
import * as fs from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { MSR } from '../../arch/x86/msrs.js';
import { GPR_NAMES, type VcpuState } from '../../arch/x86/state.js';
import { ptr, qword, R, type Assembler } from '../../cpu/x86/assembler/index.js';
import type { Vcpu } from '../../iface/vcpu.js';
import { CODE, KvmBench, longRing3, READ_ONLY, SECOND } from '../../testing/kvm-bench.js';
import { GuestBench, segment } from '../../testing/x86-guest.js';
import { describeWith, requireKvm } from '../../testing/tools.js';

const kvm = await requireKvm();
// It needs the library that calls the system, which other hosts may not have.
const makeVm = kvm.missing === undefined ? (await import('./vm.js')).KvmVm : undefined;

const benches: KvmBench[] = [];
function make(): KvmBench {
  const bench = new KvmBench(makeVm);
  benches.push(bench);
  return bench;
}

afterEach(() => {
  for (const { vm } of benches.splice(0)) vm.dispose();
});

const DONE = 0x20_0000;
const ROUNDS = 400_000_000;

/** Integers, doubles and the x87's stack, ROUNDS times; then it says so at DONE and stays there. */
function computation(asm: Assembler): void {
  asm.emit('mov', R.rcx, ROUNDS);
  asm.emit('mov', R.rax, 1);
  asm.emit('cvtsi2sd', R.xmm0, R.rax);
  asm.emit('movapd', R.xmm7, R.xmm0);
  asm.emit('fninit');
  asm.emit('fld1');
  const top = asm.bind();
  asm.emit('imul', R.rax, R.rax, 29);
  asm.emit('add', R.rax, 7);
  asm.emit('addsd', R.xmm0, R.xmm7);
  asm.emit('dec', R.rcx);
  asm.emit('jnz', top);
  asm.emit('mov', ptr([DONE + 8]), R.rax);
  asm.emit('movsd', ptr([DONE + 16]), R.xmm0);
  asm.emit('fstp', qword([DONE + 24]));
  asm.emit('mov', R.eax, 1);
  asm.emit('mov', ptr([DONE]), R.eax);
  const stay = asm.bind();
  asm.emit('jmp', stay);
}

/** 29 x + 7 modulo 2**64, so many times. */
function rounds(x: bigint, times: number): bigint {
  const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
  let [factor, addend] = [29n, 7n];
  for (let left = BigInt(times); left > 0n; left >>= 1n) {
    if (left & 1n) x = wrap(x * factor + addend);
    addend = wrap(addend * factor + addend);
    factor = wrap(factor * factor);
  }
  return x;
}

describeWith([kvm], 'a CPU on KVM', () => {
  it('reaches ports and memory that is not there, and halts', () => {
    const bench = make();
    bench.asm(16, CODE, (asm) => {
      asm.emit('mov', R.dx, 0x123);
      asm.emit('out', R.dx, R.al);
      asm.emit('in', R.eax, R.dx);
      asm.emit('mov', R.ebx, R.eax);
      asm.emit('mov', R.ax, 0xa000);
      asm.emit('mov', R.ds, R.ax);
      asm.emit('hlt');
    });
    bench.realMode({ rax: 0x5an });
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.log).toEqual(['out 123.1 5a', 'in 123.4']);
    expect(bench.state.gpr[3]).toBe(0x1122_3344n);
    expect(bench.state.activity).toBe('halted');
    // Without an interrupt it stays so.
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
  });

  it('reads read-only memory and writes it to the bus', () => {
    const bench = make();
    bench.view.setUint32(READ_ONLY, 0xcafe, true);
    bench.asm(32, CODE, (asm) => {
      asm.emit('mov', R.eax, ptr([READ_ONLY]));
      asm.emit('mov', ptr([READ_ONLY]), R.ecx);
      asm.emit('mov', R.ebx, ptr([READ_ONLY]));
      asm.emit('hlt');
    });
    const flat = { ...segment(8, 0n, 0xffff_ffff, 0xc093) };
    const segments = { cs: segment(8, 0n, 0xffff_ffff, 0xc09b), ss: flat, ds: flat, es: flat, fs: flat, gs: flat };
    bench.set({ cr0: 0x11n, rip: BigInt(CODE), gpr: { rcx: 0x77n }, segments });
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.log).toEqual(['write 300000.4 77']);
    expect(bench.state.gpr[0]).toBe(0xcafen);
    expect(bench.state.gpr[3]).toBe(0xcafen);
  });

  it('takes an interrupt as soon as it may', () => {
    const bench = make();
    bench.view.setUint16(0x40 * 4, 0x100, true);
    bench.view.setUint16(0x40 * 4 + 2, CODE >> 4, true);
    bench.asm(16, CODE, (asm) => {
      asm.emit('nop');
      asm.emit('sti');
      const again = asm.bind();
      asm.emit('hlt');
      asm.emit('jmp', again);
    });
    bench.asm(16, CODE + 0x100, (asm) => {
      asm.emit('inc', R.bx);
      asm.emit('iret');
    });
    bench.realMode({ rsp: 0x8000n });
    bench.pending.push(0x40);
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.state.gpr[3]).toBe(1n);
    bench.pending.push(0x40);
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.state.gpr[3]).toBe(2n);
  });

  it('comes back when its time is over, or somebody kicks it', () => {
    const bench = make();
    bench.asm(16, CODE, (asm) => {
      asm.emit('out', 0x80, R.al);
      const stay = asm.bind();
      asm.emit('jmp', stay);
    });
    bench.realMode();
    bench.onPort = () => bench.cpu.kick();
    expect(bench.cpu.run(SECOND).kind).toBe('kicked');
    const began = performance.now();
    expect(bench.cpu.run(5e6).kind).toBe('budget');
    expect(performance.now() - began).toBeLessThan(2000);
  });

  it('runs although something is due by the time that it looks at the clock', () => {
    const bench = make();
    bench.asm(16, CODE, (asm) => asm.emit('hlt'));
    bench.realMode();
    const time = bench.clock;
    bench.clock = () => {
      bench.cpu.kick();
      return time();
    };
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
  });

  it('shuts down by a triple fault', () => {
    const bench = make();
    bench.asm(64, CODE, (asm) => asm.emit('ud2'));
    bench.set({ ...longRing3(bench.vm.backing, CODE), idtr: { base: 0n, limit: 0 } });
    expect(bench.cpu.run(SECOND).kind).toBe('shutdown');
  });

  it('keeps by INIT what a power-on would not', () => {
    const bench = make();
    const fpu = {
      ...bench.state.fpu,
      mxcsr: 0x1fa0,
      xmm: bench.state.fpu.xmm.map((_, i) => new Uint8Array(16).fill(i)),
    };
    bench.asm(16, CODE, (asm) => asm.emit('hlt'));
    bench.cpu.restoreState({ ...bench.state, fpu, gpr: bench.state.gpr.map(() => 7n) });
    bench.cpu.init();
    bench.cpu.kick();
    expect(bench.cpu.run(SECOND).kind).toBe('kicked');
    expect(bench.state.gpr[0]).toBe(0n);
    expect(bench.state.rip).toBe(0xfff0n);
    expect(bench.state.fpu).toEqual(fpu);
  });

  it('keeps the guest’s clock, which is the machine’s and stands still with it', () => {
    const [TIME, WALL] = [0x1000, 0x2000];
    const clock = (bench: KvmBench): number => {
      const [shift, multiplier] = [bench.view.getInt8(TIME + 28), bench.view.getUint32(TIME + 24, true)];
      const delta = bench.cpu.readTsc() - bench.view.getBigUint64(TIME + 8, true);
      const shifted = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift);
      return Number(bench.view.getBigUint64(TIME + 16, true) + ((shifted * BigInt(multiplier)) >> 32n));
    };
    // The timer of a CPU that ran before on this thread may end a run of this one.
    const runToHalt = (bench: KvmBench): void => {
      while (bench.cpu.run(SECOND).kind !== 'halt');
    };
    const off = (bench: KvmBench): number => Math.abs(clock(bench) - bench.clock());
    const bench = new KvmBench(makeVm, 'x86-64-v2,kvmclock');
    benches.push(bench);
    const began = performance.now();
    bench.clock = () => (performance.now() - began) * 1e6 + 5e9;
    bench.asm(16, CODE, (asm) => {
      for (const [msr, value] of [
        [MSR.KVM_WALL_CLOCK, WALL],
        [MSR.KVM_SYSTEM_TIME, TIME + 1],
      ]) {
        asm.emit('mov', R.ecx, msr);
        asm.emit('mov', R.eax, value);
        asm.emit('xor', R.edx, R.edx);
        asm.emit('wrmsr');
      }
      asm.emit('sti');
      const again = asm.bind();
      asm.emit('hlt');
      asm.emit('jmp', again);
    });
    bench.view.setUint16(0x20 * 4, 0x100, true);
    bench.view.setUint16(0x20 * 4 + 2, CODE >> 4, true);
    bench.asm(16, CODE + 0x100, (asm) => asm.emit('iret'));
    bench.realMode({ rsp: 0x8000n });
    runToHalt(bench);
    expect(off(bench)).toBeLessThan(20e6);
    const powered = bench.view.getUint32(WALL + 4, true);
    expect(Math.abs(Date.now() / 1000 - 5 - powered)).toBeLessThan(5);
    // The machine stood still for three seconds.
    bench.clock = () => (performance.now() - began) * 1e6 + 2e9;
    bench.pending.push(0x20);
    runToHalt(bench);
    expect(off(bench)).toBeLessThan(20e6);
    const { state } = bench;
    const next = new KvmBench(makeVm, 'x86-64-v2,kvmclock');
    benches.push(next);
    next.clock = () => (performance.now() - began) * 1e6 + 60e9;
    next.vm.backing.set(bench.vm.backing);
    next.cpu.restoreState({ ...state, activity: 'running' });
    runToHalt(next);
    expect(off(next)).toBeLessThan(20e6);
  });

  it('has the state back that it was given', () => {
    const bench = make();
    const fpu = { ...bench.state.fpu, fcw: 0x37f, fsw: 0x1800, ftw: 0x18, mxcsr: 0x1f80 };
    const registers = fpu.registers.map((_, i) => Uint8Array.from({ length: 10 }, (__, j) => 16 * i + j));
    const xmm = fpu.xmm.map((_, i) => new Uint8Array(16).fill(i));
    const given: VcpuState = {
      ...bench.state,
      ...longRing3(bench.vm.backing, CODE),
      gpr: GPR_NAMES.map((_, i) => BigInt(i) << 40n),
      segments: { ...bench.state.segments, ...longRing3(bench.vm.backing, CODE).segments },
      fpu: { ...fpu, registers, xmm },
      breakpoints: [1n, 2n, 3n, 4n],
      events: { ...bench.state.events, nmiMasked: true },
    };
    bench.cpu.restoreState(given);
    const { tsc, ...rest } = bench.state;
    const { tsc: before, ...expected } = given;
    expect(rest).toEqual(expected);
    expect(tsc).toBeGreaterThanOrEqual(before);
  });

  it('goes on with what interp and wasm began, and they with what it did', () => {
    const some = 2_000_000;
    const interp = new GuestBench({ accelerator: 'interp' });
    const wasm = new GuestBench({ accelerator: 'wasm', hotAfter: 1 });
    const bench = make();
    interp.asm(64, CODE, computation);
    interp.set(longRing3(interp.vm.backing, CODE));
    interp.run(some);
    const move = (from: { backing: Uint8Array }, cpu: Vcpu, to: { backing: Uint8Array }, next: Vcpu): void => {
      to.backing.set(from.backing);
      next.restoreState(cpu.saveState());
    };
    move(interp.vm, interp.cpu, wasm.vm, wasm.cpu);
    wasm.run(some);
    move(wasm.vm, wasm.cpu, bench.vm, bench.cpu);
    const left = (): bigint => bench.state.gpr[1];
    const before = left();
    expect(before).toBeLessThan(BigInt(ROUNDS));
    while (left() > 20_000_000n) expect(bench.cpu.run(5e6).kind).toBe('budget');
    expect(bench.view.getUint32(DONE, true)).toBe(0);
    move(bench.vm, bench.cpu, wasm.vm, wasm.cpu);
    for (let slices = 0; wasm.u32(DONE) === 0 && slices < 1000; slices++)
      expect(wasm.run(1_000_000).kind).toBe('budget');
    expect(wasm.u64(DONE + 8)).toBe(rounds(1n, ROUNDS));
    expect(wasm.view.getFloat64(DONE + 16, true)).toBe(ROUNDS + 1);
    expect(wasm.view.getFloat64(DONE + 24, true)).toBe(1);
  });

  it('leaves nothing behind, however often it is made and ended', () => {
    const open = (): number => fs.readdirSync('/proc/self/fd').length;
    const once = (): void => {
      const bench = new KvmBench(makeVm);
      bench.asm(16, CODE, (asm) => asm.emit('hlt'));
      bench.realMode();
      expect(bench.cpu.run(SECOND).kind).toBe('halt');
      bench.vm.dispose();
    };
    once();
    const before = open();
    for (let i = 0; i < 200; i++) once();
    expect(open()).toBe(before);
  });
});
