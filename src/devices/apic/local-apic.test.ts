import { describe, expect, it } from 'vitest';
import { nanoseconds } from '../../base/units.js';
import { FakeClock } from '../../host/fake/clock.js';
import type { ApicCpu } from '../../iface/local-apic.js';
import { noise } from '../../testing/noise.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { ApicBus } from './apic-bus.js';
import { LocalApicDevice } from './local-apic.js';

/** Records what the APIC asks of it; its TSC runs at 2 GHz from a settable offset. */
class FakeCpu implements ApicCpu {
  readonly log: string[] = [];
  readonly tscFrequency = 2e9;
  tscOffset = 0n;
  notified = 0;
  constructor(private readonly clock: FakeClock) {}
  notify(): void {
    this.notified++;
  }
  nmi(): void {
    this.log.push('nmi');
  }
  init(): void {
    this.log.push('init');
  }
  startup(page: number): void {
    this.log.push(`sipi ${page}`);
  }
  readTsc(): bigint {
    return BigInt(this.clock.now()) * 2n + this.tscOffset;
  }
}

interface Options {
  readonly x2apic?: boolean;
  readonly tscDeadline?: boolean;
}

function machine(count = 1, options: Options = {}) {
  const clock = new FakeClock();
  const bus = new ApicBus();
  const eois: number[] = [];
  bus.attachIoApic({ endOfInterrupt: (vector) => eois.push(vector), edgeEnded: () => undefined });
  const cpus = Array.from({ length: count }, () => new FakeCpu(clock));
  const apics = cpus.map(
    (cpu, i) => new LocalApicDevice({ apicId: i, bsp: i === 0, cpu, bus, clock, physicalAddressBits: 40, ...options }),
  );
  for (const apic of apics) apic.mmioWrite(SVR, 0x1ff);
  return { clock, bus, eois, cpus, apics, cpu: cpus[0], apic: apics[0] };
}

const [ID, VERSION, TPR, PPR, EOI, LDR, DFR, SVR] = [0x20, 0x30, 0x80, 0xa0, 0xb0, 0xd0, 0xe0, 0xf0];
const [ISR, TMR, IRR, ESR, ICR, ICR_HIGH] = [0x100, 0x180, 0x200, 0x280, 0x300, 0x310];
const [LVT_TIMER, LINT0, LINT1, LVT_ERROR] = [0x320, 0x350, 0x360, 0x370];
const [INITIAL, CURRENT, DIVIDE] = [0x380, 0x390, 0x3e0];
const MASKED = 0x1_0000;
const EXTD = 0x400n;

const fixed = (vector: number, trigger: 'edge' | 'level' = 'edge') =>
  ({ mode: 'fixed', vector, level: true, trigger }) as const;

/** Which of the CPUs have this vector pending; takes it out of service again. */
function receivers(apics: readonly LocalApicDevice[], vector: number): number[] {
  return apics.flatMap((apic, i) => {
    if (apic.pendingVector() !== vector) return [];
    apic.acknowledge();
    apic.mmioWrite(EOI, 0);
    return [i];
  });
}

