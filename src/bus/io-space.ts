import { assert } from '../base/assert.js';
import type { GuestIo, IoHandler, IoSpace, IoWindow } from '../iface/bus.js';

/** Ports of the x86 I/O space: 0 … 0xffff. */
export const PORTS = 0x1_0000;
/** One past the last guest-physical address. */
export const MEMORY_END = 2 ** 52;

const WIDEST = 4;

/** A window as its space knows it. Never reused, so that a stale reference can do no harm. */
class Window implements IoWindow {
  /** First address, or -1 while it is not mapped. */
  start = -1;
  /** Windows mapped later win. */
  rank = 0;
  readonly widest: number;

  constructor(
    readonly name: string,
    readonly size: number,
    readonly handler: IoHandler,
    private readonly space: WindowedSpace,
  ) {
    this.widest = handler.widest ?? WIDEST;
  }

  /** One past the last address. */
  get end(): number {
    return this.start + this.size;
  }

  map(start: number): void {
    this.space.place(this, start);
  }

  unmap(): void {
    if (this.start >= 0) this.space.place(this, -1);
  }
}

/** A stretch of addresses that one window answers; stretches are sorted and disjoint. */
interface Stretch {
  readonly from: number;
  /** One past the last address. */
  readonly to: number;
  readonly window: Window;
}

/** All ones in `size` bytes, as an unsigned number: what a read gives that nobody answers. */
const allOnes = (size: number): number => (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff);

/** How the windows of a space are laid out, for people and tests. */
export interface WindowInfo {
  readonly name: string;
  readonly start: number;
  readonly size: number;
}

/**
 * An address space of windows. Looks an address up in sorted disjoint stretches, the last hit first: most accesses go
 * where the one before went.
 *
 * An access belongs to the window that its first byte hits. If it is not naturally aligned, wider than its device takes,
 * or reaches beyond that window, it is split into naturally aligned parts, lowest address first, as a bus with byte
 * enables would do it. (So port 0xcf9 takes bytes, while dwords at 0xcf8 pass whole to the window below it.) Parts that
 * nobody claims read as all ones and are counted.
 */
export class WindowedSpace implements IoSpace {
  private readonly mapped: Window[] = [];
  private rank = 0;
  protected stretches: readonly Stretch[] = [];
  private last: Stretch | undefined;
  /** Accesses (or parts of them) that nobody answered. */
  unclaimed = 0;

  /** `end` is one past the last address. */
  constructor(protected readonly end: number) {}

  claim(name: string, size: number, handler: IoHandler, start?: number): IoWindow {
    assert(Number.isSafeInteger(size) && size > 0 && size <= this.end, `window ${name} has the size ${size}`);
    const window = new Window(name, size, handler, this);
    if (start !== undefined) window.map(start);
    return window;
  }

  /** Maps a window, moves it, or unmaps it (`start` -1). For `Window` only. */
  place(window: Window, start: number): void {
    // A BAR holds what the guest wrote: the part of a window beyond the end of the space is just never reached.
    assert(Number.isSafeInteger(start) && start >= -1, `window ${window.name} is put at ${start}`);
    const index = this.mapped.indexOf(window);
    if (index >= 0) this.mapped.splice(index, 1);
    window.start = start;
    if (start >= 0) {
      window.rank = ++this.rank;
      this.mapped.push(window);
    }
    this.layOut();
  }

  /** The mapped windows, by address, later ones of equal address last. */
  windows(): WindowInfo[] {
    return this.mapped
      .toSorted((a, b) => a.start - b.start || a.rank - b.rank)
      .map(({ name, start, size }) => ({ name, start, size }));
  }

  /** Computes which window answers where. Runs when the map changes, which is rare. */
  protected layOut(): void {
    const edges = new Set<number>();
    for (const { start, size } of this.mapped) edges.add(start).add(Math.min(start + size, this.end));
    const sorted = [...edges].sort((a, b) => a - b);
    const stretches: Stretch[] = [];
    for (let i = 0; i + 1 < sorted.length; i++) {
      const [from, to] = [sorted[i], sorted[i + 1]];
      let top: Window | undefined;
      for (const window of this.mapped)
        if (window.start <= from && from < window.start + window.size && (!top || window.rank > top.rank)) top = window;
      if (!top || from >= this.end) continue;
      const before = stretches.at(-1);
      if (before?.window === top && before.to === from) stretches[stretches.length - 1] = { ...before, to };
      else stretches.push({ from, to, window: top });
    }
    this.stretches = stretches;
    this.last = undefined;
  }

