import { beforeEach, describe, expect, it } from 'vitest';
import { RecordingLine } from '../../../host/fake/lines.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { DualPic } from './dual-pic.js';

const EOI = 0x20;
const READ_IRR = 0x0a;
const READ_ISR = 0x0b;

/** As a PC's BIOS does it: vectors 8 and 0x70, nothing masked. */
function initialize(pic: DualPic, icw4 = 1): void {
  for (const [ports, base, icw3] of [
    [pic.firstPorts, 0x08, 4],
    [pic.secondPorts, 0x70, 2],
  ] as const) {
    ports.write(0, 1, 0x11);
    for (const value of [base, icw3, icw4, 0]) ports.write(1, 1, value);
  }
}

describe('the 8259A pair', () => {
  let intr: RecordingLine;
  let pic: DualPic;
  beforeEach(() => {
    intr = new RecordingLine();
    pic = new DualPic(intr);
    initialize(pic);
  });
  const set = (pin: number, level: boolean): void => pic.input(pin).set(level);
  const first = (command: number): void => pic.firstPorts.write(0, 1, command);
  const second = (command: number): void => pic.secondPorts.write(0, 1, command);
  const mask = (value: number): void => pic.firstPorts.write(1, 1, value);
  const readFirst = (command: number): number => {
    first(command);
    return pic.firstPorts.read(0, 1);
  };

  it('stays silent before initialization', () => {
    const idle = new DualPic(intr);
    idle.input(4).set(true);
    expect(intr.level).toBe(false);
  });

  it('delivers an edge once, and shows it in IRR and then ISR', () => {
    set(4, true);
    expect(intr.level).toBe(true);
    expect(readFirst(READ_IRR)).toBe(0x10);
    expect(pic.acknowledge()).toBe(0x0c);
    expect(readFirst(READ_IRR)).toBe(0);
    expect(readFirst(READ_ISR)).toBe(0x10);
    first(EOI);
    expect(readFirst(READ_ISR)).toBe(0);
    expect(intr.level).toBe(false);
    set(4, false);
    set(4, true);
    expect(intr.level).toBe(true);
  });

  it('delivers from the second chip through input 2, one edge for each request', () => {
    set(9, true);
    set(8, true);
    expect(pic.acknowledge()).toBe(0x70);
    expect(readFirst(READ_ISR)).toBe(4);
    second(EOI);
    first(EOI);
    expect(intr.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x71);
    second(EOI);
    first(EOI);
    expect(intr.level).toBe(false);
  });

  it('nests by priority: 0 highest, 3 … 7 after 8 … 15', () => {
    set(3, true);
    expect(pic.acknowledge()).toBe(0x0b);
    set(5, true);
    expect(intr.level).toBe(false);
    set(12, true);
    expect(pic.acknowledge()).toBe(0x74);
    set(0, true);
    expect(pic.acknowledge()).toBe(0x08);
    first(EOI);
    second(EOI);
    first(EOI);
    expect(intr.level).toBe(false);
    first(EOI);
    expect(pic.acknowledge()).toBe(0x0d);
  });

  it('masks, keeping the request', () => {
    mask(0x10);
    set(4, true);
    expect(intr.level).toBe(false);
    expect(pic.firstPorts.read(1, 1)).toBe(0x10);
    mask(0);
    expect(intr.level).toBe(true);
  });

  it('answers as input 7, not in service, when the request went away', () => {
    set(4, true);
    set(4, false);
    expect(intr.level).toBe(false);
    expect(pic.acknowledge()).toBe(0x0f);
    expect(readFirst(READ_ISR)).toBe(0);
    // The second chip's spurious vector: the first one has input 2 in service.
    pic.secondPorts.write(1, 1, 0xff);
    set(10, true);
    pic.secondPorts.write(1, 1, 0);
    const line = pic.input(10);
    const acknowledge = (): number => {
      line.set(false);
      return pic.acknowledge();
    };
    expect(acknowledge()).toBe(0x0f);
  });

  it('follows a level input while it is asserted', () => {
    pic.elcrPorts.write(0, 1, 0xff);
    pic.elcrPorts.write(1, 1, 0xff);
    expect([pic.elcrPorts.read(0, 1), pic.elcrPorts.read(1, 1)]).toEqual([0xf8, 0xde]);
    set(11, true);
    expect(pic.acknowledge()).toBe(0x73);
    second(EOI);
    first(EOI);
    expect(pic.acknowledge()).toBe(0x73);
    set(11, false);
    second(EOI);
    first(EOI);
    expect(intr.level).toBe(false);
  });

  it('ends the named level on a specific EOI', () => {
    set(5, true);
    pic.acknowledge();
    set(3, true);
    pic.acknowledge();
    first(0x60 | 5);
    expect(readFirst(READ_ISR)).toBe(0x08);
  });

  it('rotates priority on EOI and by command', () => {
    set(4, true);
    pic.acknowledge();
    first(0xa0);
    set(4, false);
    set(4, true);
    set(5, true);
    expect(pic.acknowledge()).toBe(0x0d);
    first(0xe0 | 5);
    expect(pic.acknowledge()).toBe(0x0c);
    first(EOI);
    first(0xc0 | 2);
    set(3, true);
    set(1, true);
    expect(pic.acknowledge()).toBe(0x0b);
  });

  it('ends interrupts by itself in automatic EOI mode, rotating if told', () => {
    initialize(pic, 3);
    first(0x80);
    set(1, true);
    expect(pic.acknowledge()).toBe(0x09);
    expect(readFirst(READ_ISR)).toBe(0);
    set(1, false);
    set(1, true);
    set(3, true);
    expect(pic.acknowledge()).toBe(0x0b);
    first(0x00);
    expect(pic.acknowledge()).toBe(0x09);
  });

  it('lets lower levels through in special mask mode', () => {
    set(3, true);
    pic.acknowledge();
    mask(0x08);
    set(6, true);
    expect(intr.level).toBe(false);
    first(0x68);
    expect(intr.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x0e);
    // A non-specific EOI does not see the masked level.
    first(EOI);
    expect(readFirst(READ_ISR)).toBe(0x08);
    first(0x48);
    set(5, true);
    expect(intr.level).toBe(false);
  });

  it('lets the second chip interrupt itself in special fully nested mode', () => {
    initialize(pic, 0x11);
    set(12, true);
    expect(pic.acknowledge()).toBe(0x74);
    set(9, true);
    expect(intr.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x71);
  });

  it('answers a poll with the level and takes it into service', () => {
    expect(readFirst(0x0c)).toBe(0);
    set(6, true);
    expect(readFirst(0x0c)).toBe(0x86);
    expect(readFirst(READ_ISR)).toBe(0x40);
    expect(intr.level).toBe(false);
  });

  it('forgets edges and masks on ICW1, and takes short sequences', () => {
    mask(0xfe);
    set(4, true);
    first(0x12);
    pic.firstPorts.write(1, 1, 0x45);
    // No ICW3 (single) and no ICW4: this is a mask already.
    pic.firstPorts.write(1, 1, 0x01);
    expect(pic.firstPorts.read(1, 1)).toBe(0x01);
    expect(intr.level).toBe(false);
    set(5, true);
    expect(pic.acknowledge()).toBe(0x45);
  });
});

snapshotSuite('the 8259A pair', {
  create: () => new DualPic(new RecordingLine()),
  change(pic) {
    initialize(pic, 0x13);
    pic.elcrPorts.write(0, 1, 0xf8);
    pic.elcrPorts.write(1, 1, 0xde);
    for (const pin of [1, 4, 9, 12]) pic.input(pin).set(true);
    pic.acknowledge();
    pic.firstPorts.write(0, 1, 0xc3);
    pic.firstPorts.write(0, 1, 0x80);
    pic.secondPorts.write(0, 1, 0x6b);
    pic.firstPorts.write(0, 1, 0x0c);
    pic.secondPorts.write(0, 1, 0x11);
  },
  observe: (pic) => [pic.firstPorts.read(0, 1), pic.acknowledge(), pic.secondPorts.read(0, 1), pic.acknowledge()],
});
