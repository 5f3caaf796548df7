/** 8259s, I/O APIC and 8254 in the kernel: guests that they interrupt, and states that they are given. */
import { afterEach, expect, it } from 'vitest';
import { dword, R, type Assembler } from '../../cpu/x86/assembler/index.js';
import type { PitRegisters } from '../../iface/chips.js';
import { CODE, type KvmChipsBench } from '../../testing/kvm-chips-bench.js';
import { controllersBench, type ControllersBench } from '../../testing/kvm-controllers-bench.js';
import { describeWith, requireKvm } from '../../testing/tools.js';

const kvm = await requireKvm();
const makeVm = kvm.missing === undefined ? (await import('./vm.js')).KvmVm : undefined;

const [MS, PORT, PIT_HZ] = [1e6, 0x80, 1_193_182];
/** Of interrupt 0 as a BIOS has it. */
const BASE = 0x20;

const benches: KvmChipsBench[] = [];
afterEach(() => {
  for (const { vm } of benches.splice(0)) vm.dispose();
});

function make(): ControllersBench {
  const made = controllersBench(makeVm);
  benches.push(made.on);
  return made;
}

const out = (asm: Assembler, port: number, value: number): void => {
  asm.emit('mov', R.al, value);
  asm.emit('out', port, R.al);
};

