/** A hard disk with ATA commands (ACS-3, T13/2161-D r5) over a back end of 512-byte sectors. */
import type { BlockBackend, BlockStatus } from '../../iface/block.js';
import { bool, bytes, range, struct, u8, type Infer } from '../../snapshot/schema.js';
import type { AtaDrive, Operation, Outcome, Taskfile } from './drive.js';
import { commonOperation, noData, reply } from './operations.js';
import { chsOf, identifyDisk, type DiskModes } from './identify.js';
import { readLog } from './logs.js';
import {
  COMMAND,
  DEVICE,
  ERROR,
  LBA28_END,
  MAX_MULTIPLE,
  READY,
  SECTOR,
  SET_FEATURES,
  SIGNATURE,
  STATUS,
} from './registers.js';
import { Smart } from './smart.js';

const stateSchema = struct({
  /** Sectors of READ and WRITE MULTIPLE; 0: these commands are refused. */
  multiple: range(0, MAX_MULTIPLE),
  writeCache: bool,
  lookAhead: bool,
  /** As SET FEATURES takes it: PIO 08h …, multiword DMA 20h …, Ultra DMA 40h …. */
  transferMode: u8,
  /** Translation that INITIALIZE DEVICE PARAMETERS sets. */
  heads: range(1, 16),
  sectors: range(1, 255),
  smart: bool,
  /** Queued command that failed, for the log of NCQ errors. */
  queuedError: bytes(16),
});
type State = Infer<typeof stateSchema>;

export interface AtaDiskParts {
  readonly id: string;
  readonly backend: BlockBackend;
  /** Serial ATA: queued commands, no cable to detect. */
  readonly serialAta: boolean;
}

/** DATA SET MANAGEMENT: entries of 8 bytes, and blocks of them in one command (IDENTIFY word 105). */
const TRIM = { FEATURE: 1, ENTRY: 8, MAX_BLOCKS: 8 } as const;
const ULTRA_DMA_5 = 0x45;

type Span = { readonly first: number; readonly sectors: number } | undefined;

export class AtaDisk implements AtaDrive {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly packets = false;
  readonly signature = SIGNATURE.DISK;
  readonly buffers: BlockBackend['buffers'];

  private readonly backend: BlockBackend;
  private readonly smart = new Smart();
  private readonly sectors: number;
  private state: State;

  constructor(private readonly parts: AtaDiskParts) {
    this.id = parts.id;
    this.backend = parts.backend;
    this.buffers = parts.backend.buffers;
    this.sectors = Math.min(Math.floor(parts.backend.size / SECTOR), 2 ** 48 - 1);
    this.state = this.initial();
  }

  private initial(): State {
    const { heads, sectors } = chsOf(this.sectors);
    return {
      multiple: MAX_MULTIPLE,
      writeCache: true,
      lookAhead: true,
      transferMode: ULTRA_DMA_5,
      heads,
      sectors,
      smart: true,
      queuedError: new Uint8Array(16),
    };
  }

  /** A software reset leaves settings alone (SET FEATURES 66h is how the standard calls that). */
  reset(soft: boolean): void {
    if (!soft) this.state = this.initial();
  }

  begin(taskfile: Taskfile): Operation {
    return commonOperation(taskfile) ?? this.media(taskfile) ?? this.other(taskfile);
  }

  beginPacket(waiting: Operation): Operation {
    return this.abort(waiting.taskfile);
  }

  private abort(taskfile: Taskfile): Operation {
    return { ...noData(taskfile), action: 'fail', error: ERROR.ABRT };
  }

  // ---- reading and writing ----

