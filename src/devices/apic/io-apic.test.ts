import { describe, expect, it } from 'vitest';
import { gpa } from '../../base/units.js';
import type { ApicMessage } from '../../iface/local-apic.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import type { Destination } from '../../iface/local-apic.js';
import { ApicBus, type ApicBusMember } from './apic-bus.js';
import { IoApic } from './io-apic.js';
import { ApicMsiSink } from './msi.js';

/** A bus member that accepts everything and notes it down. */
class Recorder implements ApicBusMember {
  accepting = true;
  readonly priority = 0;
  readonly log: string[] = [];
  matches({ id, logical }: Destination): boolean {
    this.log.push(`${logical ? 'logical' : 'physical'} ${id}`);
    return true;
  }
  deliver({ mode, vector, trigger }: ApicMessage): void {
    this.log.push(`${mode} ${vector.toString(16)} ${trigger}`);
  }
  /** Deliveries since the last call. */
  take(): string[] {
    return this.log.splice(0).filter((entry) => entry.split(' ').length === 3);
  }
}

function setUp() {
  const bus = new ApicBus();
  const cpu = new Recorder();
  bus.attach(cpu);
  const chip = new IoApic(bus);
  const write = (register: number, value: number) => {
    chip.write(0, 4, register);
    chip.write(0x10, 4, value);
  };
  const read = (register: number) => {
    chip.write(0, 1, register);
    return chip.read(0x10, 4);
  };
  const entry = (pin: number, low: number, high = 0) => {
    write(0x11 + 2 * pin, high);
    write(0x10 + 2 * pin, low);
  };
  return { bus, cpu, chip, read, write, entry };
}

const [LEVEL, MASKED, REMOTE_IRR] = [1 << 15, 1 << 16, 1 << 14];

describe('registers of the I/O APIC (82093AA §3)', () => {
  it('have their reset values', () => {
    const { read } = setUp();
    expect([read(0), read(1), read(2)]).toEqual([0, 0x0017_0020, 0]);
    for (let pin = 0; pin < 24; pin++) expect([read(0x10 + 2 * pin), read(0x11 + 2 * pin)]).toEqual([MASKED, 0]);
    expect(read(0x40)).toBe(0xffff_ffff);
  });

  it('keep what can be written and nothing else', () => {
    const { read, write } = setUp();
    write(0, 0xffff_ffff);
    write(1, 0);
    write(0x3e, 0xffff_ffff);
    write(0x3f, 0xffff_ffff);
    write(0x40, 1);
    expect([read(0), read(1), read(2)]).toEqual([0x0f00_0000, 0x0017_0020, 0x0f00_0000]);
    expect([read(0x3e), read(0x3f)]).toEqual([0x1_afff, 0xff00_0000]);
  });
});

describe('pins of the I/O APIC', () => {
  it('send edges once, with mode and destination of their entry', () => {
    const { chip, cpu, entry } = setUp();
    entry(4, 0x0931, 0x0300_0000);
    chip.pin(4).set(true);
    chip.pin(4).set(true);
    expect(cpu.log).toEqual(['logical 3', 'lowest 31 edge']);
    chip.pin(4).set(false);
    chip.pin(4).set(true);
    expect(cpu.take()).toHaveLength(2);
  });

  it('lose edges while masked, and deliver levels when unmasked', () => {
    const { chip, cpu, entry } = setUp();
    chip.pin(1).set(true);
    entry(1, 0x31);
    expect(cpu.take()).toEqual([]);
    chip.pin(2).set(true);
    entry(2, LEVEL | MASKED | 0x32);
    expect(cpu.take()).toEqual([]);
    entry(2, LEVEL | 0x32);
    expect(cpu.take()).toEqual(['fixed 32 level']);
  });

  it('send a level again after its EOI while it stands, from the broadcast or the EOI register', () => {
    const { bus, chip, cpu, entry, read } = setUp();
    entry(9, LEVEL | 0x39);
    chip.pin(9).set(true);
    expect([cpu.take(), read(0x22) & REMOTE_IRR]).toEqual([['fixed 39 level'], REMOTE_IRR]);
    chip.pin(9).set(false);
    chip.pin(9).set(true);
    expect(cpu.take()).toEqual([]);
    bus.broadcastEoi(0x38);
    expect(cpu.take()).toEqual([]);
    bus.broadcastEoi(0x39);
    expect(cpu.take()).toEqual(['fixed 39 level']);
    chip.pin(9).set(false);
    chip.write(0x40, 4, 0x39);
    expect([cpu.take(), read(0x22)]).toEqual([[], LEVEL | 0x39]);
  });

  it('unlock a level by making the entry edge-triggered', () => {
    const { chip, cpu, entry, read } = setUp();
    entry(9, LEVEL | 0x39);
    chip.pin(9).set(true);
    entry(9, MASKED | 0x39);
    expect(read(0x22) & REMOTE_IRR).toBe(0);
    entry(9, LEVEL | 0x39);
    expect(cpu.take()).toHaveLength(2);
  });

  it('wait for nobody when nobody accepted', () => {
    const { bus, chip, cpu, entry, read } = setUp();
    cpu.accepting = false;
    entry(9, LEVEL | 0x39);
    chip.pin(9).set(true);
    expect([read(0x22) & REMOTE_IRR, bus.unaccepted]).toEqual([0, 1]);
  });

  it('pass ExtINT and NMI on, and no reserved modes', () => {
    const { chip, cpu, entry } = setUp();
    [0x700, 0x400, 0x300, 0x600].forEach((mode, pin) => {
      entry(pin, mode);
      chip.pin(pin).set(true);
    });
    expect(cpu.take()).toEqual(['extint 0 edge', 'nmi 0 edge']);
  });
});

