/**
 * Floppy disk controller 82077AA in its PC/AT mode (Intel 290166-007). Motors are up to speed and heads settled at once; a
 * command is over before the next instruction, unless the disk's back end takes longer or the host moves the data itself.
 */
import type { IoHandler } from '../../../iface/bus.js';
import type { IrqLine } from '../../../iface/lines.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import type { DmaChannel } from '../dma8237/dma-8237.js';
import { DRIVES, fdcSchema, initialState, type FdcState as State } from './fdc-state.js';
import { sectorOffset, type FloppyDisk, type FloppyDrive } from './floppy-drive.js';
import { COMMAND, COMMANDS, DISK_CHANGE, DOR, DSR, ENHANCED, MSR, OPTION, REG, ST0, ST1, ST3 } from './registers.js';
import { SectorTransfer, type TransferEnd } from './sector-transfer.js';

/** CONFIGURE: implied seeks. */
const IMPLIED_SEEK = 1 << 6;

export interface FdcParts {
  readonly irq: IrqLine;
  readonly dma: DmaChannel;
  /** A … D; one that is left out is not there. */
  readonly drives: readonly FloppyDrive[];
}

export class Fdc implements Snapshotable<State> {
  readonly id = 'fdc';
  readonly stateVersion = 1;
  readonly stateSchema = fdcSchema;
  private state: Omit<State, 'transfer' | 'buffer'>;
  private readonly transfer: SectorTransfer;

  constructor(private readonly parts: FdcParts) {
    this.state = initialState();
    this.transfer = new SectorTransfer({ dma: parts.dma, end: (end) => this.ended(end) });
  }

  /** Four ports at 3f2h. */
  readonly ports: IoHandler = {
    widest: 1,
    read: (offset) => this.read(offset, true),
    peek: (offset) => this.read(offset, false),
    write: (offset, _size, value) => this.write(offset, value),
  };

  /** One port at 3f7h: digital input (the disk was changed), configuration control (data rate). */
  readonly changePort: IoHandler = {
    widest: 1,
    read: () => this.diskChange(),
    peek: () => this.diskChange(),
    write: (_offset, _size, value) => {
      this.state.rate = value & DSR.RATE;
    },
  };

  private disk(drive: number): FloppyDisk | undefined {
    return this.parts.drives.at(drive)?.disk;
  }

  /** Puts another disk into a drive that is there, or takes it out; a command that was reading or writing it fails. */
  change(drive: number, disk: FloppyDisk | undefined): void {
    const old = this.disk(drive);
    this.parts.drives[drive].disk = disk;
    this.state.changed |= 1 << drive;
    if (old) this.transfer.removed(old);
  }

  private get drive(): number {
    return this.state.dor & DOR.DRIVE;
  }

  private diskChange(): number {
    const { dor, changed } = this.state;
    const { drive } = this;
    // Only a drive whose motor is on has something to say.
    if (!(dor & (DOR.MOTOR << drive))) return 0;
    return this.disk(drive) === undefined || changed & (1 << drive) ? DISK_CHANGE : 0;
  }

  private read(offset: number, effects: boolean): number {
    const { state } = this;
    switch (offset) {
      case REG.DOR:
        return state.dor;
      case REG.TDR:
        return state.tdr;
      case REG.MSR:
        return this.mainStatus();
      default:
        return effects ? this.readData() : (state.result[0] ?? 0);
    }
  }

  private mainStatus(): number {
    const { state } = this;
    if (!(state.dor & DOR.NOT_RESET)) return 0;
    switch (state.phase) {
      case 'command':
        return MSR.READY | (state.command.length > 0 ? MSR.BUSY : 0);
      case 'result':
        return MSR.READY | MSR.TO_HOST | MSR.BUSY;
      default: {
        const { host } = this.transfer;
        if (host === undefined) return MSR.BUSY;
        return MSR.READY | MSR.NON_DMA | MSR.BUSY | (host === 'reads' ? MSR.TO_HOST : 0);
      }
    }
  }

  private write(offset: number, value: number): void {
    const { state } = this;
    switch (offset) {
      case REG.DOR: {
        const before = state.dor;
        state.dor = value;
        if (before & DOR.NOT_RESET && !(value & DOR.NOT_RESET)) this.softReset();
        else if (!(before & DOR.NOT_RESET) && value & DOR.NOT_RESET) this.released();
        this.updateIrq();
        break;
      }
      case REG.TDR:
        state.tdr = value & 3;
        break;
      case REG.MSR:
        state.rate = value & DSR.RATE;
        if (value & DSR.RESET && state.dor & DOR.NOT_RESET) {
          this.softReset();
          this.released();
        }
        break;
      default:
        this.writeData(value);
    }
  }

