import { gpa, nanoseconds } from '../../base/units.js';
import type { Clock, Timer } from '../../iface/clock.js';
import type { Dma } from '../../iface/guest-memory.js';
import { FINISHED, GSO, MIN_FRAME, type FrameInfo, type NetBackend } from '../../iface/net.js';
import { array, bool, bytes, nullable, struct, u8, type Infer } from '../../snapshot/schema.js';
import { address, DescriptorRing } from './descriptor-ring.js';
import { TRANSMIT, type Interrupts } from './interrupts.js';
import { CAUSE, CTRL, RCTL, REG, TCTL, type RegisterFile } from './registers.js';
import {
  contextSchema,
  cutPacket,
  EMPTY_CONTEXT,
  finishPacket,
  insertChecksum,
  insertTag,
  leaveSegmentation,
  outgoingSchema,
  TUCMD,
  type Context,
} from './segmentation.js';
import type { Statistics } from './statistics.js';

/** Command of a legacy or data descriptor, SDM §3.3.3 and §3.3.7; of a context descriptor RS, DEXT and IDE. */
const COMMAND = { EOP: 1, IC: 4, TSE: 4, RS: 8, DEXT: 0x20, VLE: 0x40, IDE: 0x80 } as const;
const TYPE_DATA = 1;
const DONE = 1;
/** The longest packet to be cut: PAYLEN has 20 bits, HDRLEN 8. */
const LONGEST = 2 ** 20 + 2 ** 8;
/** Longest packet that is not cut. */
const LONGEST_WHOLE = 16288;
const SHORTEST = 60;
const CHECKSUM = 4;
/** Descriptors and bytes of one turn, so that the CPU gets its own. */
const TURN = 256;
const TURN_BYTES = 2 ** 20;
/** Nanoseconds between two turns. */
const PAUSE = 20_000;

export const transmitterSchema = struct({
  /** Of packets that are cut, and of those that are not. */
  contexts: array(contextSchema, { length: 2 }),
  /** What was read of a packet whose end is not there yet, and of one that is leaving. */
  gathered: bytes(),
  first: u8,
  outgoing: nullable(outgoingSchema),
  /** A turn has ended before the work. */
  again: bool,
});

interface Outgoing {
  readonly bytes: Uint8Array;
  readonly options: number;
  /** -1: none. */
  readonly tag: number;
  readonly context: Context;
  at: number;
  index: number;
}

export interface TransmitterParts {
  readonly registers: RegisterFile;
  readonly dma: Dma;
  readonly interrupts: Interrupts;
  readonly statistics: Statistics;
  readonly backend: NetBackend;
  readonly clock: Clock;
  /** A packet that comes back. */
  readonly loop: (frame: Uint8Array) => void;
  readonly loopsBack: () => boolean;
  readonly hasLink: () => boolean;
}

/** Sending: the ring of descriptors (SDM §3.4), packets put together of them, offloads, and what is told of it. */
export class Transmitter {
  private readonly ring: DescriptorRing;
  private readonly descriptor = new Uint8Array(16);
  private readonly view = new DataView(this.descriptor.buffer);
  private readonly contexts: [cut: Context, whole: Context] = [EMPTY_CONTEXT, EMPTY_CONTEXT];
  private pieces: Uint8Array[] = [];
  private length = 0;
  /** POPTS of the first descriptor of the packet: those of others do not count. */
  private first = 0;
  /** A packet that is cut, and leaves piece by piece. */
  private outgoing: Outgoing | undefined;
  private readonly turn: Timer;

  constructor(private readonly parts: TransmitterParts) {
    this.ring = new DescriptorRing(parts.registers, parts.dma, REG.TDBAL);
    this.turn = parts.clock.createTimer(() => this.run());
  }

