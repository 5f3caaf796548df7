/** A driver of the 82540EM that does what it is told. */
import { Bus } from '../bus/io-space.js';
import { E1000 } from '../devices/e1000/e1000.js';
import { CTRL, RCTL, REG, TCTL } from '../devices/e1000/registers.js';
import { FakeClock } from '../host/fake/clock.js';
import { FakeMemory } from '../host/fake/memory.js';
import { FakeNetwork } from './fake-network.js';

export const E1000_MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const WINDOW = 0xf000_0000;
const PORTS = 0xc000;
const RECEIVE_RING = 0x1000;
const TRANSMIT_RING = 0x2000;
const BUFFERS = 0x1_0000;
const BUFFER = 2048;
/** Where the bytes of what is sent lie. */
const DATA = 0x4_0000;
export const E1000_RING = 16;

export class E1000Driver {
  readonly memory = new FakeMemory(0x10_0000);
  readonly network = new FakeNetwork();
  readonly bus = new Bus();
  readonly card: E1000;
  /** Of the interrupt pin. */
  interrupts = 0;
  asserted = false;
  private data = DATA;

  constructor(readonly clock = new FakeClock(1_000_000)) {
    const { ports, memory } = this.bus;
    this.card = new E1000({
      id: 'e1000-0',
      environment: { ports, memory, msi: { deliver: () => {} } },
      dma: this.memory,
      backend: this.network,
      mac: E1000_MAC,
      clock,
    });
    this.card.pci.connect({
      set: (asserted) => {
        if (asserted && !this.asserted) this.interrupts++;
        this.asserted = asserted;
      },
    });
    this.card.pci.config.write(0x10, 4, WINDOW);
    this.card.pci.config.write(0x18, 4, PORTS);
    this.card.pci.config.write(4, 2, 7);
  }

  get(register: number): number {
    return this.bus.mmioRead(WINDOW + register, 4);
  }

  set(register: number, value: number): void {
    this.bus.mmioWrite(WINDOW + register, 4, value >>> 0);
  }

  port(offset: number, value?: number): number {
    if (value !== undefined) this.bus.portWrite(PORTS + offset, 4, value >>> 0);
    return this.bus.portRead(PORTS + offset, 4);
  }

  /** Rings with buffers, everything on. */
  start(rctl = 0, buffers = E1000_RING - 1): this {
    const view = new DataView(this.memory.bytes.buffer);
    for (let i = 0; i < E1000_RING; i++) {
      this.memory.bytes.fill(0, RECEIVE_RING + 16 * i, RECEIVE_RING + 16 * i + 16);
      view.setUint32(RECEIVE_RING + 16 * i, BUFFERS + BUFFER * i, true);
    }
    this.set(REG.CTRL, this.get(REG.CTRL) | CTRL.SLU);
    for (const [base, ring] of [
      [REG.RDBAL, RECEIVE_RING],
      [REG.TDBAL, TRANSMIT_RING],
    ]) {
      this.set(base, ring);
      this.set(base + 4, 0);
      this.set(base + 8, E1000_RING * 16);
      this.set(base + 16, 0);
      this.set(base + 24, 0);
    }
    this.set(REG.RDT, buffers);
    this.set(REG.IMS, 0x1_ffff);
    this.set(REG.RCTL, RCTL.EN | RCTL.BAM | RCTL.SECRC | rctl);
    this.set(REG.TCTL, TCTL.EN | TCTL.PSP);
    return this;
  }

  /** Puts descriptors behind those that are there: bytes to send and words 2 and 3, or all four words. */
  offer(...descriptors: readonly { bytes?: Uint8Array; words: readonly number[] }[]): void {
    const view = new DataView(this.memory.bytes.buffer);
    let tail = this.get(REG.TDT);
    for (const { bytes, words } of descriptors) {
      const at = TRANSMIT_RING + 16 * tail;
      if (bytes) {
        if (this.data + bytes.length > this.memory.bytes.length) this.data = DATA;
        this.memory.bytes.set(bytes, this.data);
        [this.data, 0, ...words].forEach((word, i) => view.setUint32(at + 4 * i, word, true));
        this.data += bytes.length;
      } else words.forEach((word, i) => view.setUint32(at + 4 * i, word >>> 0, true));
      tail = (tail + 1) % E1000_RING;
    }
    this.set(REG.TDT, tail);
  }

  /** A legacy descriptor with all of a frame: EOP, IFCS, RS and what is given. */
  send(frame: Uint8Array, command = 0, last = 0, checksumOffset = 0): void {
    this.offer({ bytes: frame, words: [frame.length | (checksumOffset << 16) | ((0x0b | command) << 24), last] });
  }

  /** What descriptor `index` of the receive ring says, and its buffer. */
  received(index: number): {
    status: number;
    errors: number;
    length: number;
    sum: number;
    tag: number;
    bytes: Uint8Array;
  } {
    const view = new DataView(this.memory.bytes.buffer, RECEIVE_RING + 16 * index);
    const length = view.getUint16(8, true);
    const start = BUFFERS + BUFFER * index;
    return {
      ...{ length, sum: view.getUint16(10, true), status: view.getUint8(12), errors: view.getUint8(13) },
      ...{ tag: view.getUint16(14, true), bytes: this.memory.bytes.slice(start, start + length) },
    };
  }

  /** The sent descriptor's status. */
  done(index: number): boolean {
    return (this.memory.bytes[TRANSMIT_RING + 16 * index + 12] & 1) !== 0;
  }
}
