/** An IDE channel with up to two drives: ATA/ATAPI-7 volume 2 (T13/1532D), host and device protocols of §9 … §11. */
import { assert } from '../../base/assert.js';
import type { IrqLine } from '../../iface/lines.js';
import type { IoHandler } from '../../iface/bus.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { AtaDrive, Operation, Outcome } from '../ata/drive.js';
import { COMMAND, DEVICE, READY, STATUS } from '../ata/registers.js';
import { moveData } from '../ata/transfer.js';
import { BusMaster } from './bus-master.js';
import { initialState, MAX_BLOCK, type ChannelState as State } from './channel-state.js';
import { FIFOS, REG, registerOf, showOutcome, showSignature, taskfileOf } from './task-file.js';

const CONTROL = { NO_INTERRUPT: 1 << 1, SRST: 1 << 2, HIGH_ORDER: 1 << 7 } as const;
/** Interrupt reason of packet devices, in the count: command or data, and to the host or from it. */
const REASON = { COMMAND: 1, TO_HOST: 2 } as const;
const PACKET_SIZE = 12;
export interface ChannelParts {
  readonly dma: Dma;
  readonly irq: IrqLine;
  readonly drives: readonly (AtaDrive | undefined)[];
}

export class IdeChannel {
  readonly busMaster: BusMaster;
  private readonly drives: readonly (AtaDrive | undefined)[];
  private state: Omit<State, 'busMaster'>;
  private life = 0;
  private readonly buffer = new Uint8Array(0x4_0000);

  constructor(private readonly parts: ChannelParts) {
    this.drives = parts.drives;
    this.state = initialState();
    this.busMaster = new BusMaster(parts.dma);
    this.busMaster.started = () => {
      if (this.state.phase === 'dma') this.moveByDma();
    };
    this.busMaster.stopped = () => {
      // Stopped in the middle: what is on its way is thrown away, the drive waits (§3.1 of the bus master's document).
      if (this.state.phase !== 'moving') return;
      this.life++;
      this.state.phase = 'dma';
    };
    this.signatures();
  }

  /** Bus reset. */
  reset(): void {
    this.life++;
    this.state = initialState();
    for (const drive of this.drives) drive?.reset(false);
    this.busMaster.reset();
    this.signatures();
    this.updateIrq();
  }

  private signatures(): void {
    this.drives.forEach((drive, i) => {
      if (drive) showSignature(this.state.drives[i], drive);
    });
  }

  private get selected(): number {
    return this.state.device & DEVICE.SECOND ? 1 : 0;
  }

  // ---- registers ----