describe('registers after reset (SDM vol. 3 §11.4.7.1)', () => {
  it('have their documented values', () => {
    const { bus, clock, cpu } = machine();
    const apic = new LocalApicDevice({ apicId: 3, bsp: false, cpu, bus, clock, physicalAddressBits: 40 });
    expect(apic.apicBase).toBe(0xfee0_0800n);
    const read = (offset: number) => apic.mmioRead(offset);
    expect([ID, VERSION, SVR, DFR, LDR].map(read)).toEqual([0x0300_0000, 0x0105_0014, 0xff, 0xffff_ffff, 0]);
    for (let lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 0x10) expect(read(lvt)).toBe(MASKED);
    for (let word = 0; word < 24; word++) expect(read(ISR + word * 0x10)).toBe(0);
    expect([INITIAL, CURRENT, DIVIDE, ESR, ICR, ICR_HIGH, TPR, PPR].map(read)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('put the bootstrap processor into virtual wire mode', () => {
    const { bus, clock, cpu } = machine();
    const apic = new LocalApicDevice({ apicId: 0, bsp: true, cpu, bus, clock, physicalAddressBits: 40 });
    expect(apic.apicBase).toBe(0xfee0_0900n);
    apic.setLint(0, true);
    expect(apic.extIntPending).toBe(true);
  });
});

describe('interrupt acceptance and priorities (§11.8)', () => {
  it('serves the highest vector first and nests by priority class', () => {
    const { apic } = machine();
    apic.deliver(fixed(0x31));
    apic.deliver(fixed(0x55));
    expect(apic.acknowledge()).toBe(0x55);
    expect(apic.mmioRead(PPR)).toBe(0x50);
    expect(apic.pendingVector()).toBe(-1);
    apic.deliver(fixed(0x5f));
    expect(apic.pendingVector()).toBe(-1);
    apic.deliver(fixed(0x61));
    expect(apic.acknowledge()).toBe(0x61);
    apic.mmioWrite(EOI, 0);
    expect(apic.pendingVector()).toBe(-1);
    apic.mmioWrite(EOI, 0);
    expect(apic.acknowledge()).toBe(0x5f);
    apic.mmioWrite(EOI, 0);
    expect(apic.acknowledge()).toBe(0x31);
    expect(apic.mmioRead(ISR + 0x10)).toBe(1 << 0x11);
  });

  it('holds back what the task priority outranks, and tells the CPU when it falls', () => {
    const { apic, cpu } = machine();
    apic.mmioWrite(TPR, 0x60);
    expect(apic.cr8).toBe(6);
    apic.deliver(fixed(0x6f));
    expect(apic.pendingVector()).toBe(-1);
    const before = cpu.notified;
    apic.cr8 = 5;
    expect(cpu.notified).toBe(before + 1);
    expect([apic.mmioRead(TPR), apic.pendingVector()]).toEqual([0x50, 0x6f]);
  });

  it('shows the task priority in PPR when it is at least as high as what is in service', () => {
    const { apic } = machine();
    apic.deliver(fixed(0x45));
    apic.acknowledge();
    apic.mmioWrite(TPR, 0x43);
    expect(apic.mmioRead(PPR)).toBe(0x43);
    apic.mmioWrite(TPR, 0x3f);
    expect(apic.mmioRead(PPR)).toBe(0x40);
  });

  it('accepts no fixed interrupt while software has disabled it, but keeps what is pending', () => {
    const { apic } = machine();
    apic.deliver(fixed(0x40));
    apic.mmioWrite(SVR, 0xff);
    apic.deliver(fixed(0x50));
    expect(apic.pendingVector()).toBe(0x40);
    apic.mmioWrite(LINT0, 0x41);
    expect(apic.mmioRead(LINT0)).toBe(MASKED | 0x41);
  });

  it('has nothing to take when nothing is pending', () => {
    const { apic } = machine();
    expect(apic.acknowledge()).toBe(-1);
    apic.mmioWrite(EOI, 0);
  });

  it('broadcasts the EOI of a level-triggered interrupt, unless that is suppressed', () => {
    const { apic, eois } = machine();
    const serve = (trigger: 'edge' | 'level') => {
      apic.deliver(fixed(0x40, trigger));
      apic.acknowledge();
      const tmr = apic.mmioRead(TMR + 0x20);
      apic.mmioWrite(EOI, 0);
      return tmr;
    };
    expect([serve('level'), serve('edge'), eois]).toEqual([1, 0, [0x40]]);
    apic.mmioWrite(SVR, 0x11ff);
    serve('level');
    expect(eois).toEqual([0x40]);
  });
});

describe('errors (§11.5.3)', () => {
  it('are collected, shown after a write to ESR, and interrupt once', () => {
    const { apic } = machine();
    apic.mmioWrite(LVT_ERROR, 0xfe);
    apic.mmioWrite(ICR, 0x4_0000 | 5); // self IPI, illegal vector
    apic.deliver(fixed(3));
    apic.mmioRead(0x400);
    apic.mmioWrite(0x10, 0);
    expect(apic.mmioRead(ESR)).toBe(0);
    expect(apic.acknowledge()).toBe(0xfe);
    apic.mmioWrite(EOI, 0);
    expect(apic.pendingVector()).toBe(-1);
    apic.mmioWrite(ESR, 0);
    expect(apic.mmioRead(ESR)).toBe(0xe0);
    apic.deliver(fixed(3));
    expect(apic.acknowledge()).toBe(0xfe);
    apic.mmioWrite(ESR, 0);
    expect(apic.mmioRead(ESR)).toBe(0x40);
  });

  it('do not recurse when the error vector itself is illegal', () => {
    const { apic } = machine();
    apic.mmioWrite(LVT_ERROR, 0x02);
    apic.deliver(fixed(3));
    apic.mmioWrite(ESR, 0);
    expect(apic.mmioRead(ESR)).toBe(0x40);
  });
});

describe('timer (§11.5.4)', () => {
  it('counts down once at the divided rate', () => {
    const { apic, clock } = machine();
    apic.mmioWrite(LVT_TIMER, 0x40);
    apic.mmioWrite(DIVIDE, 3); // by 16
    apic.mmioWrite(INITIAL, 1000);
    clock.advance(160);
    expect(apic.mmioRead(CURRENT)).toBe(990);
    clock.advance(15_839);
    expect([apic.mmioRead(CURRENT), apic.pendingVector()]).toEqual([1, -1]);
    clock.advance(1);
    expect([apic.mmioRead(CURRENT), apic.acknowledge()]).toEqual([0, 0x40]);
    apic.mmioWrite(EOI, 0);
    clock.advance(1e6);
    expect(apic.pendingVector()).toBe(-1);
  });

  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])('divides by configuration %i as by %i', (configuration, divisor) => {
    const { apic, clock } = machine();
    apic.mmioWrite(DIVIDE, configuration);
    apic.mmioWrite(INITIAL, 100);
    clock.advance(10 * divisor);
    expect(apic.mmioRead(CURRENT)).toBe(90);
  });

  it('repeats in periodic mode without drift, skipping what a busy host missed', () => {
    const { apic, clock } = machine();
    apic.mmioWrite(LVT_TIMER, 0x2_0040);
    apic.mmioWrite(DIVIDE, 0xb);
    apic.mmioWrite(INITIAL, 1000);
    let ticks = 0;
    for (let i = 0; i < 10; i++) {
      clock.advance(1000);
      if (apic.acknowledge() === 0x40) ticks++;
      apic.mmioWrite(EOI, 0);
    }
    expect([ticks, apic.mmioRead(CURRENT)]).toEqual([10, 1000]);
    clock.jump(5300);
    expect([apic.acknowledge(), apic.mmioRead(CURRENT)]).toEqual([0x40, 700]);
    apic.mmioWrite(EOI, 0);
    expect(clock.nextDeadline).toBe(16_000);
  });

  it('a one-shot that has reached 0 stands there when the mode becomes periodic, even before its clock event was served', () => {
    const { apic, clock } = machine();
    apic.mmioWrite(LVT_TIMER, 0x40);
    apic.mmioWrite(DIVIDE, 0xb);
    apic.mmioWrite(INITIAL, 1000);
    // The host was busy; the guest comes before the timer.
    clock
      .createTimer(() => {
        apic.mmioWrite(LVT_TIMER, 0x2_0040);
      })
      .arm(nanoseconds(500));
    clock.jump(1500);
    expect([apic.mmioRead(INITIAL), apic.mmioRead(CURRENT), apic.acknowledge()]).toEqual([1000, 0, 0x40]);
  });

  it('goes on counting while masked, without an interrupt', () => {
    const { apic, clock } = machine();
    apic.mmioWrite(DIVIDE, 0xb);
    apic.mmioWrite(INITIAL, 100);
    clock.advance(60);
    expect(apic.mmioRead(CURRENT)).toBe(40);
    clock.advance(40);
    expect(apic.pendingVector()).toBe(-1);
  });

  it('stops at an initial count of 0 and keeps its count when the divider changes', () => {
    const { apic, clock } = machine();
    apic.mmioWrite(LVT_TIMER, 0x40);
    apic.mmioWrite(DIVIDE, 0xb);
    apic.mmioWrite(INITIAL, 100);
    clock.advance(50);
    apic.mmioWrite(DIVIDE, 0);
    clock.advance(99);
    expect([apic.mmioRead(CURRENT), apic.pendingVector()]).toEqual([1, -1]);
    apic.mmioWrite(INITIAL, 0);
    clock.advance(1000);
    expect([apic.mmioRead(CURRENT), apic.pendingVector()]).toEqual([0, -1]);
  });

  it('fires at a TSC deadline and then reads 0', () => {
    const { apic, clock } = machine();
    apic.mmioWrite(LVT_TIMER, 0x4_0040);
    apic.tscDeadline = 2001n;
    apic.mmioWrite(INITIAL, 5);
    expect([apic.tscDeadline, apic.mmioRead(INITIAL), apic.mmioRead(CURRENT)]).toEqual([2001n, 0, 0]);
    clock.advance(1000);
    expect(apic.pendingVector()).toBe(-1);
    clock.advance(1);
    expect([apic.acknowledge(), apic.tscDeadline]).toEqual([0x40, 0n]);
  });

  it('fires at once for a deadline that has passed, and not at all after 0', () => {
    const { apic, clock } = machine();
    clock.advance(100);
    apic.mmioWrite(LVT_TIMER, 0x4_0040);
    apic.tscDeadline = 1000n;
    apic.tscDeadline = 0n;
    clock.advance(1e6);
    expect(apic.pendingVector()).toBe(-1);
    apic.tscDeadline = 1n;
    expect(apic.pendingVector()).toBe(0x40);
  });

  it('follows a TSC that is written, and waits for deadlines years ahead', () => {
    const { apic, clock, cpu } = machine();
    apic.mmioWrite(LVT_TIMER, 0x4_0040);
    apic.tscDeadline = 1n << 63n;
    expect(clock.nextDeadline).toBe(1e15);
    clock.runTo(1e15 + 5);
    expect(apic.pendingVector()).toBe(-1);
    cpu.tscOffset = 1n << 63n;
    apic.tscChanged();
    expect(apic.pendingVector()).toBe(0x40);
  });

  it('ignores the deadline MSR in other modes, and disarms when the mode changes', () => {
    const { apic, clock } = machine();
    apic.tscDeadline = 5n;
    expect(apic.tscDeadline).toBe(0n);
    apic.mmioWrite(LVT_TIMER, 0x4_0040);
    apic.tscDeadline = 1000n;
    apic.mmioWrite(LVT_TIMER, 0x40);
    expect([apic.tscDeadline, clock.nextDeadline]).toEqual([0n, undefined]);
  });

  it('takes TSC-deadline mode as one-shot where it is not advertised', () => {
    const { apic } = machine(1, { tscDeadline: false });
    apic.mmioWrite(LVT_TIMER, 0x4_0040);
    expect(apic.mmioRead(LVT_TIMER)).toBe(0x40);
  });
});

describe('local interrupt pins (§11.5.1)', () => {
  it('pass the 8259 on as ExtINT while LINT0 is asserted and not masked', () => {
    const { apic, cpu } = machine();
    apic.mmioWrite(LINT0, 0x700);
    const before = cpu.notified;
    apic.setLint(0, true);
    expect([apic.extIntPending, apic.pendingVector(), cpu.notified]).toEqual([true, -1, before + 1]);
    apic.mmioWrite(LINT0, 0x1_0700);
    expect([apic.extIntPending, apic.takeExtInt()]).toEqual([false, false]);
    apic.mmioWrite(LINT0, 0x700);
    expect(cpu.notified).toBe(before + 2);
    expect(apic.takeExtInt()).toBe(true);
    apic.setLint(0, false);
    expect(apic.extIntPending).toBe(false);
  });

  it('deliver NMIs and edge-triggered interrupts once for each edge', () => {
    const { apic, cpu } = machine();
    apic.mmioWrite(LINT1, 0x400);
    apic.mmioWrite(LINT0, 0x50);
    for (const level of [true, true, false, true]) {
      apic.setLint(1, level);
      apic.setLint(0, level);
    }
    expect([cpu.log, apic.acknowledge()]).toEqual([['nmi', 'nmi'], 0x50]);
  });

  it('deliver a level until its EOI finds the pin released', () => {
    const { apic } = machine();
    apic.mmioWrite(LINT0, 0x8050);
    apic.setLint(0, true);
    expect(apic.mmioRead(LINT0)).toBe(0xc050);
    expect(apic.acknowledge()).toBe(0x50);
    apic.mmioWrite(EOI, 0);
    expect(apic.acknowledge()).toBe(0x50);
    apic.setLint(0, false);
    apic.mmioWrite(EOI, 0);
    expect([apic.mmioRead(LINT0), apic.pendingVector()]).toEqual([0x8050, -1]);
  });

  it('are INTR and NMI of a processor whose APIC is disabled', () => {
    const { apic, cpu } = machine();
    expect(apic.writeApicBase(0xfee0_0100n)).toBe(true);
    apic.setLint(0, true);
    apic.setLint(1, true);
    expect([apic.extIntPending, cpu.log]).toEqual([true, ['nmi']]);
    expect(apic.mmioRead(VERSION)).toBe(0xffff_ffff);
  });
});

describe('interrupt command register (§11.6.1)', () => {
  const send = (apic: LocalApicDevice, destination: number, low: number) => {
    apic.mmioWrite(ICR_HIGH, (destination << 24) >>> 0);
    apic.mmioWrite(ICR, low);
  };

  it('reaches physical ids, shorthands and broadcasts', () => {
    const { apics } = machine(4);
    const sent = (destination: number, low: number) => {
      send(apics[1], destination, low | 0x40);
      return receivers(apics, 0x40);
    };
    expect(sent(2, 0)).toEqual([2]);
    expect(sent(9, 0)).toEqual([]);
    expect(sent(0xff, 0)).toEqual([0, 1, 2, 3]);
    expect(sent(0, 1 << 18)).toEqual([1]);
    expect(sent(0, 2 << 18)).toEqual([0, 1, 2, 3]);
    expect(sent(0, 3 << 18)).toEqual([0, 2, 3]);
  });

  it('reaches logical ids in the flat and the cluster model', () => {
    const { apics } = machine(4);
    const sent = (destination: number) => {
      send(apics[0], destination, 0x840);
      return receivers(apics, 0x40);
    };
    apics.forEach((apic, i) => apic.mmioWrite(LDR, (0x0100_0000 << i) >>> 0));
    expect([sent(0b1010), sent(0xff), sent(0x10)]).toEqual([[1, 3], [0, 1, 2, 3], []]);
    apics.forEach((apic, i) => {
      apic.mmioWrite(DFR, 0);
      apic.mmioWrite(LDR, (((i >> 1) << 28) | (0x0100_0000 << (i & 1))) >>> 0);
    });
    expect([sent(0x13), sent(0x02), sent(0xf1), sent(0x21)]).toEqual([[2, 3], [1], [0, 2], []]);
  });

  it('sends NMI, INIT and SIPI, also to an APIC that software has disabled; not INIT de-assert', () => {
    const { apics, cpus } = machine(2);
    apics[1].mmioWrite(SVR, 0xff);
    apics[1].mmioWrite(TPR, 0x20);
    send(apics[0], 1, 0x4400);
    send(apics[0], 1, 0xc500);
    send(apics[0], 1, 0x8500);
    send(apics[0], 1, 0x0608);
    expect(cpus[1].log).toEqual(['nmi', 'init', 'sipi 8']);
    expect(apics[1].mmioRead(TPR)).toBe(0);
  });

  it('picks the lowest priority, in turns among equals', () => {
    const { apics } = machine(3);
    const lowest = () => {
      send(apics[0], 0xff, 0x140);
      return receivers(apics, 0x40)[0];
    };
    apics[0].mmioWrite(TPR, 0x30);
    expect([lowest(), lowest(), lowest()]).toEqual([1, 2, 1]);
    apics[1].mmioWrite(TPR, 0x20);
    apics[2].mmioWrite(SVR, 0xff);
    expect([lowest(), lowest()]).toEqual([1, 1]);
  });

  it('sends nothing for reserved delivery modes', () => {
    const { apics, cpus } = machine(2);
    for (const mode of [3, 7]) send(apics[0], 1, (mode << 8) | 0x40);
    expect([receivers(apics, 0x40), cpus[1].log, apics[1].extIntPending]).toEqual([[], [], false]);
  });
});

describe('x2APIC mode (§11.12)', () => {
  function x2apic(count = 1) {
    const all = machine(count);
    for (const apic of all.apics) expect(apic.writeApicBase(apic.apicBase | EXTD)).toBe(true);
    return all;
  }

  it('is entered from xAPIC mode and left only by disabling', () => {
    const { apic } = machine();
    const write = (low: bigint) => apic.writeApicBase(0xfee0_0000n | low);
    expect([write(0x400n), write(0x000n), write(0xc00n), write(0x800n), write(0xc00n)]).toEqual([
      false,
      true,
      false,
      true,
      true,
    ]);
    expect([write(0x800n), write(0x400n), write(0x000n)]).toEqual([false, false, true]);
    expect([write(0x801n), apic.writeApicBase(1n << 40n), write(0x900n)]).toEqual([false, false, true]);
  });

  it('cannot be entered where it is not advertised', () => {
    const { apic } = machine(1, { x2apic: false });
    expect(apic.writeApicBase(apic.apicBase | EXTD)).toBe(false);
  });

  it('has MSRs instead of MMIO, which fault where there is no register', () => {
    const { apic: plain } = machine();
    expect([plain.readMsr(0x803), plain.writeMsr(0x808, 0n)]).toEqual([undefined, false]);
    const { apic } = x2apic();
    expect([apic.mmioRead(VERSION), apic.readMsr(0x803)]).toEqual([0xffff_ffff, 0x0105_0014n]);
    for (const msr of [0x800, 0x801, 0x809, 0x80b, 0x80c, 0x80e, 0x82f, 0x831, 0x83f, 0x840, 0x8ff])
      expect(apic.readMsr(msr), msr.toString(16)).toBeUndefined();
    for (const msr of [0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810, 0x820, 0x831, 0x839, 0x8ff])
      expect(apic.writeMsr(msr, 0n), msr.toString(16)).toBe(false);
  });

  it('faults on reserved bits', () => {
    const { apic } = x2apic();
    const faults: [number, bigint][] = [
      [0x808, 0x100n],
      [0x80b, 1n],
      [0x80f, 0x2000n],
      [0x828, 1n],
      [0x830, 0x1000n],
      [0x832, 0x8_0000n],
      [0x837, 0x100n],
      [0x838, 1n << 32n],
      [0x83e, 4n],
      [0x83f, 0x100n],
    ];
    for (const [msr, value] of faults) expect(apic.writeMsr(msr, value), msr.toString(16)).toBe(false);
    expect(apic.writeMsr(0x838, 0xffff_ffffn)).toBe(true);
  });

  it('derives logical ids, and sends by one 64-bit write', () => {
    const { apics } = x2apic(18);
    expect([apics[5].readMsr(0x80d), apics[17].readMsr(0x80d)]).toEqual([0x20n, 0x1_0002n]);
    const pending = () => apics.flatMap((apic, i) => (apic.acknowledge() === 0x40 ? [i] : []));
    const done = () => apics.forEach((apic) => apic.writeMsr(0x80b, 0n));
    expect(apics[0].writeMsr(0x830, (0x1_0003n << 32n) | 0x840n)).toBe(true);
    expect(apics[0].readMsr(0x830)).toBe((0x1_0003n << 32n) | 0x840n);
    expect(pending()).toEqual([16, 17]);
    done();
    apics[0].writeMsr(0x830, (17n << 32n) | 0x40n);
    expect(pending()).toEqual([17]);
    done();
    apics[0].writeMsr(0x830, (0xffff_ffffn << 32n) | 0x40n);
    expect(pending()).toHaveLength(18);
  });

  it('sends self IPIs by their register', () => {
    const { apic } = x2apic();
    expect(apic.writeMsr(0x83f, 0x77n)).toBe(true);
    expect(apic.acknowledge()).toBe(0x77);
  });

  it('stays in x2APIC mode through INIT', () => {
    const { apic } = x2apic();
    apic.writeMsr(0x808, 0x20n);
    apic.reset(true);
    expect([apic.readMsr(0x808), apic.readMsr(0x80f)]).toEqual([0n, 0xffn]);
    apic.reset(false);
    expect(apic.apicBase).toBe(0xfee0_0900n);
  });
});

describe('a guest that writes anything anywhere', () => {
  it('never makes an APIC throw, loop, or answer beyond 32 bits', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const next = noise(seed * 0x9e37_79b9);
      const { apics, clock } = machine(2);
      for (let step = 0; step < 100; step++) {
        const [apic, value, kind] = [apics[next() & 1], next(), next() % 8];
        if (kind < 3) apic.mmioWrite((next() % 0x40) * 0x10, value);
        else if (kind === 3) apic.writeMsr(0x800 + (next() % 0x40), BigInt(value & (1 << (next() % 32))));
        else if (kind === 4) {
          const word = apic.mmioRead(next() % 0x400);
          expect(word >= 0 && word <= 0xffff_ffff && Number.isInteger(word)).toBe(true);
        } else if (kind === 5) apic.acknowledge();
        else if (kind === 6) apic.setLint((next() & 1) as 0 | 1, (next() & 1) === 1);
        else if (next() % 10 === 0) apic.writeApicBase(BigInt(0xfee0_0000 + (next() & 0xd00)));
        else apic.tscDeadline = BigInt(value);
        // A timer may interrupt every nanosecond.
        clock.advance(next() % 500);
      }
      for (const apic of apics) apic.stateSchema.check(structuredClone(apic.save()), apic.id);
    }
  });
});

