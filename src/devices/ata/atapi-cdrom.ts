/** A CD-ROM or DVD-ROM drive with command packets: MMC-6 (T10/1836-D r2g) over ATA/ATAPI (ACS-3). */
import type { BlockBackend } from '../../iface/block.js';
import { bool, nullable, range, struct, u8, type Infer } from '../../snapshot/schema.js';
import type { AtaDrive, Operation, Outcome, Taskfile } from './drive.js';
import {
  CD_BLOCK,
  configuration,
  discInformation,
  dvdStructure,
  inquiry,
  modePages,
  profileOf,
  Reply,
  SCSI,
  SENSE,
  senseData,
  toc,
  trackInformation,
  type Sense,
} from './cdrom-commands.js';
import { identifyPacketDevice } from './identify.js';
import { commonOperation, noData, reply } from './operations.js';
import { COMMAND, ERROR, READY, SET_FEATURES, SIGNATURE, STATUS } from './registers.js';

const senseSchema = struct({ key: range(0, 15), asc: u8, ascq: u8 });
/** What GET EVENT STATUS NOTIFICATION has to tell of the medium, MMC-6 §6.7.2.5: none, eject requested, new, removed. */
const EVENT = { NONE: 0, EJECT_REQUEST: 1, NEW: 2, REMOVED: 3 } as const;

const stateSchema = struct({
  sense: senseSchema,
  /** A unit attention that waits to be told. */
  attention: nullable(senseSchema),
  event: range(0, 4),
  open: bool,
  locked: bool,
  transferMode: u8,
});
type State = Infer<typeof stateSchema>;

export interface CdRomParts {
  readonly id: string;
  /** Nothing: an empty drive. */
  readonly medium: BlockBackend | undefined;
  readonly serial: string;
  readonly serialAta: boolean;
  /** The tray has moved. */
  readonly trayMoved?: (open: boolean) => void;
}

const ULTRA_DMA_5 = 0x45;
/** Commands that work, and keep a unit attention waiting, whatever the state of the drive (SPC-4 §5.9.1, MMC-6 §4.1.6). */
const ALWAYS: readonly number[] = [SCSI.INQUIRY, SCSI.REQUEST_SENSE, SCSI.GET_CONFIGURATION, SCSI.GET_EVENT_STATUS];

export class AtapiCdRom implements AtaDrive {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly packets = true;
  readonly signature = SIGNATURE.PACKET;

  private medium: BlockBackend | undefined;
  private state: State = {
    sense: SENSE.NONE,
    attention: SENSE.RESET,
    event: EVENT.NONE,
    open: false,
    locked: false,
    transferMode: ULTRA_DMA_5,
  };

  constructor(private readonly parts: CdRomParts) {
    this.id = parts.id;
    this.medium = parts.medium;
  }

  get trayOpen(): boolean {
    return this.state.open;
  }

  /** The host has forbidden that the disc is taken out. */
  get locked(): boolean {
    return this.state.locked;
  }

  /** Somebody has pressed the button of a locked drive: the host is asked to eject (MMC-6 §6.7.2.5). */
  requestEject(): void {
    this.state.event = EVENT.EJECT_REQUEST;
  }

  /** Opens or closes the tray, whatever the host has forbidden. */
  moveTray(open: boolean): void {
    if (open === this.state.open) return;
    this.state.open = open;
    this.state.event = open || !this.medium ? EVENT.REMOVED : EVENT.NEW;
    if (!open && this.medium) this.state.attention = SENSE.MEDIUM_CHANGED;
    this.parts.trayMoved?.(open);
  }

  /** Puts another disc into the open tray, or takes it out. */
  change(medium: BlockBackend | undefined): void {
    this.medium = medium;
  }

  reset(soft: boolean): void {
    this.state.sense = SENSE.NONE;
    if (soft) return;
    this.state.attention = SENSE.RESET;
    this.state.locked = false;
    this.state.transferMode = ULTRA_DMA_5;
  }

  /** Blocks of the disc in a closed drive. */
  private get blocks(): number | undefined {
    return this.medium && !this.state.open ? Math.floor(this.medium.size / CD_BLOCK) : undefined;
  }

  // ---- ATA commands ----

  begin(taskfile: Taskfile): Operation {
    const common = commonOperation(taskfile);
    if (common) return common;
    switch (taskfile.command) {
      case COMMAND.PACKET:
        return { ...noData(taskfile), action: 'packet' };
      case COMMAND.IDENTIFY_PACKET_DEVICE:
        return reply(
          taskfile,
          identifyPacketDevice(this.parts.serial, this.parts.serialAta, this.state.transferMode),
          'pio',
        );
      case COMMAND.DEVICE_RESET:
        this.reset(true);
        return noData(taskfile);
      case COMMAND.SET_FEATURES:
        return this.setFeatures(taskfile)
          ? noData(taskfile)
          : { ...noData(taskfile), action: 'fail', error: ERROR.ABRT };
      default:
        // Of packet devices IDENTIFY DEVICE and READ SECTORS are answered so, with the signature (ACS-3 §7.12.3).
        return { ...noData(taskfile), action: 'fail', error: ERROR.ABRT };
    }
  }

