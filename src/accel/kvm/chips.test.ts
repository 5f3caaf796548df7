/** Local APICs in the kernel, with guests that are interrupted by them. */
import { afterEach, expect, it } from 'vitest';
import { dword, R, type Assembler } from '../../cpu/x86/assembler/index.js';
import { CODE, KvmChipsBench } from '../../testing/kvm-chips-bench.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { vcpuStateSchema } from '../../arch/x86/state.js';

const kvm = await requireKvm();
const makeVm = kvm.missing === undefined ? (await import('./vm.js')).KvmVm : undefined;

const APIC = { EOI: 0xb0, SPURIOUS: 0xf0, TIMER: 0x320, INITIAL: 0x380, DIVIDE: 0x3e0 } as const;
const [MS, PORT, VECTOR] = [1e6, 0x80, 0x41];
const PERIODIC = 1 << 17;
const DIVIDE_BY_1 = 11;

const benches: KvmChipsBench[] = [];
afterEach(() => {
  for (const { vm } of benches.splice(0)) vm.dispose();
});

function bench(options?: ConstructorParameters<typeof KvmChipsBench>[1]): KvmChipsBench {
  const made = new KvmChipsBench(makeVm, options);
  benches.push(made);
  return made;
}

function pauseFor(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

const write = (asm: Assembler, register: number, value: number): void => {
  asm.emit('mov', dword([register]), value);
};

/** Says that the handler ran. */
function tell(asm: Assembler): void {
  asm.emit('out', PORT, R.al);
}

function endOfInterrupt(asm: Assembler): void {
  write(asm, APIC.EOI, 0);
  asm.emit('iret');
}

/** Halts for ever. */
function idle(asm: Assembler): void {
  asm.emit('sti');
  const again = asm.bind();
  asm.emit('hlt');
  asm.emit('jmp', again);
}

/** A guest that waits for its timer, with registers as given, and sets the initial count anew each time if it is given. */
function timed(on: KvmChipsBench, lvt: number, initial: number, again?: number): void {
  on.asm(CODE, (asm) => {
    write(asm, APIC.SPURIOUS, 0x1ff);
    write(asm, APIC.DIVIDE, DIVIDE_BY_1);
    write(asm, APIC.TIMER, lvt);
    write(asm, APIC.INITIAL, initial);
    idle(asm);
  });
  on.handler(VECTOR, (asm) => {
    tell(asm);
    if (again !== undefined) write(asm, APIC.INITIAL, again);
    endOfInterrupt(asm);
  });
  on.start();
}

describeWith([kvm], 'a local APIC in the kernel', () => {
  it('wakes its CPU by its timer, once and again and again', () => {
    const once = bench();
    timed(once, VECTOR, 3 * MS, 3 * MS);
    const began = once.clock.now();
    once.runTo(20);
    expect(once.outs[19].time - began).toBeGreaterThan(59 * MS);
    const often = bench();
    timed(often, PERIODIC | VECTOR, 3 * MS);
    const since = often.clock.now();
    often.runTo(20);
    expect(often.outs[19].time - since).toBeGreaterThan(59 * MS);
  });

  it('does not count while the machine stands still', () => {
    for (const mode of [0, PERIODIC]) {
      const on = bench();
      timed(on, mode | VECTOR, 400 * MS);
      const began = on.clock.now();
      while (on.clock.now() < began + 20 * MS) on.cpu.run(5 * MS);
      on.clock.pause();
      pauseFor(150);
      on.clock.resume();
      on.cpu.resume?.();
      on.runTo(1);
      expect(on.outs[0].time - began).toBeGreaterThan(399 * MS);
    }
  });

  it('is saved with what its timer has left, and goes on elsewhere', () => {
    for (const mode of [0, PERIODIC]) {
      const [from, to] = [bench(), bench()];
      timed(from, mode | VECTOR, 200 * MS);
      const began = from.clock.now();
      while (from.clock.now() < began + 50 * MS) from.cpu.run(5 * MS);
      from.clock.pause();
      const cpu = from.cpu.saveState();
      const now = from.clock.now();
      const state = from.apic.save();
      const { start } = state.timer;
      expect(state.timer).toMatchObject({ initial: 200 * MS, divide: DIVIDE_BY_1, tscDeadline: 0n });
      expect(start).toBeGreaterThanOrEqual(began);
      expect(start).toBeLessThan(now);
      expect(vcpuStateSchema.check(cpu, 'cpu').activity).toBe('halted');
      to.vm.backing.set(from.vm.backing);
      to.clock.pause();
      to.clock.set(now);
      to.apic.restore(state);
      to.cpu.restoreState(cpu);
      pauseFor(20);
      to.clock.resume();
      to.cpu.resume?.();
      to.runTo(1);
      expect(to.outs[0].time).toBeGreaterThan((start ?? 0) + 199 * MS);
    }
  });

  it.each([0xfee0_0900n, 0xfee0_0d00n])('has the state that it is given, with base %i', (base) => {
    const on = bench();
    const words = (seed: number): number[] =>
      Array.from({ length: 8 }, (_, i) => (i === 0 ? 0 : (seed * (i + 3)) >>> 0));
    const state: ReturnType<typeof on.apic.save> = {
      base,
      tpr: 0x2f,
      ldr: base & 0x400n ? 0 : 0x0200_0000,
      dfr: base & 0x400n ? 0xffff_ffff : 0x0fff_ffff,
      svr: 0x1ef,
      isr: words(0x1001_0203),
      tmr: words(0x0040_0301),
      irr: words(0x2000_1071),
      esr: 0x40,
      newErrors: 0,
      errorArmed: true,
      icrLow: 0x000c_4041,
      icrHigh: 0x0300_0000,
      lvt: [0x2_0051, 0x1_0000, 0x1_0000, 0x8752, 0x1_0400, 0x53],
      lint: [true, false],
      extIntLatched: false,
      timer: { initial: 1e9, divide: 2, start: 0, tscDeadline: 0n },
    };
    on.clock.pause();
    on.apic.restore(state);
    // What the CPU gets has a task priority, too.
    on.start({ activity: 'halted' });
    on.cpu.saveState();
    const saved = on.apic.save();
    expect({ ...saved, timer: undefined }).toEqual({ ...state, timer: undefined });
    expect(saved.timer).toMatchObject({ initial: 1e9, divide: 2 });
    const left = (on.clock.now() - (saved.timer.start ?? -1)) % 8e9;
    expect(Math.abs(left - (on.clock.now() % 8e9))).toBeLessThan(MS);
  });

  it('passes on an interrupt of the 8259 that comes while its CPU is halted', () => {
    const on = bench({ extInt: 0x28 });
    on.asm(CODE, idle);
    on.handler(0x28, (asm) => {
      tell(asm);
      asm.emit('iret');
    });
    on.onPort = () => {
      on.apic.setLint(0, false);
    };
    on.start();
    for (let i = 1; i <= 10; i++) {
      for (let tries = 0; !on.cpu.isAsleep && tries < 1000; tries++) on.cpu.run(3 * MS);
      expect(on.cpu.isAsleep).toBe(true);
      on.apic.setLint(0, true);
      on.runTo(i);
    }
    on.cpu.run(5 * MS);
    expect(on.outs).toHaveLength(10);
  });

  it('has its CPU sleep until that is started', () => {
    const on = bench();
    const state = vcpuStateSchema.check(on.cpu.saveState(), 'cpu');
    on.cpu.restoreState({ ...state, activity: 'wait-for-sipi' });
    expect(on.cpu.isAsleep).toBe(true);
    on.cpu.startup(CODE >> 12);
    expect(on.cpu.isAsleep).toBe(false);
  });

  it('tells the I/O APIC when a level-triggered interrupt has ended', () => {
    const on = bench();
    on.asm(CODE, (asm) => {
      write(asm, APIC.SPURIOUS, 0x1ff);
      tell(asm);
      idle(asm);
    });
    on.handler(VECTOR, (asm) => {
      tell(asm);
      endOfInterrupt(asm);
    });
    const set = (register: number, value: number): void => {
      on.ioApic.write(0, 4, register);
      on.ioApic.write(0x10, 4, value);
    };
    on.start();
    on.runTo(1);
    set(0x10 + 2 * 16, 0x8000 | VECTOR);
    const pin = on.ioApic.pin(16);
    // Interrupts until it is taken back.
    on.onPort = () => {
      if (on.outs.length === 4) pin.set(false);
    };
    pin.set(true);
    on.runTo(4);
    on.cpu.run(5 * MS);
    expect(on.outs).toHaveLength(4);
    expect(on.ioApic.save().low[16]).toBe(0x8000 | VECTOR);
    // Edges, besides.
    set(0x10 + 2 * 3, VECTOR);
    on.ioApic.pin(3).set(true);
    on.runTo(5);
  });

  it('is as after power-on in a board that was built anew', () => {
    const on = bench();
    const first = on.apic.save();
    timed(on, PERIODIC | VECTOR, 3 * MS);
    on.runTo(3);
    on.apic.reset(false);
    expect({ ...on.apic.save(), timer: undefined }).toEqual({ ...first, timer: undefined });
    expect(on.apic.save().timer.start).toBeNull();
  });
});
