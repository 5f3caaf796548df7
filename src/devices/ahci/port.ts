/** A port of an AHCI HBA: its registers, its list of commands and the drive behind it (AHCI 1.3.1 §3.3, §5). */
import { gpa, type Gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { ScratchBuffers } from '../../iface/block.js';
import type { AtaDrive, Operation, Outcome, Taskfile } from '../ata/drive.js';
import { STATUS } from '../ata/registers.js';
import { BufferPool } from '../buffer-pool.js';
import { moveData, type ScatterList } from '../ata/transfer.js';
import { fetchCommand, listOf, packetOf, type Command } from './command-list.js';
import { d2hFrame, dmaSetupFrame, pioSetupFrame, setBitsFrame, taskfileOf } from './frames.js';
import { initialState, type PortState as State } from './port-state.js';
import {
  CMD,
  DET,
  HEADER,
  INTERRUPT,
  INTERRUPT_CLEARABLE,
  INTERRUPT_ENABLES,
  LINK_UP,
  PORT,
  RECEIVED,
  SERR,
} from './registers.js';

export interface PortParts {
  readonly dma: Dma;
  readonly drive: AtaDrive | undefined;
  /** Interrupt status or enables have changed. */
  changed(): void;
}

/** A command that is being carried out. */
interface Running {
  readonly slot: number;
  readonly header: Gpa;
  readonly operation: Operation;
  readonly queued: boolean;
}

export class AhciPort {
  private state: State;
  /** Changes with every reset; what completes for a former life is dropped. */
  private life = 0;
  /** The command that is not a queued one, under way. */
  private busySlot: number | undefined;
  private serving = false;
  private readonly buffers: ScratchBuffers;

  constructor(private readonly parts: PortParts) {
    this.state = initialState();
    this.buffers = parts.drive?.buffers ?? new BufferPool();
    this.connect();
  }

  /** HBA reset (§10.4.3): everything but where lists and frames are. */
  reset(): void {
    const { commandList, received } = this.state;
    this.abandon();
    this.state = { ...initialState(), commandList, received };
    this.parts.drive?.reset(false);
    this.connect();
  }

  /** What wants an interrupt now. */
  get pending(): boolean {
    return (this.interrupts & this.state.enables) !== 0;
  }

  /** PCS and PRCS mirror bits of PxSERR. */
  private get interrupts(): number {
    const { interrupts, linkErrors } = this.state;
    const mirrored =
      (linkErrors & SERR.EXCHANGED ? INTERRUPT.PCS : 0) | (linkErrors & SERR.PHY_CHANGE ? INTERRUPT.PRCS : 0);
    return (interrupts | mirrored) >>> 0;
  }

  // ---- registers ----

  read(offset: number): number {
    const { state } = this;
    switch (offset) {
      case PORT.CLB:
        return state.commandList % 2 ** 32;
      case PORT.CLBU:
        return Math.floor(state.commandList / 2 ** 32);
      case PORT.FB:
        return state.received % 2 ** 32;
      case PORT.FBU:
        return Math.floor(state.received / 2 ** 32);
      case PORT.IS:
        return this.interrupts;
      case PORT.IE:
        return state.enables;
      case PORT.CMD:
        return state.command;
      case PORT.TFD:
        return (state.error << 8) | state.status;
      case PORT.SIG:
        return state.signature;
      case PORT.SSTS:
        return state.link;
      case PORT.SCTL:
        return state.control;
      case PORT.SERR:
        return state.linkErrors;
      case PORT.SACT:
        return state.active;
      case PORT.CI:
        return state.issued;
      default:
        return 0;
    }
  }

  write(offset: number, value: number): void {
    const { state } = this;
    const low = (old: number, mask: number): number => Math.floor(old / 2 ** 32) * 2 ** 32 + ((value & mask) >>> 0);
    const high = (old: number): number => (old % 2 ** 32) + (value & 0xf_ffff) * 2 ** 32;
    switch (offset) {
      case PORT.CLB:
        state.commandList = low(state.commandList, ~0x3ff);
        break;
      case PORT.CLBU:
        state.commandList = high(state.commandList);
        break;
      case PORT.FB:
        state.received = low(state.received, ~0xff);
        break;
      case PORT.FBU:
        state.received = high(state.received);
        break;
      case PORT.IS:
        state.interrupts = (state.interrupts & ~(value & INTERRUPT_CLEARABLE)) >>> 0;
        this.parts.changed();
        break;
      case PORT.IE:
        state.enables = (value & INTERRUPT_ENABLES) >>> 0;
        this.parts.changed();
        break;
      case PORT.CMD:
        this.writeCommand(value);
        break;
      case PORT.SCTL:
        this.writeControl(value);
        break;
      case PORT.SERR:
        state.linkErrors = (state.linkErrors & ~value) >>> 0;
        this.parts.changed();
        break;
      case PORT.SACT:
        // Set only; and only while the list is processed (§3.3.13).
        if (state.command & CMD.ST) state.active = (state.active | value) >>> 0;
        break;
      case PORT.CI:
        if (!(state.command & CMD.ST)) break;
        state.issued = (state.issued | value) >>> 0;
        this.serve();
        break;
    }
  }

  private writeCommand(value: number): void {
    const { state } = this;
    const before = state.command;
    const kept = before & ~CMD.WRITABLE;
    state.command = (kept | (value & CMD.WRITABLE)) >>> 0;
    // Receiving frames starts and stops at once; it cannot be stopped while commands run (§3.3.7).
    if (state.command & CMD.FRE || state.command & CMD.ST) state.command |= CMD.FR | CMD.FRE;
    else state.command &= ~CMD.FR;
    if (value & CMD.CLO) state.status &= ~(STATUS.BSY | STATUS.DRQ);
    if (state.command & CMD.FRE && state.signaturePending) this.sendSignature();
    if (state.command & CMD.ST) state.command |= CMD.CR;
    else if (before & CMD.ST) this.stop();
    state.command = state.command >>> 0;
    this.serve();
  }

  /** ST 1 → 0: commands are given up, §10.3.2. */
  private stop(): void {
    const { state } = this;
    state.command &= ~(CMD.CR | CMD.SLOT_MASK);
    state.issued = 0;
    state.active = 0;
    state.halted = false;
    this.abandon();
  }

  /** What is under way will never be reported. */
  private abandon(): void {
    this.life++;
    // A drive that was in the middle of something is at rest: nothing can tell the difference, as nothing moves any more.
    if (this.busySlot !== undefined) this.state.status &= ~STATUS.BSY;
    this.busySlot = undefined;
    this.state.queued = 0;
  }

  private writeControl(value: number): void {
    const { state } = this;
    const [before, after] = [state.control & DET.MASK, value & DET.MASK];
    state.control = value & 0xfff;
    if (after === before) return;
    if (after === DET.COMRESET || after === DET.OFFLINE) {
      this.abandon();
      state.link = after === DET.OFFLINE ? 4 : 0;
      state.status = 0x7f;
      state.error = 0;
      state.signature = 0xffff_ffff;
      state.signaturePending = false;
      if (after === DET.COMRESET) this.parts.drive?.reset(false);
    } else if (before !== DET.NONE) this.connect();
    this.parts.changed();
  }

  // ---- the link ----

  /** The drive, if there is one, answers COMRESET: its signature is the first frame (§5.2, §10.1.2). */
  private connect(): void {
    const { state } = this;
    if (!this.parts.drive) {
      state.link = 0;
      return;
    }
    state.link = LINK_UP;
    state.linkErrors = (state.linkErrors | SERR.EXCHANGED | SERR.PHY_CHANGE) >>> 0;
    state.status = STATUS.BSY;
    state.signaturePending = true;
    if (state.command & CMD.FRE) this.sendSignature();
  }

  private sendSignature(): void {
    const { state } = this;
    const { drive } = this.parts;
    state.signaturePending = false;
    if (!drive) return;
    const status = drive.packets ? 0 : STATUS.DRDY | STATUS.DSC;
    state.signature = (drive.signature * 0x100 + 1) >>> 0;
    this.sendD2h({ status, error: 1, lba: drive.signature, count: 1 }, undefined, false);
  }

  // ---- frames to the host ----

  private receive(offset: number, frame: Uint8Array): void {
    if (this.state.command & CMD.FRE) this.parts.dma.write(gpa(this.state.received + offset), frame);
  }

  private raise(bits: number): void {
    this.state.interrupts = (this.state.interrupts | bits) >>> 0;
  }

  private sendD2h(outcome: Outcome, taskfile: Taskfile | undefined, interrupt: boolean): void {
    this.state.status = outcome.status;
    this.state.error = outcome.error;
    this.receive(RECEIVED.D2H, d2hFrame(outcome, taskfile, interrupt));
    if (interrupt) this.raise(INTERRUPT.DHRS);
    if (outcome.status & STATUS.ERR) this.fail(INTERRUPT.TFES);
  }

  private fail(cause: number): void {
    this.raise(cause);
    this.state.halted = true;
  }

  // ---- commands ----

  /** Takes commands off the list for as long as the drive is ready for them. */
  private serve(): void {
    if (this.serving) return;
    this.serving = true;
    for (let slot = this.next(); slot !== undefined; slot = this.next()) this.start(slot, false);
    this.serving = false;
    this.parts.changed();
  }

  private next(): number | undefined {
    const { state } = this;
    if (!(state.command & CMD.CR) || state.halted || this.busySlot !== undefined || !this.parts.drive) return undefined;
    if (state.status & (STATUS.BSY | STATUS.DRQ) || (state.link & 0xf) !== 3) return undefined;
    // In turns, from behind the slot that was last (§5.5).
    const last = (state.command & CMD.SLOT_MASK) >>> CMD.SLOT_SHIFT;
    for (let i = 1; i <= 32; i++) {
      const slot = (last + i) % 32;
      if (state.issued & (1 << slot)) return slot;
    }
    return undefined;
  }

  /** `again`: a queued command whose acceptance the host has been told of before the machine was saved. */
  private start(slot: number, again: boolean): void {
    const { state } = this;
    const { dma, drive } = this.parts;
    if (!drive) return;
    state.command = ((state.command & ~CMD.SLOT_MASK) | (slot << CMD.SLOT_SHIFT)) >>> 0;
    const fetched = fetchCommand(dma, state.commandList, slot);
    if (fetched === 'unreachable') {
      this.fail(INTERRUPT.HBFS);
      return;
    }
    if (fetched === 'malformed') {
      state.linkErrors = (state.linkErrors | SERR.PROTOCOL) >>> 0;
      this.fail(INTERRUPT.IFS);
      return;
    }
    const { header, frame } = fetched;
    if (!(frame[1] & 0x80)) {
      this.controlFrame(slot, frame);
      return;
    }
    const operation = this.decode(drive, fetched);
    const queued = operation.protocol === 'queued';
    this.run({ slot, header, operation, queued }, listOf(dma, fetched), again);
  }

  /** Device control: a software reset is one frame with SRST set and one with it clear (§10.4.1). */
  private controlFrame(slot: number, frame: Uint8Array): void {
    const { state } = this;
    const { drive } = this.parts;
    const reset = (frame[15] & 4) !== 0;
    state.issued = (state.issued & ~(1 << slot)) >>> 0;
    if (!reset && state.softReset && drive) {
      drive.reset(true);
      state.softReset = false;
      const status = drive.packets ? 0 : STATUS.DRDY | STATUS.DSC;
      this.sendD2h({ status, error: 1, lba: drive.signature, count: 1 }, undefined, true);
    }
    if (reset) state.softReset = true;
  }

  private decode(drive: AtaDrive, { frame, table }: Command): Operation {
    const operation = drive.begin(taskfileOf(frame));
    if (operation.action !== 'packet') return operation;
    return drive.beginPacket(operation, packetOf(this.parts.dma, table), 0xfffe);
  }

  private run(running: Running, list: ScatterList, again: boolean): void {
    const { state } = this;
    const { drive } = this.parts;
    if (!drive) return;
    const { operation, queued, slot } = running;
    const { life } = this;
    const current = (): boolean => life === this.life;
    if (queued) {
      state.queued = (state.queued | (1 << slot)) >>> 0;
      state.issued = (state.issued & ~(1 << slot)) >>> 0;
      // Accepted: the drive is ready for the next one.
      if (!again) this.sendD2h({ status: STATUS.DRDY | STATUS.DSC, error: 0 }, operation.taskfile, false);
    } else {
      this.busySlot = slot;
      state.status = STATUS.BSY;
    }
    const end = (outcome: Outcome): void => {
      if (!current()) return;
      this.complete(running, list, outcome);
      if (!this.serving) this.serve();
    };
    if (operation.direction === 'none' || operation.length === 0) {
      drive.finish(operation, end);
      return;
    }
    if (queued) {
      const tag = (operation.taskfile.count >> 3) & 0x1f;
      this.receive(RECEIVED.DMA_SETUP, dmaSetupFrame(tag, operation.direction === 'in', operation.length));
    }
    const buffer = this.buffers.take();
    moveData({
      drive,
      operation,
      list,
      buffer,
      current,
      dropped: () => this.buffers.give(buffer),
      done: (result, at) => {
        this.buffers.give(buffer);
        if (result === 'failed') end(drive.failed(operation, at, false));
        else if (result === 'done') drive.finish(operation, end);
        else {
          this.raise(INTERRUPT.OFS);
          // What is read and finds no room is lost; what is to be written and does not come is an error.
          if (operation.direction === 'in') drive.finish(operation, end);
          else end(drive.failed(operation, at, true));
        }
      },
    });
  }

  private complete({ slot, header, operation, queued }: Running, list: ScatterList, outcome: Outcome): void {
    const { state } = this;
    const { dma } = this.parts;
    if (list.fault) this.fail(INTERRUPT.HBFS);
    if (list.interrupt) this.raise(INTERRUPT.DPS);
    const failed = (outcome.status & STATUS.ERR) !== 0;
    if (queued) this.completeQueued(slot, operation, outcome);
    else {
      this.busySlot = undefined;
      dma.writeU32(gpa(header + HEADER.PRDBC), list.moved);
      const { protocol, direction, taskfile, packet } = operation;
      if (protocol === 'pio' && direction !== 'none') {
        this.receive(RECEIVED.PIO_SETUP, pioSetupFrame(outcome, operation));
        this.raise(INTERRUPT.PSS);
      }
      // After data that a disk sends by PIO, the last PIO setup frame has told it all (ACS-3 §4.3.4).
      if (protocol === 'pio' && direction === 'in' && !packet && !failed) {
        state.status = outcome.status;
        state.error = outcome.error;
      } else this.sendD2h(outcome, taskfile, true);
      if (!failed && !list.fault) state.issued = (state.issued & ~(1 << slot)) >>> 0;
    }
    this.parts.changed();
  }

  /** Set device bits: what has finished, or that all queued commands have failed (Serial ATA 3.0 §13.6.4.4). */
  private completeQueued(slot: number, { taskfile }: Operation, outcome: Outcome): void {
    const { state } = this;
    const tag = (taskfile.count >> 3) & 0x1f;
    const failed = (outcome.status & STATUS.ERR) !== 0;
    state.queued = (state.queued & ~(1 << slot)) >>> 0;
    const finished = failed ? 0 : (1 << tag) >>> 0;
    state.status = (state.status & (STATUS.BSY | STATUS.DRQ)) | (outcome.status & 0x77);
    state.error = outcome.error;
    state.active = (state.active & ~finished) >>> 0;
    this.receive(RECEIVED.SET_BITS, setBitsFrame(outcome, finished));
    this.raise(INTERRUPT.SDBS);
    if (!failed) return;
    // The drive gives up the other commands of its queue as well.
    this.life++;
    state.queued = 0;
    this.fail(INTERRUPT.TFES);
  }

  // ---- saved state ----

  save(): State {
    return { ...this.state };
  }

  restore(state: State): void {
    this.life++;
    this.busySlot = undefined;
    this.state = { ...state };
    // A command that was under way and not queued is still issued: it begins anew.
    if (!state.signaturePending && !state.halted && this.parts.drive && (state.link & 0xf) === 3)
      this.state.status &= ~STATUS.BSY;
  }

  /** Goes on with commands that were under way. */
  resume(): void {
    const { queued } = this.state;
    for (let slot = 0; slot < 32; slot++) if (queued & (1 << slot)) this.start(slot, true);
    this.serve();
  }
}
