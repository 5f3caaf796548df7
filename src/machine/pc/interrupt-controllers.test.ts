/** Interrupt controllers that the accelerator has: their states are those of our own, which go on from them, and they from ours. */
import { describe, expect, it } from 'vitest';
import { Bus } from '../../bus/io-space.js';
import { ApicBus } from '../../devices/apic/apic-bus.js';
import { FakeClock } from '../../host/fake/clock.js';
import { RecordingLine } from '../../host/fake/lines.js';
import type { AcceleratorChips } from '../../iface/chips.js';
import { FakeControllers } from '../../testing/fake-controllers.js';
import { makeControllers, type PcControllers } from './interrupt-controllers.js';

const PIT_HZ = 1_193_182;

interface Side extends PcControllers {
  readonly bus: Bus;
  readonly timer: ReturnType<PcControllers['pit']>['part'];
  readonly irq: RecordingLine;
}

function side(clock: FakeClock, controllers?: FakeControllers): Side {
  const bus = new Bus();
  const chips = { controllers, setRedirections: () => undefined } as unknown as AcceleratorChips;
  const intr = new RecordingLine();
  const made = makeControllers({ chips, bus, apicBus: new ApicBus(), intr, tickEnded: () => undefined });
  const irq = new RecordingLine();
  return { ...made, bus, irq, timer: made.pit(irq, clock).part };
}

const move = (from: Side, to: Side): void => {
  for (const part of ['timer', 'pic', 'ioApic'] as const) {
    const [old, made] = [from[part], to[part]];
    made.restore(made.stateSchema.check(structuredClone(old.save()), old.id) as never);
  }
};

describe('interrupt controllers of the accelerator', () => {
  it('have no places on the bus, and get what devices ask for', () => {
    const fake = new FakeControllers();
    const { bus, pic, ioApic } = side(new FakeClock(0), fake);
    expect(bus.portRead(0x21, 1)).toBe(0xff);
    expect(bus.mmioRead(0xfec0_0000, 4)).toBe(0xffff_ffff);
    pic.input(4).set(true);
    ioApic.pin(16).set(true);
    expect(fake.log).toEqual(['pic 4 true', 'ioapic 16 true']);
  });

  it('go on as ours, and have what those had when it comes back', () => {
    const clock = new FakeClock(5_000_000);
    const fake = new FakeControllers();
    const theirs = side(clock, fake);
    const [first] = fake.pics;
    fake.pics = [{ ...first, imr: 0xfe, base: 0x30, bottom: 2, readIsr: true }, fake.pics[1]];
    fake.io = { ...fake.io, apicId: 2, low: fake.io.low.map((low, pin) => (pin === 3 ? 0x44 : low)) };
    const [one, ...others] = fake.timer.counters;
    // A tick each 10 ms, 4 ms after the last one.
    fake.timer = { counters: [{ ...one, mode: 2, count: 11_932, age: 4e6 }, ...others], speaker: true };
    const before = { pics: fake.pics, io: fake.io, timer: fake.timer };
    const ours = side(clock);
    move(theirs, ours);
    const { bus, irq } = ours;
    expect(bus.portRead(0x21, 1)).toBe(0xfe);
    expect(bus.portRead(0x61, 1) & 0x0f).toBe(2);
    bus.mmioWrite(0xfec0_0000, 4, 1);
    // As the guest was told: one without an EOI register.
    expect(bus.mmioRead(0xfec0_0010, 4)).toBe(0x17_0011);
    const { edges } = irq;
    clock.advance(5.9e6);
    expect(irq.edges).toBe(edges);
    clock.advance(0.2e6);
    expect(irq.edges).toBe(edges + 1);
    clock.advance(10e6);
    expect(irq.edges).toBe(edges + 2);
    move(ours, theirs);
    expect([fake.pics, fake.io]).toMatchObject([before.pics, { ...before.io, select: 1 }]);
    const { age, ...rest } = fake.timer.counters[0];
    expect(rest).toEqual({ ...before.timer.counters[0], age: undefined });
    expect((age % ((11_932 / PIT_HZ) * 1e9)) / 1e6).toBeCloseTo(0.1, 1);
    expect(fake.timer.speaker).toBe(true);
  });

  it('are not given an I/O APIC with an EOI register', () => {
    const clock = new FakeClock(0);
    expect(() => {
      move(side(clock), side(clock, new FakeControllers()));
    }).toThrow(/goes on with --kernel-irqchip split or off/);
  });
});