  private media(taskfile: Taskfile): Operation | undefined {
    const { multiple } = this.state;
    const move = (extended: boolean, more: Partial<Operation>): Operation => this.move(taskfile, extended, more);
    const pioIn = { action: 'read', protocol: 'pio', direction: 'in', block: SECTOR } as const;
    const pioOut = { action: 'write', protocol: 'pio', direction: 'out', block: SECTOR } as const;
    const dmaIn = { action: 'read', protocol: 'dma', direction: 'in' } as const;
    const dmaOut = { action: 'write', protocol: 'dma', direction: 'out' } as const;
    const inBlocks = (operation: Operation): Operation =>
      multiple === 0 ? this.abort(taskfile) : { ...operation, block: multiple * SECTOR };
    switch (taskfile.command) {
      case COMMAND.READ_SECTORS:
      case COMMAND.READ_SECTORS_ONCE:
        return move(false, pioIn);
      case COMMAND.READ_SECTORS_EXT:
        return move(true, pioIn);
      case COMMAND.READ_MULTIPLE:
        return inBlocks(move(false, pioIn));
      case COMMAND.READ_MULTIPLE_EXT:
        return inBlocks(move(true, pioIn));
      case COMMAND.READ_DMA:
      case COMMAND.READ_DMA_ONCE:
        return move(false, dmaIn);
      case COMMAND.READ_DMA_EXT:
        return move(true, dmaIn);
      case COMMAND.WRITE_SECTORS:
      case COMMAND.WRITE_SECTORS_ONCE:
        return move(false, pioOut);
      case COMMAND.WRITE_SECTORS_EXT:
        return move(true, pioOut);
      case COMMAND.WRITE_MULTIPLE:
        return inBlocks(move(false, pioOut));
      case COMMAND.WRITE_MULTIPLE_EXT:
        return inBlocks(move(true, pioOut));
      case COMMAND.WRITE_MULTIPLE_FUA_EXT:
        return inBlocks(move(true, { ...pioOut, durable: 1 }));
      case COMMAND.WRITE_DMA:
      case COMMAND.WRITE_DMA_ONCE:
        return move(false, dmaOut);
      case COMMAND.WRITE_DMA_EXT:
        return move(true, dmaOut);
      case COMMAND.WRITE_DMA_FUA_EXT:
        return move(true, { ...dmaOut, durable: 1 });
      case COMMAND.READ_VERIFY:
      case COMMAND.READ_VERIFY_ONCE:
        return move(false, { action: 'verify' });
      case COMMAND.READ_VERIFY_EXT:
        return move(true, { action: 'verify' });
      case COMMAND.READ_FPDMA_QUEUED:
        return this.queued(taskfile, { ...dmaIn, protocol: 'queued' });
      case COMMAND.WRITE_FPDMA_QUEUED:
        return this.queued(taskfile, {
          ...dmaOut,
          protocol: 'queued',
          durable: taskfile.device & DEVICE.FUA ? 1 : 0,
        });
      default:
        return undefined;
    }
  }

  /** The sectors that a command names; undefined: an address that is none. */
  private span(taskfile: Taskfile, extended: boolean): Span {
    const count = extended ? taskfile.count || 0x1_0000 : taskfile.count & 0xff || 0x100;
    if (extended) return { first: taskfile.lba, sectors: count };
    if (taskfile.device & DEVICE.LBA)
      return { first: (taskfile.lba % 2 ** 24) + (taskfile.device & 0xf) * 2 ** 24, sectors: count };
    // Cylinder, head and sector, ATA/ATAPI-5 §6.2: sectors count from 1.
    const { heads, sectors } = this.state;
    const [sector, cylinder] = [taskfile.lba & 0xff, Math.floor(taskfile.lba / 0x100) & 0xffff];
    const head = taskfile.device & 0xf;
    if (sector === 0 || sector > sectors || head >= heads) return undefined;
    return { first: (cylinder * heads + head) * sectors + sector - 1, sectors: count };
  }

  private move(taskfile: Taskfile, extended: boolean, more: Partial<Operation>): Operation {
    return this.transfer(taskfile, this.span(taskfile, extended), more);
  }

  private transfer(taskfile: Taskfile, span: Span, more: Partial<Operation>): Operation {
    const base = noData(taskfile);
    if (more.action === 'write' && this.backend.readOnly) return this.abort(taskfile);
    if (span === undefined || span.first + span.sectors > this.sectors)
      return { ...base, action: 'fail', error: ERROR.IDNF | ERROR.ABRT };
    return { ...base, start: span.first * SECTOR, length: span.sectors * SECTOR, ...more };
  }

  /** §7.23: the count stands in the feature field, the tag in bits 7:3 of the count. */
  private queued(taskfile: Taskfile, more: Partial<Operation>): Operation {
    if (!this.parts.serialAta || !(taskfile.device & DEVICE.LBA)) return this.abort(taskfile);
    return this.transfer(taskfile, { first: taskfile.lba, sectors: taskfile.feature || 0x1_0000 }, more);
  }

  // ---- other commands ----