  private setFeatures({ feature, count }: Taskfile): boolean {
    if ((feature & 0xff) !== SET_FEATURES.TRANSFER_MODE) return false;
    const [kind, mode] = [(count >> 3) & 0x1f, count & 7];
    const limit = { 0: 1, 1: 4, 4: 2, 8: 5 }[kind];
    if (limit === undefined || mode > limit) return false;
    if (kind >= 4) this.state.transferMode = count & 0xff;
    return true;
  }

  // ---- command packets ----

  beginPacket(waiting: Operation, packet: Uint8Array, limit: number): Operation {
    const { taskfile } = waiting;
    const dma = (taskfile.feature & 1) !== 0;
    const base: Operation = { ...noData(taskfile), packet: packet.slice() };
    const result = this.command(packet);
    if ('key' in result) {
      this.state.sense = result;
      return { ...base, action: 'fail' };
    }
    if (packet[0] !== SCSI.REQUEST_SENSE) this.state.sense = SENSE.NONE;
    if (result.length === 0) return base;
    // The host says how much it takes at a time; an odd number only if that is all (ACS-3 §7.18.4.3).
    const even = limit === 0xffff || limit === 0 ? 0xfffe : limit;
    const block = even % 2 === 1 && even < result.length ? even - 1 : even;
    return { ...base, ...result, protocol: dma ? 'dma' : 'pio', block: Math.max(block, 1) };
  }

  private command(packet: Uint8Array): Sense | (Partial<Operation> & { readonly length: number }) {
    const code = packet[0];
    if (!ALWAYS.includes(code) && this.state.attention) {
      const { attention } = this.state;
      this.state.attention = null;
      return attention;
    }
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    // At most what the host has allocated.
    const answer = (data: Uint8Array | undefined, allocated: number): ReturnType<AtapiCdRom['command']> => {
      if (data === undefined) return SENSE.INVALID_FIELD;
      const cut = data.slice(0, Math.min(data.length, allocated));
      return { action: 'reply', direction: 'in', length: cut.length, data: cut };
    };
    const done = { length: 0 };
    const { blocks } = this;
    switch (code) {
      case SCSI.REQUEST_SENSE: {
        const sense = this.state.sense.key === 0 ? (this.state.attention ?? this.state.sense) : this.state.sense;
        if (sense === this.state.attention) this.state.attention = null;
        this.state.sense = SENSE.NONE;
        return answer(senseData(sense), packet[4]);
      }
      case SCSI.INQUIRY: {
        const vital = (packet[1] & 1) !== 0;
        if (!vital && packet[2] !== 0) return SENSE.INVALID_FIELD;
        return answer(inquiry(vital ? packet[2] : undefined, this.parts.serial), view.getUint16(3));
      }
      case SCSI.GET_CONFIGURATION:
        return (packet[1] & 3) === 3
          ? SENSE.INVALID_FIELD
          : answer(configuration(packet[1] & 3, view.getUint16(2), blocks), view.getUint16(7));
      case SCSI.GET_EVENT_STATUS:
        return this.eventStatus(packet, (data) => answer(data, view.getUint16(7)));
      case SCSI.START_STOP_UNIT:
        return this.startStop(packet[4]) ?? done;
      case SCSI.PREVENT_ALLOW:
        this.state.locked = (packet[4] & 1) !== 0;
        return done;
      case SCSI.MODE_SENSE_6:
        return answer(this.modeSense(packet, 4), packet[4]);
      case SCSI.MODE_SENSE_10:
        return packet[2] >> 6 === 3 ? SENSE.SAVING_NOT_SUPPORTED : answer(this.modeSense(packet, 8), view.getUint16(7));
      case SCSI.MODE_SELECT_10: {
        const length = view.getUint16(7);
        if (!(packet[1] & 0x10)) return SENSE.INVALID_FIELD;
        return length === 0 ? done : { action: 'take', direction: 'out', length, data: new Uint8Array(length) };
      }
      case SCSI.MECHANISM_STATUS:
        return answer(new Reply(8, [0, this.state.open ? 0x10 : 0, 0, 0, 0, 1]).bytes, view.getUint16(8));
      case SCSI.SET_CD_SPEED:
        return done;
      default:
        if (blocks === undefined) return this.state.open ? SENSE.TRAY_OPEN : SENSE.NO_MEDIUM;
        return this.mediumCommand(packet, view, blocks, answer);
    }
  }