  /** Sends what the ring holds, as far as there is room. */
  run(): void {
    const { registers, interrupts, backend } = this.parts;
    const { ring } = this;
    const threshold = 8 * (registers.get(REG.TXDCTL) >>> 25);
    const before = ring.available;
    let bytes = 0;
    let told: 'not' | 'later' | 'now' = 'not';
    let count = 0;
    this.turn.cancel();
    while (registers.has(REG.TCTL, TCTL.EN) && this.leave()) {
      if (ring.available === 0) break;
      if (count++ === TURN || bytes > TURN_BYTES) {
        this.continueSoon();
        break;
      }
      const { head } = ring;
      if (!this.parts.dma.read(head, this.descriptor)) this.descriptor.fill(0);
      bytes += this.process();
      const command = this.descriptor[11];
      if (command & COMMAND.RS) {
        this.parts.dma.write(gpa(head + 12), Uint8Array.of(this.descriptor[12] | DONE));
        told = told === 'now' || !(command & COMMAND.IDE) ? 'now' : 'later';
      }
      ring.advance();
    }
    backend.flush();
    const after = ring.available;
    const low = threshold > 0 && before > threshold && after <= threshold ? CAUSE.TXD_LOW : 0;
    const empty = before > 0 && after === 0 ? CAUSE.TXQE : 0;
    interrupts.raise(low | empty | (told === 'now' ? CAUSE.TXDW : 0));
    if (told === 'later') interrupts.raiseLater(TRANSMIT);
  }

  private continueSoon(): void {
    const { clock } = this.parts;
    this.turn.arm(nanoseconds(clock.now() + PAUSE));
  }

  /** Carries out the descriptor. Returns how many bytes it read. */
  private process(): number {
    const { view, descriptor } = this;
    const command = descriptor[11];
    if (!(command & COMMAND.DEXT)) {
      const length = view.getUint16(8, true);
      this.gather(length);
      if (command & COMMAND.EOP) {
        const packet = this.take();
        // The sum from CSS to the end goes to CSO.
        if (command & COMMAND.IC) insertChecksum(packet, descriptor[13], 0, descriptor[10]);
        this.sendWhole(packet, FINISHED, this.tagOf(command));
      }
      return length;
    }
    if (descriptor[10] >> 4 !== TYPE_DATA) {
      this.setContext();
      return 0;
    }
    const length = view.getUint32(8, true) & 0xf_ffff;
    if (this.length === 0) this.first = descriptor[13];
    this.gather(length);
    if (command & COMMAND.EOP) this.finish(command);
    return length;
  }

  private setContext(): void {
    const { view, descriptor } = this;
    const context: Context = {
      ...{ ipStart: descriptor[0], ipOffset: descriptor[1], ipEnd: view.getUint16(2, true) },
      ...{ start: descriptor[4], offset: descriptor[5], end: view.getUint16(6, true) },
      ...{ headerLength: descriptor[13], segmentSize: view.getUint16(14, true), command: descriptor[11] },
    };
    this.contexts[context.command & TUCMD.TSE ? 0 : 1] = context;
  }

  private tagOf(command: number): number {
    const tags = command & COMMAND.VLE && this.parts.registers.has(REG.CTRL, CTRL.VME);
    return tags ? this.view.getUint16(14, true) : -1;
  }

  private gather(length: number): void {
    const room = LONGEST - this.length;
    this.length += length;
    if (length > room || length === 0) return;
    const bytes = new Uint8Array(length);
    this.parts.dma.read(address(this.view.getUint32(0, true), this.view.getUint32(4, true)), bytes);
    this.pieces.push(bytes);
  }

