/** Bus master of one IDE channel: "Programming Interface for Bus Master IDE Controller" revision 1.0 (Intel, 1994). */
import { gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import { struct, u32, u8, type Infer } from '../../snapshot/schema.js';
import { ScatterList, type Piece } from '../ata/transfer.js';

export const busMasterSchema = struct({ command: u8, status: u8, table: u32 });
type State = Infer<typeof busMasterSchema>;

const COMMAND = { START: 1 << 0, TO_MEMORY: 1 << 3 } as const;
const STATUS = { ACTIVE: 1 << 0, ERROR: 1 << 1, INTERRUPT: 1 << 2, CAPABLE: 3 << 5 } as const;
/** Offsets; eight bytes to a channel. */
const REG = { COMMAND: 0, STATUS: 2, TABLE: 4 } as const;
/** A table of descriptors does not cross a boundary of 64 KiB: it has no more than these. */
const MAX_PIECES = 0x1_0000 / 8;

export class BusMaster {
  private state: State = { command: 0, status: 0, table: 0 };
  private list: ScatterList | undefined;
  /** Called when the host starts the engine, and when it stops it. */
  started: () => void = () => {};
  stopped: () => void = () => {};

  constructor(private readonly dma: Dma) {}

  get running(): boolean {
    return (this.state.command & COMMAND.START) !== 0 && (this.state.status & STATUS.ACTIVE) !== 0;
  }

  get toMemory(): boolean {
    return (this.state.command & COMMAND.TO_MEMORY) !== 0;
  }

  /** The list of pieces, from where the last transfer left it. */
  pieces(): ScatterList {
    return (this.list ??= this.newList());
  }

  private newList(): ScatterList {
    const { table } = this.state;
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    let ended = false;
    return new ScatterList(this.dma, (index): Piece | undefined => {
      if (ended || index >= MAX_PIECES) return undefined;
      // The table wraps within its 64 KiB.
      const at = (table & 0xffff_0000) + ((table + 8 * index) & 0xffff);
      if (!this.dma.read(gpa(at >>> 0), bytes)) return undefined;
      ended = (bytes[7] & 0x80) !== 0;
      return {
        address: gpa((view.getUint32(0, true) & ~1) >>> 0),
        length: view.getUint16(4, true) & ~1 || 0x1_0000,
        interrupt: false,
      };
    });
  }

  /** The drive has asked for an interrupt. */
  interrupt(): void {
    this.state.status |= STATUS.INTERRUPT;
  }

  /** All pieces have been used: the engine is idle (§3.1). */
  exhausted(fault: boolean): void {
    this.state.status &= ~STATUS.ACTIVE;
    if (fault) this.state.status |= STATUS.ERROR;
  }

  read(offset: number): number {
    switch (offset) {
      case REG.COMMAND:
        return this.state.command;
      case REG.STATUS:
        return this.state.status;
      default:
        return offset >= REG.TABLE ? (this.state.table >>> (8 * (offset - REG.TABLE))) & 0xff : 0;
    }
  }

  /** A byte at a time. */
  write(offset: number, value: number): void {
    const { state } = this;
    switch (offset) {
      case REG.COMMAND:
        this.writeCommand(value);
        break;
      case REG.STATUS:
        state.status =
          (state.status & ~STATUS.CAPABLE & ~(value & (STATUS.ERROR | STATUS.INTERRUPT))) | (value & STATUS.CAPABLE);
        break;
      default: {
        if (offset < REG.TABLE) break;
        const shift = 8 * (offset - REG.TABLE);
        state.table = (((state.table & ~(0xff << shift)) | (value << shift)) & ~3) >>> 0;
      }
    }
  }

  private writeCommand(value: number): void {
    const { state } = this;
    const before = state.command;
    state.command = value & (COMMAND.START | COMMAND.TO_MEMORY);
    if (!(before & COMMAND.START) && value & COMMAND.START) {
      state.status |= STATUS.ACTIVE;
      this.list = undefined;
      this.started();
    } else if (before & COMMAND.START && !(value & COMMAND.START)) {
      state.status &= ~STATUS.ACTIVE;
      this.stopped();
    }
  }

  reset(): void {
    this.state = { command: 0, status: 0, table: 0 };
    this.list = undefined;
  }

  save(): State {
    return { ...this.state };
  }

  restore(state: State): void {
    this.state = { ...state };
    this.list = undefined;
  }
}