  /** Commands that need a disc. */
  private mediumCommand(
    packet: Uint8Array,
    view: DataView,
    blocks: number,
    answer: (data: Uint8Array | undefined, allocated: number) => ReturnType<AtapiCdRom['command']>,
  ): ReturnType<AtapiCdRom['command']> {
    const done = { length: 0 };
    switch (packet[0]) {
      case SCSI.TEST_UNIT_READY:
      case SCSI.SYNCHRONIZE_CACHE:
        return done;
      case SCSI.READ_CAPACITY:
        return answer(new Reply(8).u32(0, Math.max(0, blocks - 1)).u32(4, CD_BLOCK).bytes, 8);
      case SCSI.READ_FORMAT_CAPACITIES:
        // One descriptor: formatted medium.
        return answer(new Reply(12, [0, 0, 0, 8]).u32(4, blocks).u32(8, (2 << 24) | CD_BLOCK).bytes, view.getUint16(7));
      case SCSI.READ_10:
        return this.read(view.getUint32(2), view.getUint16(7), blocks);
      case SCSI.READ_12:
        return this.read(view.getUint32(2), view.getUint32(6), blocks);
      case SCSI.READ_CD: {
        const count = (packet[6] << 16) | view.getUint16(7);
        const type = (packet[1] >> 2) & 7;
        // User data alone, or nothing; of mode 1, or whatever there is.
        if (![0, 0x10].includes(packet[9] & 0xf8) || (packet[9] & 6) !== 0 || (packet[10] & 7) !== 0)
          return SENSE.INVALID_FIELD;
        if (type !== 0 && type !== 2) return SENSE.WRONG_TRACK_MODE;
        return this.read(view.getUint32(2), (packet[9] & 0xf8) === 0 ? 0 : count, blocks);
      }
      case SCSI.SEEK_10:
        return view.getUint32(2) < blocks ? done : SENSE.OUT_OF_RANGE;
      case SCSI.VERIFY_10:
        return view.getUint32(2) + view.getUint16(7) <= blocks ? done : SENSE.OUT_OF_RANGE;
      case SCSI.READ_TOC: {
        // The format moved: old drivers have it in the control byte.
        const format = (packet[2] & 0xf) !== 0 ? packet[2] & 0xf : packet[9] >> 6;
        return answer(toc(format, (packet[1] & 2) !== 0, packet[6], blocks), view.getUint16(7));
      }
      case SCSI.READ_SUBCHANNEL:
        // No audio: the header with "no status", and the data track for the current position.
        if (!(packet[2] & 0x40)) return answer(new Reply(4, [0, 0x15]).bytes, view.getUint16(7));
        if (packet[3] !== 1) return SENSE.INVALID_FIELD;
        return answer(new Reply(16, [0, 0x15, 0, 12, 1, 0x14, 1, 1]).bytes, view.getUint16(7));
      case SCSI.READ_DISC_INFORMATION:
        return (packet[1] & 7) === 0 ? answer(discInformation(), view.getUint16(7)) : SENSE.INVALID_FIELD;
      case SCSI.READ_TRACK_INFORMATION: {
        const [kind, which] = [packet[1] & 3, view.getUint32(2)];
        const there = kind === 0 ? which < blocks : kind === 1 && (which === 1 || which === 0);
        return there ? answer(trackInformation(blocks), view.getUint16(7)) : SENSE.INVALID_FIELD;
      }
      case SCSI.READ_DVD_STRUCTURE:
        if (profileOf(blocks) !== 0x10) return SENSE.INVALID_FIELD;
        return answer(dvdStructure(packet[7], blocks), view.getUint16(8));
      default:
        return SENSE.INVALID_COMMAND;
    }
  }

  private read(first: number, count: number, blocks: number): ReturnType<AtapiCdRom['command']> {
    if (first + count > blocks) return SENSE.OUT_OF_RANGE;
    return count === 0
      ? { length: 0 }
      : { action: 'read', direction: 'in', start: first * CD_BLOCK, length: count * CD_BLOCK };
  }

  private modeSense(packet: Uint8Array, header: 4 | 8): Uint8Array | undefined {
    const pages = modePages(packet[2] & 0x3f, packet[2] >> 6, this.state.locked);
    if (!pages) return undefined;
    // Medium type: a data CD is in, or none (values of old; later ones say 0).
    const type = this.state.open ? 0x71 : this.medium ? 0x01 : 0x70;
    const bytes = new Uint8Array(header + pages.length);
    bytes.set(header === 8 ? [0, bytes.length - 2, type] : [bytes.length - 1, type]);
    bytes.set(pages, header);
    return bytes;
  }