describe('message-signalled interrupts (SDM vol. 3 §11.11)', () => {
  it('become APIC messages', () => {
    const { bus, cpu } = setUp();
    const sink = new ApicMsiSink(bus);
    sink.deliver(gpa(0xfee0_5000), 0x0041);
    sink.deliver(gpa(0xfee0_3004), 0xc042);
    sink.deliver(gpa(0xfee0_300c), 0x0043);
    sink.deliver(gpa(0xfee0_3004), 0x0144);
    expect(cpu.log).toEqual([
      'physical 5',
      'fixed 41 edge',
      'logical 3',
      'fixed 42 level',
      'logical 3',
      'lowest 43 edge',
      'logical 3',
      'lowest 44 edge',
    ]);
  });

  it('are dropped when address or mode is none', () => {
    const { bus, cpu } = setUp();
    const sink = new ApicMsiSink(bus);
    for (const address of [0, 0xfef0_0000, 0x1_fee0_0000]) sink.deliver(gpa(address), 0x41);
    sink.deliver(gpa(0xfee0_0000), 0x341);
    expect([cpu.log, sink.dropped]).toEqual([[], 4]);
  });
});

snapshotSuite('the I/O APIC', {
  create: () => {
    const bus = new ApicBus();
    bus.attach(new Recorder());
    return new IoApic(bus);
  },
  change: (chip) => {
    const write = (register: number, value: number) => {
      chip.write(0, 4, register);
      chip.write(0x10, 4, value);
    };
    write(0, 0x0200_0000);
    write(0x21, 0x0100_0000);
    write(0x20, LEVEL | 0x55);
    chip.pin(8).set(true);
  },
  observe: (chip) => {
    const before = chip.read(0x10, 4);
    chip.endOfInterrupt(0x55);
    return [before, chip.read(0x10, 4)];
  },
  // It is the machine's from its beginning on.
  untouched: ['version'],
});

describe('the I/O APIC of a machine that began with another one', () => {
  const withVersion = (version: number): IoApic => {
    const chip = new IoApic(new ApicBus());
    chip.restore({ ...chip.save(), version, low: chip.save().low.map(() => LEVEL | 0x4055) });
    return chip;
  };
  const entry = (chip: IoApic, register: number): number => {
    chip.write(0, 4, register);
    return chip.read(0x10, 4);
  };

  it('stays that one: without an EOI register', () => {
    const [plain, usual] = [withVersion(0x11), withVersion(0x20)];
    for (const chip of [plain, usual]) chip.write(0x40, 4, 0x55);
    expect([entry(plain, 1), entry(usual, 1)]).toEqual([0x17_0011, 0x17_0020]);
    expect([entry(plain, 0x10), entry(usual, 0x10)]).toEqual([LEVEL | 0x4055, LEVEL | 0x55]);
  });

  it('goes on from a state of version 1, which was always one with an EOI register', () => {
    const chip = withVersion(0x11);
    const { version: _, ...old } = chip.save();
    chip.restore(chip.stateSchema.check(chip.upgrade(old), 'ioapic'));
    expect(entry(chip, 1)).toBe(0x17_0020);
  });
});

snapshotSuite('the APIC bus', {
  create: () => {
    const bus = new ApicBus();
    bus.attach(new Recorder());
    bus.attach(new Recorder());
    return bus;
  },
  change: (bus) => bus.sendToAll({ mode: 'lowest', vector: 0x40, level: true, trigger: 'edge' }),
});
