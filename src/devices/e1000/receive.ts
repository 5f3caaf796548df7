import { addWords, foldSum } from '../../base/internet-checksum.js';
import { gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import { crc32 } from '../../base/crc32.js';
import { DescriptorRing } from './descriptor-ring.js';
import { RECEIVE, type Interrupts } from './interrupts.js';
import { CAUSE, CTRL, RAH, RCTL, REG, RXCSUM, type RegisterFile } from './registers.js';
import { isBroadcast, type Statistics } from './statistics.js';

/** Bytes of a frame without its checksum, at least, and at most unless long packets are enabled (RCTL.LPE). */
const SHORTEST = 60;
const LONGEST = 1518;
const LONGEST_ENABLED = 16380;
const CHECKSUM = 4;
/** Status and errors in a descriptor, §3.2.3. */
const STATUS = { DD: 1, EOP: 2, IXSM: 4, VP: 8, TCPCS: 0x20, IPCS: 0x40, PIF: 0x80 } as const;
const ERROR = { TCPE: 0x20, IPE: 0x40 } as const;
const ADDRESSES = 16;

const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

/** Receiving: filters (SDM §10.1 and §10.3), VLAN tags (§9), checksums (§3.2.9), and the ring of descriptors (§3.2). */
export class Receiver {
  private readonly ring: DescriptorRing;
  private readonly descriptor = new Uint8Array(8);
  private readonly view = new DataView(this.descriptor.buffer);
  private readonly scratch = new Uint8Array(LONGEST_ENABLED + 64);

  constructor(
    private readonly registers: RegisterFile,
    private readonly dma: Dma,
    private readonly interrupts: Interrupts,
    private readonly statistics: Statistics,
  ) {
    this.ring = new DescriptorRing(registers, dma, REG.RDBAL);
  }

  get enabled(): boolean {
    return this.registers.has(REG.RCTL, RCTL.EN);
  }

  /** False: there are no buffers for it now. */
  receive(frame: Uint8Array): boolean {
    const { registers, ring, statistics } = this;
    const whole = Math.max(frame.length, SHORTEST);
    const longest = registers.has(REG.RCTL, RCTL.LPE) ? LONGEST_ENABLED : LONGEST;
    if (!this.enabled || !this.takes(frame)) return true;
    if (whole > longest) {
      statistics.oversize(whole + CHECKSUM);
      return true;
    }
    const strip = registers.has(REG.CTRL, CTRL.VME) && this.isTagged(frame);
    const length = whole - (strip ? 4 : 0) + (registers.has(REG.RCTL, RCTL.SECRC) ? 0 : CHECKSUM);
    const needed = Math.ceil(length / this.bufferSize);
    // It would not fit into any number of empty buffers.
    if (needed >= ring.count && ring.count > 0) return true;
    if (ring.available < needed) {
      statistics.noBuffers();
      return false;
    }
    this.store(frame, whole, strip);
    statistics.received(frame, whole + CHECKSUM);
    if (ring.available <= ring.count >> (1 + this.threshold)) this.interrupts.raise(CAUSE.RXDMT0);
    return true;
  }

  /** RDMTS: half, a quarter, an eighth. */
  private get threshold(): number {
    return Math.min(2, (this.registers.get(REG.RCTL) >>> RCTL.RDMTS_SHIFT) & 3);
  }

  private get bufferSize(): number {
    const size = 2048 >> ((this.registers.get(REG.RCTL) >>> RCTL.BSIZE_SHIFT) & 3);
    return this.registers.has(REG.RCTL, RCTL.BSEX) && size < 2048 ? size * 16 : size;
  }

  private isTagged(frame: Uint8Array): boolean {
    return frame.length >= 18 && get16(frame, 12) === this.registers.get(REG.VET);
  }

  // ---- filters ----

  private takes(frame: Uint8Array): boolean {
    return this.takesVlan(frame) && this.takesAddress(frame);
  }

  private takesVlan(frame: Uint8Array): boolean {
    const { registers } = this;
    if (!registers.has(REG.RCTL, RCTL.VFE) || !this.isTagged(frame)) return true;
    const tag = get16(frame, 14);
    const id = tag & 0xfff;
    if (!registers.has(REG.VFTA + 4 * (id >> 5), 1 << (id & 31))) return false;
    const format = (tag & 0x1000) !== 0;
    return !registers.has(REG.RCTL, RCTL.CFIEN) || format === registers.has(REG.RCTL, RCTL.CFI);
  }

  private takesAddress(frame: Uint8Array): boolean {
    const { registers } = this;
    const multicast = (frame[0] & 1) !== 0;
    if (registers.has(REG.RCTL, multicast ? RCTL.MPE : RCTL.UPE)) return true;
    if (registers.has(REG.RCTL, RCTL.BAM) && isBroadcast(frame)) return true;
    for (let i = 0; i < ADDRESSES; i++) {
      const high = registers.get(REG.RAH + 8 * i);
      if (high < RAH.AV) continue;
      // 0: held against the destination, 1: the source.
      const select = (high >>> RAH.AS_SHIFT) & 3;
      const at = select === 0 ? 0 : 6;
      const low = registers.get(REG.RAL + 8 * i);
      const same =
        select < 2 &&
        frame[at] === (low & 0xff) &&
        frame[at + 1] === ((low >>> 8) & 0xff) &&
        frame[at + 2] === ((low >>> 16) & 0xff) &&
        frame[at + 3] === low >>> 24 &&
        frame[at + 4] === (high & 0xff) &&
        frame[at + 5] === ((high >>> 8) & 0xff);
      if (same) return true;
    }
    return multicast && this.inTable(frame);
  }

  /** Multicast table, MTA: twelve bits of the address, from which RCTL.MO says. */
  private inTable(frame: Uint8Array): boolean {
    const shift = [4, 3, 2, 0][(this.registers.get(REG.RCTL) >>> RCTL.MO_SHIFT) & 3];
    const hash = (((frame[5] << 8) | frame[4]) >>> shift) & 0xfff;
    return this.registers.has(REG.MTA + 4 * (hash >> 5), 1 << (hash & 31));
  }

  // ---- descriptors ----

  private store(frame: Uint8Array, whole: number, strip: boolean): void {
    const { registers, ring, view, dma } = this;
    const tag = strip ? get16(frame, 14) : 0;
    const data = this.assemble(frame, whole, strip);
    const sums = this.checksums(frame);
    const sum = this.packetChecksum(data, whole - (strip ? 4 : 0));
    const exact = frame[0] & 1 && !isBroadcast(frame) ? STATUS.PIF : 0;
    const common = STATUS.DD | sums.status | (strip ? STATUS.VP : 0) | exact;
    const size = this.bufferSize;
    for (let at = 0; at < data.length; at += size) {
      const part = data.subarray(at, at + size);
      const [buffer, descriptor] = ring.next();
      dma.write(buffer, part);
      view.setUint16(0, part.length, true);
      view.setUint16(2, sum, true);
      view.setUint8(4, common | (at + size >= data.length ? STATUS.EOP : 0));
      view.setUint8(5, sums.errors);
      view.setUint16(6, tag, true);
      dma.write(gpa(descriptor + 8), this.descriptor);
      ring.advance();
    }
    if (registers.get(REG.RDTR) === 0) this.interrupts.raise(CAUSE.RXT0);
    else this.interrupts.raiseLater(RECEIVE);
  }

  /** The frame as it is stored: filled up, without its tag, with its checksum. */
  private assemble(frame: Uint8Array, whole: number, strip: boolean): Uint8Array {
    const crc = !this.registers.has(REG.RCTL, RCTL.SECRC);
    if (!crc && !strip && whole === frame.length) return frame;
    const data = this.scratch.subarray(0, whole + (crc ? CHECKSUM : 0));
    data.set(frame);
    data.fill(0, frame.length);
    if (crc) new DataView(data.buffer).setUint32(whole, crc32(data.subarray(0, whole)), true);
    if (!strip) return data;
    data.copyWithin(12, 16);
    return data.subarray(0, data.length - 4);
  }

  /** From RXCSUM.PCSS to the end, one's complement sum. */
  private packetChecksum(data: Uint8Array, length: number): number {
    const start = this.registers.get(REG.RXCSUM) & RXCSUM.PCSS;
    if (start >= length) return 0;
    const sum = foldSum(addWords(data, start, length));
    return ((sum & 0xff) << 8) | (sum >> 8);
  }

  private checksums(frame: Uint8Array): { status: number; errors: number } {
    const offloads = this.registers.get(REG.RXCSUM);
    if (!(offloads & (RXCSUM.IPOFL | RXCSUM.TUOFL))) return { status: STATUS.IXSM, errors: 0 };
    const checked = checkPacket(frame, this.isTagged(frame) ? 18 : 14);
    if (!checked) return { status: STATUS.IXSM, errors: 0 };
    const ip = (offloads & RXCSUM.IPOFL) !== 0 && checked.ip !== undefined;
    const transport = (offloads & RXCSUM.TUOFL) !== 0 && checked.transport !== undefined;
    return {
      status: (ip ? STATUS.IPCS : 0) | (transport ? STATUS.TCPCS : 0) || STATUS.IXSM,
      errors: (ip && !checked.ip ? ERROR.IPE : 0) | (transport && !checked.transport ? ERROR.TCPE : 0),
    };
  }

  /** RDT was moved. */
  get hasRoom(): boolean {
    return this.ring.available > 0;
  }
}

/** Whether the checksums of an IPv4 packet are right; a part is undefined where there is nothing to check, such as in fragments. */
function checkPacket(
  frame: Uint8Array,
  at: number,
): { readonly ip: boolean | undefined; readonly transport: boolean | undefined } | undefined {
  if (get16(frame, at - 2) !== 0x0800 || frame.length < at + 20 || frame[at] >> 4 !== 4) return undefined;
  const header = (frame[at] & 15) * 4;
  const end = at + get16(frame, at + 2);
  if (header < 20 || end > frame.length || at + header > end) return undefined;
  const ip = foldSum(addWords(frame, at, at + header)) === 0xffff;
  const protocol = frame[at + 9];
  const start = at + header;
  const fragment = (get16(frame, at + 6) & 0x3fff) !== 0;
  const unchecked = protocol === 17 && end >= start + 8 && get16(frame, start + 6) === 0;
  if (fragment || unchecked || (protocol !== 6 && protocol !== 17)) return { ip, transport: undefined };
  const pseudo = addWords(frame, at + 12, at + 20, protocol + end - start);
  return { ip, transport: foldSum(addWords(frame, start, end, pseudo)) === 0xffff };
}