  /** §2.1.2, §4.2: a command that is under way is lost; what LOCK has not fixed goes back to defaults. */
  private softReset(): void {
    const { state } = this;
    this.transfer.cancel();
    state.phase = 'command';
    state.command = [];
    state.result = [];
    state.interrupt = false;
    state.waiting = 0;
    if (!state.locked) state.configure = [0, 0];
    this.updateIrq();
  }

  /** Out of reset: polling finds all drives "not ready → ready", each to be acknowledged (§5.2.9). */
  private released(): void {
    this.state.waiting = 0xf;
    for (let drive = 0; drive < DRIVES; drive++) this.state.sense[drive] = ST0.POLLED | drive;
    this.setInterrupt(true);
  }

  private setInterrupt(asserted: boolean): void {
    this.state.interrupt = asserted;
    this.updateIrq();
  }

  private updateIrq(): void {
    const { interrupt, dor } = this.state;
    this.parts.irq.set(interrupt && (dor & DOR.GATE) !== 0);
  }

  // ---- command, execution, result ----

  private writeData(value: number): void {
    const { state } = this;
    if (!(state.dor & DOR.NOT_RESET)) return;
    if (state.phase === 'execution') {
      this.transfer.hostWrites(value);
      return;
    }
    if (state.phase !== 'command') return;
    state.command.push(value);
    const known = lookUp(state.command[0]);
    if (!known) this.finish([ST0.INVALID], false);
    else if (state.command.length === known.length) this.execute(known.code);
  }

  private readData(): number {
    const { state } = this;
    if (state.phase === 'execution') return this.transfer.hostReads();
    if (state.phase !== 'result') return 0;
    // The first byte of a result takes the interrupt back.
    this.setInterrupt(false);
    const value = state.result.shift() ?? 0;
    if (state.result.length === 0) {
      state.phase = 'command';
      state.command = [];
    }
    return value;
  }

  /** Ends a command; without a result it is over at once. */
  private finish(result: readonly number[], interrupt: boolean): void {
    const { state } = this;
    state.result = [...result];
    state.phase = result.length > 0 ? 'result' : 'command';
    if (result.length === 0) state.command = [];
    if (interrupt) this.setInterrupt(true);
  }

  private execute(code: number): void {
    const { state } = this;
    const { command } = state;
    const drive = command[1] & DOR.DRIVE;
    switch (code) {
      case COMMAND.SPECIFY:
        state.specify = [command[1], command[2]];
        this.finish([], false);
        break;
      case COMMAND.SENSE_DRIVE:
        this.finish([this.driveStatus(command[1] & 7)], false);
        break;
      case COMMAND.RECALIBRATE:
        this.seek(drive, 0, 0);
        break;
      case COMMAND.SEEK:
        if (command[0] & OPTION.RELATIVE) {
          const step = command[0] & OPTION.INWARDS ? command[2] : -command[2];
          this.seek(drive, Math.max(0, Math.min(0xff, state.cylinders[drive] + step)), command[1] & ST0.SIDE);
        } else this.seek(drive, command[2], command[1] & ST0.SIDE);
        break;
      case COMMAND.SENSE_INTERRUPT:
        this.senseInterrupt();
        break;
      case COMMAND.VERSION:
        this.finish([ENHANCED], false);
        break;
      case COMMAND.PERPENDICULAR:
        // OW says whether the bits of drives are meant as well.
        state.perpendicular = command[1] & 0x80 ? command[1] & 0x3f : (state.perpendicular & 0x3c) | (command[1] & 3);
        this.finish([], false);
        break;
      case COMMAND.CONFIGURE:
        state.configure = [command[2], command[3]];
        this.finish([], false);
        break;
      case COMMAND.LOCK:
        state.locked = (command[0] & 0x80) !== 0;
        this.finish([state.locked ? 0x10 : 0], false);
        break;
      case COMMAND.DUMP_REGISTERS:
        this.finish(
          [
            ...state.cylinders,
            ...state.specify,
            state.lastSector,
            (state.locked ? 0x80 : 0) | state.perpendicular,
            ...state.configure,
          ],
          false,
        );
        break;
      case COMMAND.READ_ID:
        this.readId(drive);
        break;
      default:
        this.startTransfer(code, drive);
    }
  }