snapshotSuite('the local APIC', {
  create: (clock) => {
    const bus = new ApicBus();
    return new LocalApicDevice({ apicId: 0, bsp: true, cpu: new FakeCpu(clock), bus, clock, physicalAddressBits: 40 });
  },
  change: (apic, clock) => {
    apic.mmioWrite(SVR, 0x1fe);
    apic.mmioWrite(LDR, 0x0200_0000);
    apic.mmioWrite(DFR, 0);
    apic.mmioWrite(ICR_HIGH, 0x0300_0000);
    apic.mmioWrite(ICR, 0x4_0033);
    apic.mmioWrite(LVT_TIMER, 0x2_0040);
    apic.mmioWrite(DIVIDE, 1);
    apic.mmioWrite(INITIAL, 1000);
    clock.advance(1234);
    apic.mmioWrite(LINT0, 0x700);
    apic.setLint(0, true);
    apic.deliver({ mode: 'extint', vector: 0, level: true, trigger: 'edge' });
    apic.deliver(fixed(0x91, 'level'));
    apic.acknowledge();
    apic.deliver(fixed(0x52));
    apic.deliver(fixed(2));
    apic.mmioWrite(ESR, 0);
    apic.deliver(fixed(2));
    apic.mmioWrite(TPR, 0x10);
    apic.writeApicBase(0xfee0_1900n);
  },
  observe: (apic, clock) => {
    clock.advance(2800);
    return [apic.mmioRead(CURRENT), apic.mmioRead(IRR + 0x20), apic.pendingVector(), apic.takeExtInt()];
  },
});