  /** Eight ports. The data register is 16 bits wide, and takes accesses of 32 bits as two. */
  readonly commandBlock: IoHandler = {
    read: (offset, size) => {
      if (offset === REG.DATA) return this.readData(size);
      let value = 0;
      for (let i = 0; i < size; i++) value += this.readRegister(offset + i, true) * 2 ** (8 * i);
      return value;
    },
    peek: (offset, size) => {
      let value = 0;
      for (let i = 0; i < size; i++)
        value += (offset + i === REG.DATA ? 0 : this.readRegister(offset + i, false)) * 2 ** (8 * i);
      return value;
    },
    write: (offset, size, value) => {
      if (offset === REG.DATA) this.writeData(size, value);
      else for (let i = 0; i < size; i++) this.writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };

  /** One port: alternate status, device control. */
  readonly controlBlock: IoHandler = {
    widest: 1,
    read: () => this.status,
    peek: () => this.status,
    write: (_offset, _size, value) => this.writeControl(value),
  };

  private get status(): number {
    return this.drives[this.selected] ? this.state.drives[this.selected].status : 0;
  }

  private readRegister(offset: number, effects: boolean): number {
    const { state, selected } = this;
    // A drive that is not there: nobody answers for it.
    if (!this.drives[selected]) return 0;
    const registers = state.drives[selected];
    if (offset === REG.DEVICE) return state.device | 0xa0;
    if (offset >= REG.COMMAND && effects) this.setInterrupt(false);
    return registerOf(registers, offset, (state.control & CONTROL.HIGH_ORDER) !== 0);
  }

  private writeRegister(offset: number, value: number): void {
    const { state } = this;
    // Any write to the command block shows the newer values again.
    state.control &= ~CONTROL.HIGH_ORDER;
    if (offset === REG.COMMAND) {
      this.command(value);
      return;
    }
    // While a drive works on a command its registers are its own.
    if (state.phase !== 'idle' && state.phase !== 'dma') return;
    if (offset === REG.DEVICE) {
      state.device = value;
      return;
    }
    const name = FIFOS[offset - 1];
    for (const registers of state.drives) registers[name] = ((registers[name] & 0xff) << 8) | value;
  }

  private writeControl(value: number): void {
    const { state } = this;
    const before = state.control;
    state.control = value;
    if (!(before & CONTROL.SRST) && value & CONTROL.SRST) {
      this.giveUp();
      for (const registers of state.drives) registers.status = STATUS.BSY;
    } else if (before & CONTROL.SRST && !(value & CONTROL.SRST)) {
      for (const drive of this.drives) drive?.reset(true);
      state.device &= ~DEVICE.SECOND;
      this.signatures();
    }
    this.updateIrq();
  }

  private giveUp(): void {
    const { state } = this;
    this.life++;
    state.phase = 'idle';
    state.operation = null;
    state.block = new Uint8Array(0);
    state.position = state.moved = 0;
    state.interrupt = false;
  }

  private setInterrupt(asserted: boolean): void {
    if (asserted && !this.state.interrupt) this.busMaster.interrupt();
    this.state.interrupt = asserted;
    this.updateIrq();
  }

  private updateIrq(): void {
    this.parts.irq.set(this.state.interrupt && !(this.state.control & CONTROL.NO_INTERRUPT));
  }

  // ---- commands ----

  private command(code: number): void {
    const { state, selected } = this;
    if (state.control & CONTROL.SRST) return;
    if (code === COMMAND.DEVICE_RESET && this.drives[selected]?.packets) this.giveUp();
    else if (code === COMMAND.EXECUTE_DIAGNOSTIC) {
      this.giveUp();
      // Both drives carry it out, the first one answers.
      state.device &= ~DEVICE.SECOND;
      this.signatures();
      this.setInterrupt(true);
      return;
    } else if (state.phase !== 'idle' && state.phase !== 'dma') return;
    const drive = this.drives[selected];
    if (!drive) return;
    this.giveUp();
    this.updateIrq();
    state.owner = selected;
    const registers = state.drives[selected];
    registers.error = 0;
    registers.status = STATUS.BSY;
    this.begin(drive.begin(taskfileOf(registers, state.device, code)));
  }

  private get drive(): AtaDrive {
    const drive = this.drives[this.state.owner];
    assert(drive !== undefined, 'the owner of an operation is a drive that is there');
    return drive;
  }

  private begin(operation: Operation): void {
    const { state } = this;
    const registers = state.drives[state.owner];
    state.operation = operation;
    state.moved = 0;
    if (operation.action === 'packet') {
      registers.count = REASON.COMMAND;
      this.offer('packet', PACKET_SIZE, false);
    } else if (operation.direction === 'none' || operation.length === 0) this.finish();
    else if (operation.protocol === 'dma') {
      state.phase = 'dma';
      registers.status = STATUS.DRDY | STATUS.DSC | STATUS.DRQ;
      if (this.busMaster.running) this.moveByDma();
    } else if (operation.direction === 'in') this.fetch();
    else this.offerBlock(operation, operation.packet !== null);
  }

  /** Data, or the packet, may move by programmed I/O. */
  private offer(phase: 'packet' | 'in' | 'out', size: number, interrupt: boolean): void {
    const { state } = this;
    state.phase = phase;
    if (state.block.length !== size) state.block = new Uint8Array(size);
    state.position = 0;
    state.drives[state.owner].status = READY | STATUS.DRQ;
    if (interrupt) this.setInterrupt(true);
  }

  private blockSize({ length, block }: Operation): number {
    return Math.min(Math.max(block, 1), length - this.state.moved, MAX_BLOCK);
  }

  private offerBlock(operation: Operation, interrupt: boolean): void {
    const size = this.blockSize(operation);
    this.showByteCount(operation, size);
    this.offer(operation.direction === 'in' ? 'in' : 'out', size, interrupt);
  }

  /** Packet devices say how much moves and which way. */
  private showByteCount({ packet, direction }: Operation, size: number): void {
    if (!packet) return;
    const registers = this.state.drives[this.state.owner];
    registers.count = direction === 'in' ? REASON.TO_HOST : 0;
    registers.mid = size & 0xff;
    registers.high = size >> 8;
  }

  /** Gets the next block from the drive. */
  private fetch(): void {
    const { state, life } = this;
    const { operation } = state;
    if (!operation) return;
    state.phase = 'fetch';
    state.drives[state.owner].status = STATUS.BSY;
    const block = new Uint8Array(this.blockSize(operation));
    this.drive.send(operation, state.moved, block, (ok) => {
      if (life !== this.life) return;
      if (!ok) {
        this.complete(this.drive.failed(operation, state.moved, false), true);
        return;
      }
      state.block = block;
      this.offerBlock(operation, true);
    });
  }

  /** Hands a block that the host has written to the drive. */
  private store(): void {
    const { state, life } = this;
    const { operation } = state;
    if (!operation) return;
    state.phase = 'store';
    state.drives[state.owner].status = STATUS.BSY;
    this.drive.receive(operation, state.moved, state.block, (ok) => {
      if (life !== this.life) return;
      if (!ok) {
        this.complete(this.drive.failed(operation, state.moved, false), true);
        return;
      }
      state.moved += state.block.length;
      if (state.moved >= operation.length) this.finish();
      else this.offerBlock(operation, true);
    });
  }

  private moveByDma(): void {
    const { state, life } = this;
    const { operation } = state;
    if (!operation) return;
    const list = this.busMaster.pieces();
    // The wrong way round, nothing moves and the drive waits.
    if (this.busMaster.toMemory !== (operation.direction === 'in')) return;
    state.phase = 'moving';
    state.drives[state.owner].status = STATUS.BSY;
    moveData({
      drive: this.drive,
      operation,
      list,
      buffer: this.buffer,
      current: () => life === this.life,
      done: (result, at) => {
        if (result === 'short') {
          // The host gave less room than the command has data: the drive waits, until it is reset.
          state.phase = 'dma';
          state.drives[state.owner].status = READY | STATUS.DRQ;
          this.busMaster.exhausted(list.fault);
        } else {
          if (!list.more || list.fault) this.busMaster.exhausted(list.fault);
          if (result === 'failed') this.complete(this.drive.failed(operation, at, false), true);
          else this.finish();
        }
      },
    });
  }

  /** All data have moved. */
  private finish(): void {
    const { state, life } = this;
    const { operation } = state;
    if (!operation) return;
    state.phase = 'finish';
    state.drives[state.owner].status = STATUS.BSY;
    // The last block that a disk sends by programmed I/O has had its interrupt.
    const silent = operation.protocol === 'pio' && operation.direction === 'in' && !operation.packet;
    this.drive.finish(operation, (outcome) => {
      if (life === this.life) this.complete(outcome, !silent);
    });
  }

  private complete(outcome: Outcome, interrupt: boolean): void {
    const { state } = this;
    const registers = state.drives[state.owner];
    showOutcome(registers, outcome);
    state.phase = 'idle';
    state.operation = null;
    state.block = new Uint8Array(0);
    state.position = state.moved = 0;
    if (interrupt) this.setInterrupt(true);
  }

  // ---- data register ----

  private readData(size: number): number {
    const { state } = this;
    if (state.phase !== 'in' || state.owner !== this.selected) return 0;
    const width = size === 1 ? 2 : size;
    let value = 0;
    for (let i = 0; i < width && state.position < state.block.length; i++)
      value += state.block[state.position++] * 2 ** (8 * i);
    if (state.position >= state.block.length) this.blockTaken();
    return size === 1 ? value & 0xff : value;
  }

  private blockTaken(): void {
    const { state } = this;
    const { operation } = state;
    if (!operation) return;
    state.moved += state.block.length;
    if (state.moved >= operation.length) this.finish();
    else this.fetch();
  }

  private writeData(size: number, value: number): void {
    const { state } = this;
    if ((state.phase !== 'out' && state.phase !== 'packet') || state.owner !== this.selected) return;
    const width = size === 1 ? 2 : size;
    for (let i = 0; i < width && state.position < state.block.length; i++)
      state.block[state.position++] = (value >>> (8 * i)) & 0xff;
    if (state.position < state.block.length) return;
    if (state.phase === 'out') this.store();
    else if (state.operation) {
      const registers = state.drives[state.owner];
      registers.status = STATUS.BSY;
      const packet = state.block;
      state.block = new Uint8Array(0);
      const limit = (registers.mid & 0xff) | ((registers.high & 0xff) << 8);
      this.begin(this.drive.beginPacket(state.operation, packet, limit));
    }
  }

  // ---- saved state ----

  /** After a restore: what the back end was doing begins anew. */
  resume(): void {
    switch (this.state.phase) {
      case 'fetch':
        this.fetch();
        break;
      case 'store':
        this.store();
        break;
      case 'moving':
        this.moveByDma();
        break;
      case 'finish':
        this.finish();
        break;
      default:
        break;
    }
  }

  save(): State {
    const { state } = this;
    const { operation } = state;
    return {
      ...state,
      drives: state.drives.map((registers) => ({ ...registers })),
      operation: operation && { ...operation, data: operation.data?.slice() ?? null },
      block: state.block.slice(),
      busMaster: this.busMaster.save(),
    };
  }

  restore({ busMaster, ...state }: State): void {
    this.life++;
    const { operation, owner } = state;
    // An operation without its drive, or without the data it needs, is nothing that was saved.
    const consistent = operation === null ? state.phase === 'idle' : this.drives[owner] !== undefined;
    this.state = {
      ...state,
      ...(!consistent && { phase: 'idle' as const, operation: null }),
      drives: state.drives.map((registers) => ({ ...registers })),
      block: state.block.slice(0, MAX_BLOCK),
    };
    this.busMaster.restore(busMaster);
    this.updateIrq();
  }
}