  private other(taskfile: Taskfile): Operation {
    switch (taskfile.command) {
      case COMMAND.IDENTIFY_DEVICE:
        return reply(taskfile, identifyDisk(this.backend, this.sectors, this.modes), 'pio');
      case COMMAND.FLUSH_CACHE:
      case COMMAND.FLUSH_CACHE_EXT:
        return { ...noData(taskfile), action: 'flush' };
      case COMMAND.SET_MULTIPLE:
        return this.setMultiple(taskfile);
      case COMMAND.INITIALIZE_PARAMETERS:
        this.state.heads = (taskfile.device & 0xf) + 1;
        if ((taskfile.count & 0xff) === 0) return this.abort(taskfile);
        this.state.sectors = taskfile.count & 0xff;
        return noData(taskfile);
      case COMMAND.SET_FEATURES:
        return this.setFeatures(taskfile) ? noData(taskfile) : this.abort(taskfile);
      case COMMAND.DATA_SET_MANAGEMENT:
        return this.trim(taskfile);
      case COMMAND.SMART:
        return this.smart.begin(taskfile) ?? this.abort(taskfile);
      case COMMAND.READ_LOG_EXT:
      case COMMAND.READ_LOG_DMA_EXT: {
        const identity = (): Uint8Array => identifyDisk(this.backend, this.sectors, this.modes);
        const log = readLog(taskfile, this.state.queuedError, identity);
        if (!log) return this.abort(taskfile);
        return reply(taskfile, log, taskfile.command === COMMAND.READ_LOG_EXT ? 'pio' : 'dma');
      }
      default:
        // RECALIBRATE (10h … 1fh) and SEEK (70h … 7fh) of old: there is nothing to move.
        return [0x10, 0x70].includes(taskfile.command & 0xf0) ? noData(taskfile) : this.abort(taskfile);
    }
  }

  private get modes(): DiskModes {
    return { ...this.state, smart: this.smart.enabled, serialAta: this.parts.serialAta };
  }

  private setMultiple(taskfile: Taskfile): Operation {
    const count = taskfile.count & 0xff;
    if (count > MAX_MULTIPLE || (count & (count - 1)) !== 0) return this.abort(taskfile);
    this.state.multiple = count;
    return noData(taskfile);
  }

  private setFeatures({ feature, count }: Taskfile): boolean {
    switch (feature & 0xff) {
      case SET_FEATURES.ENABLE_WRITE_CACHE:
      case SET_FEATURES.DISABLE_WRITE_CACHE:
        this.state.writeCache = (feature & 0xff) === SET_FEATURES.ENABLE_WRITE_CACHE;
        return true;
      case SET_FEATURES.ENABLE_LOOK_AHEAD:
      case SET_FEATURES.DISABLE_LOOK_AHEAD:
        this.state.lookAhead = (feature & 0xff) === SET_FEATURES.ENABLE_LOOK_AHEAD;
        return true;
      case SET_FEATURES.ENABLE_REVERTING:
      case SET_FEATURES.DISABLE_REVERTING:
        return true;
      case SET_FEATURES.TRANSFER_MODE: {
        const [kind, mode] = [(count >> 3) & 0x1f, count & 7];
        // PIO default and flow control, multiword DMA, Ultra DMA (§7.45.8).
        const limit = { 0: 1, 1: 4, 4: 2, 8: 5 }[kind];
        if (limit === undefined || mode > limit) return false;
        if (kind >= 4) this.state.transferMode = count & 0xff;
        return true;
      }
      default:
        return false;
    }
  }

  private trim(taskfile: Taskfile): Operation {
    const blocks = taskfile.count;
    if (!(taskfile.feature & TRIM.FEATURE) || this.backend.readOnly || blocks === 0 || blocks > TRIM.MAX_BLOCKS)
      return this.abort(taskfile);
    const length = blocks * SECTOR;
    return {
      ...noData(taskfile),
      action: 'take',
      protocol: 'dma',
      direction: 'out',
      length,
      data: new Uint8Array(length),
    };
  }

  // ---- data and the end ----

  send({ action, data, start }: Operation, at: number, into: Uint8Array, done: (ok: boolean) => void): void {
    if (action === 'read') this.backend.read(start + at, into, (status) => done(status === 'ok'));
    else {
      into.fill(0);
      if (data) into.set(data.subarray(at, at + into.length));
      done(true);
    }
  }