  /** What was gathered. Nothing, where it was too long. */
  private take(): Uint8Array {
    const { pieces, length } = this;
    this.pieces = [];
    this.length = 0;
    if (length > LONGEST) return new Uint8Array(0);
    if (pieces.length === 1) return pieces[0];
    const packet = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      packet.set(piece, at);
      at += piece.length;
    }
    return packet;
  }

  private finish(command: number): void {
    const options = this.first;
    const tag = this.tagOf(command);
    const packet = this.take();
    const [cut, whole] = this.contexts;
    if (!(command & COMMAND.TSE)) {
      if (packet.length <= LONGEST_WHOLE) this.sendWhole(packet, finishPacket(packet, options, whole), tag);
      return;
    }
    this.parts.statistics.segmented();
    const usual = this.parts.loopsBack() ? undefined : leaveSegmentation(packet, options, cut);
    if (usual) this.sendWhole(packet, usual, tag);
    else if (cut.segmentSize > 0 && cut.headerLength >= MIN_FRAME && packet.length >= cut.headerLength)
      this.outgoing = { bytes: packet, options, tag, context: cut, at: cut.headerLength, index: 0 };
  }

  // ---- what leaves ----

  /** A packet that the network has no room for waits here. */
  private waiting: { readonly frame: Uint8Array; readonly info: FrameInfo } | undefined;

  /** False: the network has no room. */
  private leave(): boolean {
    if (this.waiting) {
      const { frame, info } = this.waiting;
      this.waiting = undefined;
      if (!this.emit(frame, info)) return false;
    }
    const { outgoing } = this;
    if (!outgoing) return true;
    const { bytes, context, tag } = outgoing;
    for (let sent = 0; outgoing.at < bytes.length || outgoing.index === 0; sent++) {
      if (sent === TURN) {
        this.continueSoon();
        return false;
      }
      const packet = cutPacket(bytes, outgoing);
      outgoing.at += context.segmentSize;
      outgoing.index++;
      this.sendWhole(packet, FINISHED, tag);
      if (this.waiting) return false;
    }
    this.outgoing = undefined;
    return true;
  }

  private sendWhole(packet: Uint8Array, info: FrameInfo, tag: number): void {
    if (packet.length < MIN_FRAME) return;
    const { registers } = this.parts;
    const tagged = tag < 0 ? packet : insertTag(packet, registers.get(REG.VET), tag);
    const moved = tag >= 0 && info.checksumStart > 0 ? { ...info, checksumStart: info.checksumStart + 4 } : info;
    this.emit(tagged, moved);
  }

  private emit(frame: Uint8Array, info: FrameInfo): boolean {
    const { backend, registers, loop, loopsBack, hasLink } = this.parts;
    if (registers.has(REG.RCTL, RCTL.LBM) || loopsBack()) loop(frame);
    else if (hasLink()) {
      // Short packets are filled up.
      const length = registers.has(REG.TCTL, TCTL.PSP) ? Math.max(frame.length, SHORTEST) : frame.length;
      const room = backend.reserve(length);
      if (!room) {
        this.waiting = { frame, info };
        return false;
      }
      room.set(frame);
      if (length > frame.length) room.fill(0, frame.length);
      backend.commit(info);
    }
    this.count(frame, info);
    return true;
  }

  private count(frame: Uint8Array, { gso, segmentSize, checksumStart }: FrameInfo): void {
    const { statistics } = this.parts;
    if (gso === GSO.NONE) {
      statistics.sent(frame, Math.max(frame.length, SHORTEST) + CHECKSUM, 1);
      return;
    }
    const header = checksumStart + (frame[checksumStart + 12] >> 4) * 4;
    const data = frame.length - header;
    const full = Math.floor(data / segmentSize);
    const rest = data - full * segmentSize;
    statistics.sent(frame, header + segmentSize + CHECKSUM, full);
    statistics.sent(frame, Math.max(header + rest, SHORTEST) + CHECKSUM, rest > 0 ? 1 : 0);
  }

  // ---- the card's life ----

  reset(): void {
    this.turn.cancel();
    this.pieces = [];
    this.length = 0;
    this.first = 0;
    this.outgoing = undefined;
    this.waiting = undefined;
    this.contexts.fill(EMPTY_CONTEXT);
  }

  save(): Infer<typeof transmitterSchema> {
    // A packet that waits for room is lost, as one on the wire would be.
    const { outgoing } = this;
    const gathered = outgoing ? outgoing.bytes.slice() : concatenated(this.pieces);
    return {
      contexts: this.contexts.map((context) => ({ ...context })),
      gathered,
      first: this.first,
      outgoing: outgoing
        ? {
            ...{ options: outgoing.options, tag: outgoing.tag, at: outgoing.at, index: outgoing.index },
            context: { ...outgoing.context },
          }
        : null,
      again: this.turn.deadline !== undefined,
    };
  }

  restore({ contexts, gathered, first, outgoing, again }: Infer<typeof transmitterSchema>): void {
    this.reset();
    [this.contexts[0], this.contexts[1]] = contexts;
    this.first = first;
    if (outgoing) this.outgoing = { ...outgoing, bytes: gathered.slice() };
    else if (gathered.length > 0) {
      this.pieces = [gathered.slice()];
      this.length = gathered.length;
    }
    if (again) this.continueSoon();
  }
}

function concatenated(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