function pauseFor(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

/** Both 8259s as a BIOS sets them up, with these inputs let through. */
function setUpPics(asm: Assembler, enabled: number): void {
  for (const [port, base, wired] of [
    [0x20, BASE, 4],
    [0xa0, 0x28, 2],
  ])
    for (const [at, value] of [
      [port, 0x11],
      [port + 1, base],
      [port + 1, wired],
      [port + 1, 1],
    ])
      out(asm, at, value);
  out(asm, 0x21, ~enabled & 0xff);
  out(asm, 0xa1, ~(enabled >> 8) & 0xff);
}

/** Counter 0 in a mode, with a count. */
function setUpPit(asm: Assembler, mode: number, count: number): void {
  out(asm, 0x43, 0x30 | (mode << 1));
  out(asm, 0x40, count & 0xff);
  out(asm, 0x40, count >> 8);
}

/** Halts for ever. */
function idle(asm: Assembler): void {
  asm.emit('sti');
  const again = asm.bind();
  asm.emit('hlt');
  asm.emit('jmp', again);
}

/** Says that it was interrupted, and ends that. */
function handle(on: KvmChipsBench, vector: number, second = false): void {
  on.handler(vector, (asm) => {
    out(asm, PORT, 0);
    out(asm, 0x20, 0x20);
    if (second) out(asm, 0xa0, 0x20);
    asm.emit('iret');
  });
}

/** A guest that waits for the 8254. */
function timed({ on }: ControllersBench, mode: number, count: number): void {
  on.asm(CODE, (asm) => {
    setUpPics(asm, 1);
    setUpPit(asm, mode, count);
    idle(asm);
  });
  handle(on, BASE);
  on.start();
}

const counter = (changes: Partial<PitRegisters>): PitRegisters => ({
  ...{ mode: 2, access: 3, count: 20_000, age: 0, gate: true, partial: null, readHigh: false },
  ...{ latchedCount: null, latchedStatus: null },
  ...changes,
});

describeWith([kvm], 'interrupt controllers in the kernel', () => {
  it('pass on ticks of the 8254 there', () => {
    const made = make();
    const { on } = made;
    const began = on.clock.now();
    timed(made, 2, 11_932);
    on.runTo(10);
    expect(on.outs[9].time - began).toBeGreaterThan(95 * MS);
  });

  it('pass on what devices ask for, by the second 8259 too', () => {
    const { on, controllers } = make();
    on.asm(CODE, (asm) => {
      setUpPics(asm, (1 << 4) | (1 << 2) | (1 << 11));
      out(asm, PORT, 0);
      idle(asm);
    });
    handle(on, BASE + 4);
    handle(on, 0x28 + 3, true);
    on.start();
    on.runTo(1);
    for (const [i, pin] of [4, 11, 4].entries()) {
      controllers.pic(pin).set(true);
      on.runTo(2 + i);
      controllers.pic(pin).set(false);
    }
    on.cpu.run(5 * MS);
    expect(on.outs).toHaveLength(4);
  });

  it('have a level-triggered pin of the I/O APIC interrupt until it is taken back', () => {
    const { on, controllers, ioApic } = make();
    const VECTOR = 0x41;
    on.asm(CODE, (asm) => {
      // The spurious vector and, with it, the local APIC on; DS has its registers.
      asm.emit('mov', dword([0xf0]), 0x1ff);
      out(asm, PORT, 0);
      idle(asm);
    });
    on.handler(VECTOR, (asm) => {
      out(asm, PORT, 0);
      asm.emit('mov', dword([0xb0]), 0);
      asm.emit('iret');
    });
    on.start();
    on.runTo(1);
    const state = ioApic.save();
    const low = state.low.map((entry, pin) => (pin === 16 ? 0x8000 | VECTOR : entry));
    ioApic.restore({ ...state, low });
    const pin = controllers.ioApic(16);
    // There is a KVM that ends an interrupt when the processor takes it, so that the next one is pending already.
    let isEndedEarly = false;
    on.onPort = () => {
      if (on.outs.length !== 4) return;
      isEndedEarly = (on.apic.save().isr[VECTOR >> 5] & (1 << (VECTOR & 31))) === 0;
      pin.set(false);
    };
    pin.set(true);
    on.runTo(4);
    on.cpu.run(5 * MS);
    expect(on.outs).toHaveLength(isEndedEarly ? 5 : 4);
    const after = ioApic.save();
    expect([after.low[16], after.levels[16]]).toEqual([0x8000 | VECTOR, false]);
  });

  it('have the states that they are given', () => {
    const { pic, ioApic } = make();
    const { first, second } = pic.save();
    const pics = {
      first: {
        ...first,
        irr: 0x10,
        isr: 0x02,
        imr: 0xa8,
        pins: 0x10,
        base: 0x30,
        bottom: 3,
        readIsr: true,
        withIcw4: true,
      },
      second: { ...second, imr: 0x5f, elcr: 0x0c, base: 0x38, expecting: 3, specialMask: true, autoEoi: true },
    };
    pic.restore(pics);
    expect(pic.save()).toEqual(pics);
    const pins = { ...ioApic.save(), apicId: 5, select: 0x12 };
    pins.low[7] = 0x1_8042;
    pins.high[7] = 0x0300_0000;
    ioApic.restore(pins);
    expect(ioApic.save()).toEqual(pins);
  });

  it('refuse an I/O APIC that can do more than theirs', () => {
    const { ioApic } = make();
    expect(() => ioApic.restore({ ...ioApic.save(), version: 0x20 })).toThrow(/--kernel-irqchip split or off/);
  });

  it('have an 8254 with the state that it is given', () => {
    const { on, controllers } = make();
    on.clock.pause();
    const given = [
      counter({ count: 0x1_0000 }),
      counter({ mode: 3, access: 1, count: 18, latchedCount: 7 }),
      counter({ mode: 0, count: 5000, gate: false, partial: 0x12, readHigh: true, latchedStatus: 0x30 }),
    ];
    controllers.storePit(given, true);
    expect(controllers.loadPit()).toEqual({ counters: given, speaker: true });
    // As KVM has it, when time goes on.
    controllers.resume(0);
    const { counters, speaker } = controllers.loadPit();
    expect(counters.map((one) => ({ ...one, age: 0 }))).toEqual(given);
    expect(speaker).toBe(true);
  });

  it('have an 8254 that does not count while the machine stands still, and interrupts once', () => {
    const { on, pit, pic } = make();
    on.asm(CODE, idle);
    handle(on, BASE);
    on.clock.pause();
    on.clock.set(1000 * MS);
    on.start();
    const [first, second] = [pic.save().first, pic.save().second];
    pic.restore({ first: { ...first, imr: 0xfe, base: BASE }, second });
    // Mode 0, 54.9 ms, of which 20 have passed.
    const state = pit.save();
    const periods = 0x1_0000;
    const start = Math.floor(((on.clock.now() - 20 * MS) / 1e9) * PIT_HZ);
    const counters = state.counters.with(0, { ...state.counters[0], mode: 0, armed: true, periods, start });
    pit.restore({ ...state, counters });
    const due = pit.save().deadline ?? 0;
    expect(due - on.clock.now()).toBeGreaterThan(34 * MS);
    expect(due - on.clock.now()).toBeLessThan(36 * MS);
    pauseFor(100);
    expect(pit.save().deadline).toBe(due);
    on.clock.resume();
    on.cpu.resume?.();
    on.runTo(1);
    expect(on.outs[0].time).toBeGreaterThan(due - MS);
    // What has interrupted is given to it as what it is.
    on.clock.pause();
    const over = pit.save();
    expect(over.counters[0]).toMatchObject({ mode: 0, armed: true });
    expect(over.deadline).toBeNull();
    pit.restore(over);
    on.clock.resume();
    on.cpu.resume?.();
    const later = on.clock.now() + 120 * MS;
    while (on.clock.now() < later) on.cpu.run(5 * MS);
    expect(on.outs).toHaveLength(1);
  });
});