  receive({ action, data, start }: Operation, at: number, from: Uint8Array, done: (ok: boolean) => void): void {
    if (action === 'write') this.backend.write(start + at, from, (status) => done(status === 'ok'));
    else {
      if (data && at + from.length <= data.length) data.set(from, at);
      done(true);
    }
  }

  finish(operation: Operation, done: (outcome: Outcome) => void): void {
    const { action, taskfile } = operation;
    const end = (status: BlockStatus): void =>
      done(status === 'ok' ? this.succeeded(operation) : this.failed(operation, 0, false));
    switch (action) {
      case 'fail':
        this.noteQueuedError(operation);
        done({ status: READY | STATUS.ERR, error: operation.error });
        break;
      case 'flush':
        this.backend.flush(end);
        break;
      case 'write':
        // Without a write cache, written means durable.
        if (operation.durable !== 0 || !this.state.writeCache) this.backend.flush(end);
        else end('ok');
        break;
      case 'take':
        if (taskfile.command === COMMAND.DATA_SET_MANAGEMENT) this.discard(operation, end);
        else end('ok');
        break;
      default:
        end('ok');
    }
  }

  private succeeded({ taskfile }: Operation): Outcome {
    const base = { status: READY, error: 0 };
    switch (taskfile.command) {
      case COMMAND.CHECK_POWER:
      case COMMAND.CHECK_POWER_OLD:
        // Active or idle, §7.3.
        return { ...base, count: 0xff };
      case COMMAND.EXECUTE_DIAGNOSTIC:
        // Code 01h: passed (§7.9.3); with the signature.
        return { status: READY, error: 1, lba: this.signature, count: 1 };
      case COMMAND.SMART:
        return { ...base, ...this.smart.outcome(taskfile) };
      default:
        return base;
    }
  }

  failed(operation: Operation, at: number, host: boolean): Outcome {
    const { action, start } = operation;
    this.noteQueuedError(operation);
    const error = host ? ERROR.ICRC | ERROR.ABRT : action === 'read' ? ERROR.UNC : ERROR.ABRT;
    return { status: READY | STATUS.ERR, error, lba: Math.floor((start + at) / SECTOR) % LBA28_END };
  }

  /** Log page 10h (§A.14.3): tag, status and error of the queued command that failed. */
  private noteQueuedError({ taskfile, error }: Operation): void {
    const queued = taskfile.command === COMMAND.READ_FPDMA_QUEUED || taskfile.command === COMMAND.WRITE_FPDMA_QUEUED;
    const log = this.state.queuedError;
    log.fill(0);
    // NQ: the error was not a queued command's.
    log[0] = queued ? (taskfile.count >> 3) & 0x1f : 0x80;
    log[2] = READY | STATUS.ERR;
    log[3] = error || ERROR.UNC;
    for (let i = 0; i < 3; i++) {
      log[4 + i] = Math.floor(taskfile.lba / 2 ** (8 * i)) & 0xff;
      log[8 + i] = Math.floor(taskfile.lba / 2 ** (24 + 8 * i)) & 0xff;
    }
    log[7] = taskfile.device;
    log[12] = taskfile.count & 0xff;
    log[13] = taskfile.count >> 8;
  }

  /** Carries out the ranges of a TRIM, one after the other: 48 bits of address, 16 of length (§7.6.3.3). */
  private discard({ data }: Operation, end: (status: BlockStatus) => void): void {
    const view = new DataView(data?.slice().buffer ?? new ArrayBuffer(0));
    const spans: { readonly start: number; readonly length: number }[] = [];
    for (let at = 0; at + TRIM.ENTRY <= view.byteLength; at += TRIM.ENTRY) {
      const sectors = view.getUint16(at + 6, true);
      const first = view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
      if (sectors === 0) continue;
      if (first + sectors > this.sectors) {
        end('io-error');
        return;
      }
      spans.push({ start: first * SECTOR, length: sectors * SECTOR });
    }
    // A disk that cannot discard ignores the hint. Without nesting where the back end answers at once.
    let left = spans.length;
    if (left === 0) end('ok');
    for (const { start, length } of spans)
      this.backend.discard(start, length, () => {
        if (--left === 0) end('ok');
      });
  }

  save(): State {
    return { ...this.state, smart: this.smart.enabled, queuedError: this.state.queuedError.slice() };
  }

  restore(state: State): void {
    this.state = { ...state, queuedError: state.queuedError.slice() };
    this.smart.enabled = state.smart;
  }
}