  /** The stretch that holds an address. */
  private find(address: number): Stretch | undefined {
    const last = this.last;
    if (last && address >= last.from && address < last.to) return last;
    let low = 0;
    let high = this.stretches.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const stretch = this.stretches[middle];
      if (address < stretch.from) high = middle - 1;
      else if (address >= stretch.to) low = middle + 1;
      else return (this.last = stretch);
    }
    return undefined;
  }

  /** `size` is 1, 2 or 4. */
  read(address: number, size: number): number {
    const stretch = this.find(address);
    if (!stretch || address + size > stretch.window.end || address % size !== 0 || size > stretch.window.widest)
      return this.readParts(address, size, false);
    return stretch.window.handler.read(address - stretch.window.start, size);
  }

  write(address: number, size: number, value: number): void {
    const stretch = this.find(address);
    if (!stretch || address + size > stretch.window.end || address % size !== 0 || size > stretch.window.widest)
      this.writeParts(address, size, value);
    else stretch.window.handler.write(address - stretch.window.start, size, value);
  }

  /** Reads without side effects. A device that cannot be peeked at reads as all ones. */
  peek(address: number, size: number): number {
    return this.readParts(address, size, true);
  }

  /** How wide the part at `address` can be: aligned, within its window, not wider than its device takes. */
  private partSize(address: number, left: number, stretch: Stretch | undefined): number {
    let size = Math.min(left, stretch?.window.widest ?? WIDEST);
    if (size === 3) size = 2;
    while (address % size !== 0 || (stretch && address + size > stretch.window.end)) size >>>= 1;
    // Where nobody answers, a byte at a time: the next byte may have an owner.
    return stretch ? size : 1;
  }

  private readParts(address: number, size: number, peeking: boolean): number {
    let value = 0;
    let idle = 0;
    for (let done = 0; done < size;) {
      const at = address + done;
      const stretch = this.find(at);
      const part = this.partSize(at, size - done, stretch);
      let bits = allOnes(part);
      if (stretch) {
        const { handler, start } = stretch.window;
        if (!peeking) bits = handler.read(at - start, part);
        else if (handler.peek) bits = handler.peek(at - start, part);
      } else idle++;
      value += bits * 2 ** (8 * done);
      done += part;
    }
    if (idle > 0 && !peeking) this.unclaimed++;
    return value;
  }

  private writeParts(address: number, size: number, value: number): void {
    let idle = 0;
    for (let done = 0; done < size;) {
      const at = address + done;
      const stretch = this.find(at);
      const part = this.partSize(at, size - done, stretch);
      const bits = (value >>> (8 * done)) & allOnes(part);
      if (stretch) stretch.window.handler.write(at - stretch.window.start, part, bits >>> 0);
      else idle++;
      done += part;
    }
    if (idle > 0) this.unclaimed++;
  }
}

/**
 * Port space: as `WindowedSpace`, with a table from every port to its window, because ports are what old guests poll.
 * An access that reaches beyond port 0xffff is not answered there (the address has 17 bits on the bus).
 */
export class PortSpace extends WindowedSpace {
  /** For each port 1 + index into `windowAt`, 0 when nobody claims it. */
  private readonly table = new Uint16Array(PORTS + WIDEST);
  private windowAt: Window[] = [];

  constructor() {
    super(PORTS);
  }

  protected override layOut(): void {
    super.layOut();
    this.table.fill(0);
    this.windowAt = [];
    for (const { from, to, window } of this.stretches) {
      let index = this.windowAt.indexOf(window);
      if (index < 0) index = this.windowAt.push(window) - 1;
      this.table.fill(index + 1, from, to);
    }
  }

  override read(port: number, size: number): number {
    const index = this.table[port];
    if (index !== 0 && this.whole(port, size, index)) {
      const window = this.windowAt[index - 1];
      return window.handler.read(port - window.start, size);
    }
    return super.read(port, size);
  }

  override write(port: number, size: number, value: number): void {
    const index = this.table[port];
    if (index !== 0 && this.whole(port, size, index)) {
      const window = this.windowAt[index - 1];
      window.handler.write(port - window.start, size, value);
    } else super.write(port, size, value);
  }

  /** Whether the access can go to its window in one piece. */
  private whole(port: number, size: number, index: number): boolean {
    if (size === 1) return true;
    const window = this.windowAt[index - 1];
    return size <= window.widest && port % size === 0 && port + size <= window.end;
  }
}

/** Both spaces of a machine, as its CPUs and its debugger see them. */
export class Bus implements GuestIo {
  readonly ports = new PortSpace();
  readonly memory = new WindowedSpace(MEMORY_END);
  /** How often it was used. */
  accesses = 0;

  portRead(port: number, size: number): number {
    this.accesses++;
    return this.ports.read(port, size);
  }

  portWrite(port: number, size: number, value: number): void {
    this.accesses++;
    this.ports.write(port, size, value);
  }

  mmioRead(gpa: number, size: number): number {
    this.accesses++;
    return this.memory.read(gpa, size);
  }

  mmioWrite(gpa: number, size: number, value: number): void {
    this.accesses++;
    this.memory.write(gpa, size, value);
  }
}