  /** MMC-6 §6.7: only polled, only events of the medium. */
  private eventStatus(
    packet: Uint8Array,
    answer: (data: Uint8Array) => ReturnType<AtapiCdRom['command']>,
  ): ReturnType<AtapiCdRom['command']> {
    if (!(packet[1] & 1)) return SENSE.INVALID_FIELD;
    const media = 4;
    const supported = 1 << media;
    // No event of the classes asked for is available.
    if (!(packet[4] & supported)) return answer(Uint8Array.of(0, 2, 0x80, supported));
    const { event } = this.state;
    this.state.event = EVENT.NONE;
    const status = (this.state.open ? 1 : 0) | (this.medium ? 2 : 0);
    return answer(Uint8Array.of(0, 6, media, supported, event, status, 0, 0));
  }

  /** Start, stop, load, eject. Undefined: done. */
  private startStop(flags: number): Sense | undefined {
    if (flags >> 4 !== 0 || !(flags & 2)) return undefined;
    const open = (flags & 1) === 0;
    if (open && this.state.locked) return SENSE.REMOVAL_PREVENTED;
    this.moveTray(open);
    return undefined;
  }

  // ---- data and the end ----

  send({ action, data, start }: Operation, at: number, into: Uint8Array, done: (ok: boolean) => void): void {
    if (action === 'read') {
      const { medium } = this;
      // Taken out in the middle.
      if (!medium || start + at + into.length > medium.size) done(false);
      else this.readBytes(medium, start + at, into, done);
      return;
    }
    into.fill(0);
    if (data) into.set(data.subarray(at, at + into.length));
    done(true);
  }

  /** Programmed I/O asks for pieces that are no whole sectors. */
  private readBytes(medium: BlockBackend, from: number, into: Uint8Array, done: (ok: boolean) => void): void {
    const [before, end] = [from % 512, from + into.length];
    if (before === 0 && end % 512 === 0) {
      medium.read(from, into, (status) => done(status === 'ok'));
      return;
    }
    const whole = new Uint8Array(Math.ceil(end / 512) * 512 - (from - before));
    medium.read(from - before, whole, (status) => {
      into.set(whole.subarray(before, before + into.length));
      done(status === 'ok');
    });
  }

  receive({ data }: Operation, at: number, from: Uint8Array, done: (ok: boolean) => void): void {
    if (data && at + from.length <= data.length) data.set(from, at);
    done(true);
  }

  finish(operation: Operation, done: (outcome: Outcome) => void): void {
    const { action, taskfile, packet, data } = operation;
    const ended = { status: READY, error: 0 };
    if (packet) {
      // Mode pages have nothing that can be changed; what is sent must be pages at least.
      if (action === 'take' && data && data.length < 8) this.state.sense = SENSE.INVALID_PARAMETER;
      done(this.state.sense.key !== 0 && action !== 'reply' ? this.checkCondition() : { ...ended, count: 3 });
      return;
    }
    if (action === 'fail')
      done({
        status: READY | STATUS.ERR,
        error: operation.error,
        // A disk's commands are answered with the signature.
        ...(taskfile.command === COMMAND.IDENTIFY_DEVICE || taskfile.command === COMMAND.READ_SECTORS
          ? { lba: this.signature, count: 1 }
          : {}),
      });
    else if (taskfile.command === COMMAND.EXECUTE_DIAGNOSTIC || taskfile.command === COMMAND.DEVICE_RESET)
      // DRDY stays clear after the signature, until the first packet (ACS-3 §6.2.5).
      done({ status: 0, error: 1, lba: this.signature, count: 1 });
    else if (taskfile.command === COMMAND.CHECK_POWER || taskfile.command === COMMAND.CHECK_POWER_OLD)
      done({ ...ended, count: 0xff });
    else done(ended);
  }

  /** Status of a packet that failed: the sense key stands in the error field (ACS-3 §6.3.9). */
  private checkCondition(): Outcome {
    return { status: READY | STATUS.ERR, error: (this.state.sense.key << 4) | ERROR.ABRT, count: 3 };
  }

  failed(operation: Operation, _at: number, host: boolean): Outcome {
    if (!operation.packet) return { status: READY | STATUS.ERR, error: ERROR.ABRT };
    this.state.sense = host ? SENSE.TRANSFER_FAILED : SENSE.READ_ERROR;
    return this.checkCondition();
  }

  save(): State {
    return {
      ...this.state,
      sense: { ...this.state.sense },
      attention: this.state.attention && { ...this.state.attention },
    };
  }

  restore(state: State): void {
    this.state = { ...state };
  }
}