  private driveStatus(select: number): number {
    const drive = select & 3;
    const disk = this.disk(drive);
    if (!disk)
      return select | ST3.READY | (this.parts.drives.at(drive) && this.state.cylinders[drive] === 0 ? ST3.TRACK_0 : 0);
    return (
      select |
      ST3.READY |
      (disk.format.heads > 1 ? ST3.TWO_SIDES : 0) |
      (this.state.cylinders[drive] === 0 ? ST3.TRACK_0 : 0) |
      (disk.backend.readOnly ? ST3.PROTECTED : 0)
    );
  }

  private seek(drive: number, cylinder: number, side: number): void {
    const { state } = this;
    const there = this.parts.drives.at(drive) !== undefined;
    state.cylinders[drive] = cylinder;
    // The line stays active for as long as there is no disk.
    if (this.disk(drive)) state.changed &= ~(1 << drive);
    // A drive that is not there never says that it has found track 0.
    const lost = !there && cylinder === 0 ? ST0.CHECK | ST0.ABNORMAL : 0;
    state.sense[drive] = ST0.SEEK_END | side | drive | lost;
    state.waiting |= 1 << drive;
    this.finish([], true);
  }

  private senseInterrupt(): void {
    const { state } = this;
    const drive = [0, 1, 2, 3].find((one) => state.waiting & (1 << one));
    if (drive === undefined) {
      this.finish([ST0.INVALID], false);
      return;
    }
    state.waiting &= ~(1 << drive);
    state.interrupt = false;
    this.finish([state.sense[drive], state.cylinders[drive]], false);
    // One interrupt stands for all drives after a reset; each seek has its own.
    this.updateIrq();
  }

  /** The disk in a drive, if it can be read at the data rate that is set. */
  private readable(drive: number): FloppyDisk | undefined {
    const disk = this.disk(drive);
    return disk?.format.rates.includes(this.state.rate) ? disk : undefined;
  }

  private readId(drive: number): void {
    const { state } = this;
    const head = (state.command[1] >> 2) & 1;
    const disk = this.readable(drive);
    const found = disk && sectorOffset(disk, state.cylinders[drive], head, 1) !== undefined;
    const select = drive | (head << 2);
    this.finish(
      found
        ? [select, 0, 0, state.cylinders[drive], head, 1, 2]
        : [ST0.ABNORMAL | select, ST1.NO_MARK, 0, state.cylinders[drive], head, 1, 2],
      true,
    );
  }

  private startTransfer(code: number, drive: number): void {
    const { state } = this;
    const { command } = state;
    state.phase = 'execution';
    const format = code === COMMAND.FORMAT;
    // Drive and head select, then (unless a track is formatted) cylinder, head, sector, size, last sector.
    if (!format) {
      state.lastSector = command[6];
      if (state.configure[0] & IMPLIED_SEEK) {
        state.cylinders[drive] = command[2];
        if (this.disk(drive)) state.changed &= ~(1 << drive);
      }
    } else state.lastSector = command[3];
    const nonDma = (state.specify[1] & 1) !== 0;
    this.transfer.start(
      { code, command, cylinder: state.cylinders[drive], nonDma, gate: (state.dor & DOR.GATE) !== 0 },
      this.readable(drive),
      () => this.setInterrupt(true),
    );
  }

  private ended({ st0, st1, st2, id }: TransferEnd): void {
    const select = this.state.command[1] & 7;
    const abnormal = st0 !== 0 ? ST0.ABNORMAL : 0;
    this.finish([abnormal | select, st1, st2, ...id], true);
  }

  // ---- saved state ----

  /** After a restore: goes on with what the back end was doing. */
  resume(): void {
    if (this.state.phase === 'execution') this.transfer.resume();
  }

  save(): State {
    const { state } = this;
    return {
      ...state,
      command: [...state.command],
      result: [...state.result],
      sense: [...state.sense],
      cylinders: [...state.cylinders],
      specify: [...state.specify],
      configure: [...state.configure],
      ...this.transfer.save(),
    };
  }

  restore({ transfer, buffer, ...state }: State): void {
    this.state = {
      ...state,
      command: [...state.command],
      result: [...state.result],
      sense: [...state.sense],
      cylinders: [...state.cylinders],
      specify: [...state.specify],
      configure: [...state.configure],
    };
    const drive = (this.state.command[1] ?? 0) & DOR.DRIVE;
    this.transfer.restore(transfer, buffer, this.readable(drive), () => this.setInterrupt(true));
    this.updateIrq();
  }
}

/** The command that a first byte begins. */
function lookUp(first: number): { readonly code: number; readonly length: number } | undefined {
  const code = first & 0x1f;
  const known = COMMANDS.get(code);
  if (!known || first & 0xe0 & ~known.options) return undefined;
  return { code, length: known.length };
}
