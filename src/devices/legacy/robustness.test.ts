import { describe, expect, it } from 'vitest';
import { Bus } from '../../bus/io-space.js';
import { FakeClock } from '../../host/fake/clock.js';
import { MemorySink, RecordingControl, RecordingLine } from '../../host/fake/lines.js';
import { FakeMemory } from '../../host/fake/memory.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import { Dma8237 } from './dma8237/dma-8237.js';
import { FwCfg } from './fw-cfg/fw-cfg.js';
import { Hpet, HPET_BASE, HPET_SIZE } from './hpet/hpet.js';
import { I8042 } from './i8042/i8042.js';
import { DualPic } from './pic/dual-pic.js';
import { Pit } from './pit/pit.js';
import { AcpiPm, PM_BLOCK_SIZE } from './pm/acpi-pm.js';
import { FastA20, ResetControl } from './reset-ports.js';
import { Rtc } from './rtc/rtc.js';
import { Uart16550 } from './uart/uart-16550.js';
import { Vga, VGA_MEMORY, VGA_MEMORY_SIZE, VGA_PORT_COUNT, VGA_PORTS } from './vga/vga.js';

interface Board {
  readonly bus: Bus;
  readonly clock: FakeClock;
  readonly devices: readonly Snapshotable[];
  /** What came in from outside: keys, bytes on the wire. */
  readonly disturb: (random: () => number) => void;
}

/** All legacy chips at their places, wired as on a PC as far as they speak to each other. */
function createBoard(): Board {
  const bus = new Bus();
  const clock = new FakeClock();
  const control = new RecordingControl();
  const line = (): RecordingLine => new RecordingLine();
  const pic = new DualPic(line());
  const hpet = new Hpet({ isa0: pic.input(0), isa8: pic.input(8), ioApic: line }, clock);
  const pit = new Pit(hpet.pit, clock);
  const rtc = new Rtc(hpet.rtc, clock);
  const keyboard = new I8042({ irq1: pic.input(1), irq12: pic.input(12), a20: line() }, control, clock, {
    mouse: true,
  });
  const uart = new Uart16550('serial0', pic.input(4), new MemorySink(), clock);
  const pm = new AcpiPm(pic.input(9), control, clock);
  const fwCfg = new FwCfg(new FakeMemory());
  fwCfg.addFile('etc/test', new Uint8Array(64), { writable: true });
  const vga = new Vga(clock);
  const dma = new Dma8237(new FakeMemory());
  const a20 = new FastA20(line(), control);
  const reset = new ResetControl(control);
  const { ports, memory } = bus;
  ports.claim('dma', 16, dma.firstPorts, 0x00);
  ports.claim('dma2', 32, dma.secondPorts, 0xc0);
  ports.claim('pages', 16, dma.pagePorts, 0x80);
  ports.claim('pic', 2, pic.firstPorts, 0x20);
  ports.claim('pic2', 2, pic.secondPorts, 0xa0);
  ports.claim('elcr', 2, pic.elcrPorts, 0x4d0);
  ports.claim('pit', 4, pit.ports, 0x40);
  ports.claim('i8042', 5, keyboard, 0x60);
  ports.claim('port61', 1, pit.systemControl, 0x61);
  ports.claim('rtc', 4, rtc.ports, 0x70);
  ports.claim('port92', 1, a20, 0x92);
  ports.claim('apm', 2, pm.apmPorts, 0xb2);
  ports.claim('serial0', 8, uart, 0x3f8);
  ports.claim('vga', VGA_PORT_COUNT, vga.ports, VGA_PORTS);
  ports.claim('fw-cfg', 2, fwCfg.ports, 0x510);
  ports.claim('fw-cfg-dma', 8, fwCfg.dmaPorts, 0x514);
  ports.claim('pm', PM_BLOCK_SIZE, pm, 0x600);
  ports.claim('reset', 1, reset, 0xcf9);
  memory.claim('hpet', HPET_SIZE, hpet, HPET_BASE);
  memory.claim('vga', VGA_MEMORY_SIZE, vga.window, VGA_MEMORY);
  return {
    bus,
    clock,
    devices: [hpet, pit, rtc, keyboard, uart, pm, fwCfg, vga, dma, a20, reset, pic],
    disturb(random) {
      keyboard.keyboard.key(random() & 1 ? 'KeyA' : 'Pause', (random() & 1) !== 0);
      keyboard.mouse?.move((random() % 600) - 300, (random() % 600) - 300, (random() % 9) - 4, random() & 7);
      uart.receive(Uint8Array.of(random() & 0xff, random() & 0xff));
      if ((random() & 7) === 0) uart.receiveBreak();
      pm.pressPowerButton();
    },
  };
}

/** Unsigned 32-bit xorshift. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
}

/** Addresses that somebody answers, ports first. */
function targets(bus: Bus): { memory: boolean; address: number }[] {
  const all: { memory: boolean; address: number }[] = [];
  for (const { start, size } of bus.ports.windows())
    for (let i = 0; i < size; i++) all.push({ memory: false, address: start + i });
  for (let offset = 0; offset < 0x1a0; offset++) all.push({ memory: true, address: HPET_BASE + offset });
  for (let i = 0; i < 64; i++) all.push({ memory: true, address: VGA_MEMORY + i * 0x801 });
  return all;
}

/** A guest that does anything: returns what it read. */
function misbehave(board: Board, random: () => number, steps: number): number[] {
  const { bus, clock } = board;
  const places = targets(bus);
  const seen: number[] = [];
  for (let i = 0; i < steps; i++) {
    const { memory, address } = places[random() % places.length];
    const size = 1 << (random() % 3);
    const space = memory ? bus.memory : bus.ports;
    if (random() & 1) {
      const value = space.read(address, size);
      expect(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size), `read at ${address.toString(16)}`).toBe(
        true,
      );
      seen.push(value);
      space.peek(address, size);
    } else space.write(address, size, random() % 2 ** (8 * size));
    const time = random() % 100;
    if (time < 20) clock.advance(random() % 10_000);
    else if (time === 20) clock.advance(random() % 2_000_000);
    else if (time === 21) clock.jump(random() % 50_000_000);
    else if (time === 22) board.disturb(random);
  }
  return seen;
}

describe('the legacy chips under a guest that does anything', () => {
  it.each([1, 2, 3])('never throw, and always have a state that can be saved (seed %i)', (seed) => {
    const board = createBoard();
    const random = generator(seed * 7919);
    for (let round = 0; round < 20; round++) {
      misbehave(board, random, 400);
      for (const device of board.devices) device.stateSchema.check(device.save(), device.id);
    }
  });

  it.each([4, 5, 6])('go on alike after a restore (seed %i)', (seed) => {
    const board = createBoard();
    misbehave(board, generator(seed * 7919), 5000);
    const copy = createBoard();
    copy.clock.runTo(board.clock.now());
    // The order of a machine: what drives lines first, interrupt controllers last.
    for (const [i, device] of copy.devices.entries())
      device.restore(device.stateSchema.check(structuredClone(board.devices[i].save()), device.id));
    const next = generator(seed);
    const again = generator(seed);
    expect(misbehave(copy, next, 3000)).toEqual(misbehave(board, again, 3000));
    for (const [i, device] of copy.devices.entries()) expect(device.save(), device.id).toEqual(board.devices[i].save());
  });
});
