/** The execution phase of the floppy controller's data commands, sector by sector (290166-007 §5.1, §6). */
import { bool, int, oneOf, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import { repeat } from '../../ata/transfer.js';
import type { DmaChannel } from '../dma8237/dma-8237.js';
import { SECTOR, sectorOffset, type FloppyDisk } from './floppy-drive.js';
import { COMMAND, OPTION, ST1, ST2 } from './registers.js';

export const transferSchema = struct({
  action: oneOf('none', 'read', 'write', 'verify', 'scan', 'format'),
  code: u8,
  multiTrack: bool,
  /** Where the heads are, and the side that is in use. */
  track: u8,
  head: range(0, 1),
  /** Sector identifier that is looked for. */
  id: struct({ cylinder: u8, head: u8, sector: u8, size: u8 }),
  last: u8,
  /** Fill byte, of a format. */
  fill: u8,
  nonDma: bool,
  gate: bool,
  /** Whose turn it is: the back end's, or the host's by programmed I/O. */
  turn: oneOf('disk', 'host'),
  /** How far the sector in the buffer has moved. */
  position: int,
  /** Terminal count was reached. */
  terminal: bool,
  /** Sectors done. */
  sectors: range(0, 512),
});
type State = Infer<typeof transferSchema>;

/** Status bytes and the identifier that the result shows. */
export interface TransferEnd {
  /** Not 0: abnormal. */
  readonly st0: number;
  readonly st1: number;
  readonly st2: number;
  readonly id: readonly [cylinder: number, head: number, sector: number, size: number];
}

export interface TransferRequest {
  readonly code: number;
  readonly command: readonly number[];
  readonly cylinder: number;
  readonly nonDma: boolean;
  /** Whether the controller's DMA and interrupt lines are connected. */
  readonly gate: boolean;
}

export interface TransferParts {
  readonly dma: DmaChannel;
  end(end: TransferEnd): void;
}

export class SectorTransfer {
  private state = idle();
  private buffer = new Uint8Array(0);
  private disk: FloppyDisk | undefined;
  private life = 0;
  private interrupt: () => void = () => {};

  constructor(private readonly parts: TransferParts) {}

  /** Whether the host has to move bytes, and which way. */
  get host(): 'reads' | 'writes' | undefined {
    if (this.state.action === 'none' || this.state.turn !== 'host') return undefined;
    return this.state.action === 'read' ? 'reads' : 'writes';
  }

  cancel(): void {
    this.life++;
    this.state = idle();
  }

  /** A disk was taken out: what is under way on it finds no more sectors. */
  removed(disk: FloppyDisk): void {
    if (this.state.action !== 'none' && this.disk === disk) this.end(ST1.NO_MARK, 0);
  }

  /** `interrupt`: tells the host that bytes wait, without DMA. */
  start(request: TransferRequest, disk: FloppyDisk | undefined, interrupt: () => void): void {
    const { code, command, cylinder, nonDma, gate } = request;
    const format = code === COMMAND.FORMAT;
    const head = ((command[1] >> 2) & 1) as 0 | 1;
    const [c, h, r, n, last] = format ? [cylinder, head, 1, command[2], command[3]] : command.slice(2, 7);
    this.life++;
    this.disk = disk;
    this.interrupt = interrupt;
    this.state = {
      action: actionOf(code),
      code,
      multiTrack: !format && (command[0] & OPTION.MULTI_TRACK) !== 0 && code !== COMMAND.READ_TRACK,
      track: cylinder,
      head,
      // A whole track is read from its first sector on.
      id: { cylinder: c, head: h, sector: code === COMMAND.READ_TRACK ? 1 : r, size: n },
      last,
      fill: format ? command[5] : 0,
      nonDma,
      gate,
      turn: 'disk',
      position: 0,
      terminal: false,
      sectors: 0,
    };
    const writes = this.state.action === 'write' || format;
    if (!disk) this.end(ST1.NO_MARK, 0);
    else if (writes && disk.backend.readOnly) this.end(ST1.WRITE_PROTECTED, 0);
    else this.run();
  }

  private end(st1: number, st2: number): void {
    const { id } = this.state;
    this.life++;
    this.state = idle();
    const failed = (st2 & ST2.SCAN_FAILED) === 0 && (st1 | st2) !== 0 && st2 !== ST2.SCAN_EQUAL;
    this.parts.end({
      st0: failed ? 1 : 0,
      st1,
      st2,
      id: [id.cylinder, id.head, id.sector, id.size],
    });
  }

  /** Sector after sector, for as long as neither back end nor host keep us waiting. */
  private run(): void {
    repeat((next) => {
      const { state } = this;
      if (state.action === 'none') return;
      if (state.action === 'format') this.fetchFromHost(4, () => this.formatSector(next));
      else {
        const offset = this.find();
        if (offset === undefined) return;
        if (state.action === 'read') this.readSector(offset, () => this.toHost(() => this.sectorDone(next)));
        else if (state.action === 'write') this.fetchFromHost(SECTOR, () => this.writeSector(offset, next));
        else if (state.action === 'scan')
          this.readSector(offset, () => this.compare(this.buffer.slice(), () => this.sectorDone(next)));
        else this.readSector(offset, () => this.sectorDone(next));
      }
    });
  }

  /** Where the sector is that is looked for. Ends the command when it does not come by. */
  private find(): number | undefined {
    const { id, track, head, code } = this.state;
    const { disk } = this;
    if (!disk) return undefined;
    const offset = sectorOffset(disk, track, head, id.sector);
    if (sectorOffset(disk, track, head, 1) === undefined) this.end(ST1.NO_MARK, 0);
    // Identifiers on the disk are those of where they are; READ TRACK takes sectors as they come.
    else if (code !== COMMAND.READ_TRACK && id.cylinder !== track) this.end(ST1.NO_DATA, ST2.WRONG_CYLINDER);
    // Disks have data, not deleted data.
    else if (offset === undefined || id.head !== head || id.size !== 2) this.end(ST1.NO_DATA, 0);
    else if (code === COMMAND.READ_DELETED) this.end(0, ST2.CONTROL_MARK);
    else return offset;
    return undefined;
  }

  private readSector(offset: number, then: () => void): void {
    const { life, disk } = this;
    const sector = new Uint8Array(SECTOR);
    this.state.turn = 'disk';
    disk?.backend.read(offset, sector, (status) => {
      if (life !== this.life) return;
      this.buffer = sector;
      if (status === 'ok') then();
      else this.end(ST1.DATA_ERROR, ST2.DATA_ERROR);
    });
  }

  private writeSector(offset: number, next: () => void): void {
    const { life, disk } = this;
    this.state.turn = 'disk';
    disk?.backend.write(offset, this.buffer, (status) => {
      if (life !== this.life) return;
      if (status === 'ok') this.sectorDone(next);
      else this.end(ST1.DATA_ERROR, ST2.DATA_ERROR);
    });
  }

  /** Four bytes of identifier have come: the sector of that name is filled. */
  private formatSector(next: () => void): void {
    const { state, disk } = this;
    const [cylinder, head, sector, size] = this.buffer;
    const here = cylinder === state.track && head === state.head && size === 2;
    const offset = here && disk ? sectorOffset(disk, state.track, state.head, sector) : undefined;
    // Anything else would be a format that the image cannot hold.
    if (offset === undefined) {
      this.end(ST1.NO_DATA, 0);
      return;
    }
    this.buffer = new Uint8Array(SECTOR).fill(state.fill);
    // A track has as many sectors as are to be formatted, whatever the DMA controller counts.
    state.terminal = state.sectors + 1 >= state.last;
    this.writeSector(offset, next);
  }

  /** The sector in the buffer goes to the host. */
  private toHost(then: () => void): void {
    const { state } = this;
    if (state.nonDma) {
      this.waitForHost(SECTOR);
      return;
    }
    const moved = state.gate ? this.parts.dma.write(this.buffer) : 0;
    this.moved(moved, then);
  }

  /** `size` bytes come from the host. After the terminal count the rest of a sector is zeros. */
  private fetchFromHost(size: number, then: () => void): void {
    const { state } = this;
    this.buffer = new Uint8Array(size);
    if (state.nonDma) {
      this.waitForHost(size);
      return;
    }
    this.moved(state.gate ? this.parts.dma.read(this.buffer) : 0, then);
  }

  private moved(count: number, then: () => void): void {
    const { dma } = this.parts;
    if (dma.terminal) this.state.terminal = true;
    // Nobody came for the data in time.
    else if (count < this.buffer.length) {
      this.end(ST1.OVERRUN, 0);
      return;
    }
    then();
  }

  private compare(sector: Uint8Array, then: () => void): void {
    const { state } = this;
    this.fetchFromHost(SECTOR, () => {
      const equal = state.code === COMMAND.SCAN_EQUAL;
      const low = state.code === COMMAND.SCAN_LOW;
      // The host's bytes of FFh match anything.
      const all = sector.every((byte, i) => {
        const wanted = this.buffer[i];
        return wanted === 0xff || byte === wanted || (!equal && (low ? byte < wanted : byte > wanted));
      });
      const same = sector.every((byte, i) => this.buffer[i] === 0xff || byte === this.buffer[i]);
      if (!all) {
        then();
        return;
      }
      this.end(0, same ? ST2.SCAN_EQUAL : 0);
    });
  }

  /** §6.1.1: goes on to the next sector, or ends; the identifier then is the next one. */
  private sectorDone(next: () => void): void {
    const { state } = this;
    const { id } = state;
    state.sectors++;
    state.position = 0;
    if (state.code === COMMAND.READ_TRACK && state.sectors >= state.last) state.terminal = true;
    const atEnd = state.action === 'format' ? state.sectors >= state.last : id.sector === state.last;
    if (!atEnd) id.sector = (id.sector + 1) & 0xff;
    else if (state.multiTrack && state.head === 0) {
      state.head = 1;
      id.head ^= 1;
      id.sector = 1;
    } else {
      id.cylinder = (id.cylinder + 1) & 0xff;
      id.sector = 1;
      if (state.multiTrack) id.head ^= 1;
      const failed = state.terminal || state.action === 'verify' || state.action === 'format' ? 0 : ST1.END;
      this.end(failed, state.action === 'scan' ? ST2.SCAN_FAILED : 0);
      return;
    }
    // A disk has no more than 256 sectors that one command can name, on two sides.
    if (state.terminal || state.sectors >= 512) this.end(0, state.action === 'scan' ? ST2.SCAN_FAILED : 0);
    else next();
  }

  // ---- programmed I/O ----

  private waitForHost(size: number): void {
    this.state.turn = 'host';
    this.state.position = 0;
    if (this.buffer.length !== size) this.buffer = new Uint8Array(size);
    this.interrupt();
  }

  hostReads(): number {
    const { state } = this;
    if (this.host !== 'reads') return 0;
    const value = this.buffer[state.position++] ?? 0;
    if (state.position >= this.buffer.length) this.goOn();
    return value;
  }

  hostWrites(value: number): void {
    const { state } = this;
    if (this.host !== 'writes') return;
    if (state.position < this.buffer.length) this.buffer[state.position] = value;
    state.position++;
    if (state.position >= this.buffer.length) this.goOn();
  }

  /** The host has moved a buffer's worth of bytes. */
  private goOn(): void {
    const { state } = this;
    const next = (): void => this.run();
    state.turn = 'disk';
    if (state.action === 'read') this.sectorDone(next);
    else if (state.action === 'format') this.formatSector(next);
    else if (state.action === 'write') {
      const offset = this.find();
      if (offset !== undefined) this.writeSector(offset, next);
    } else this.end(ST1.OVERRUN, 0);
  }

  // ---- saved state ----

  save(): { transfer: State; buffer: Uint8Array } {
    return { transfer: { ...this.state, id: { ...this.state.id } }, buffer: this.buffer.slice() };
  }

  /** `disk` and `interrupt` as `start` got them. */
  restore(state: State, buffer: Uint8Array, disk: FloppyDisk | undefined, interrupt: () => void): void {
    this.disk = disk;
    this.interrupt = interrupt;
    this.life++;
    this.state = { ...state, id: { ...state.id } };
    this.buffer = buffer.slice();
  }

  resume(): void {
    const { state, disk } = this;
    if (state.action === 'none') return;
    if (!disk) this.end(ST1.NO_MARK, 0);
    else if (state.turn === 'host') return;
    // Bytes that have come for a sector stay; it is written again. What was read is read again.
    else if (state.action === 'write' && this.buffer.length === SECTOR) {
      const offset = this.find();
      if (offset !== undefined) this.writeSector(offset, () => this.run());
    } else this.run();
  }
}

function actionOf(code: number): State['action'] {
  switch (code) {
    case COMMAND.WRITE_DATA:
    case COMMAND.WRITE_DELETED:
      return 'write';
    case COMMAND.FORMAT:
      return 'format';
    case COMMAND.VERIFY:
      return 'verify';
    case COMMAND.SCAN_EQUAL:
    case COMMAND.SCAN_LOW:
    case COMMAND.SCAN_HIGH:
      return 'scan';
    default:
      return 'read';
  }
}

const idle = (): State => ({
  action: 'none',
  code: 0,
  multiTrack: false,
  track: 0,
  head: 0,
  id: { cylinder: 0, head: 0, sector: 0, size: 0 },
  last: 0,
  fill: 0,
  nonDma: false,
  gate: false,
  turn: 'disk',
  position: 0,
  terminal: false,
  sectors: 0,
});
