import type { BlockBackend, BlockStatus, ScratchBuffers } from '../../iface/block.js';
import type { DescriptorChain } from './descriptor-chain.js';

/** Request types, VIRTIO 1.2 §5.2.6. */
const TYPE = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;

/** struct virtio_blk_req: the header is type, reserved (32 bits each) and sector (64 bits). */
const HEADER = { TYPE: 0, SECTOR: 8, SIZE: 16 } as const;

/** struct virtio_blk_discard_write_zeroes: sector (64 bits), count of sectors, flags (32 bits each). */
const RANGE = { SECTOR: 0, COUNT: 8, FLAGS: 12, SIZE: 16, UNMAP: 1 } as const;

const STATUS = { ok: 0, 'io-error': 1, unsupported: 2 } as const;

const ID_BYTES = 20;
const SECTOR = 512;

/** Where headers are read to: requests begin one after the other. */
const header = new Uint8Array(HEADER.SIZE);
const headerView = new DataView(header.buffer);
/** Bytes of which it is asked at once whether anything was ever written there. */
const LOOK = 0x2_0000;

/** What discard and write-zeroes requests may ask for. */
export interface RequestLimits {
  readonly maxRangeSectors: number;
  readonly maxRanges: number;
}

/** Whom a request tells how it ends: exactly once, unless it is not current any more. */
export interface RequestOwner {
  /** Scratch memory for data on their way. */
  readonly buffers: ScratchBuffers;
  /** What the driver reads as the serial number. */
  readonly serial: string;
  /** Written data must be durable before the request is done. */
  readonly durable: boolean;
  /** False once the device has been reset: the guest's memory is not touched any more, nobody is told. */
  current(): boolean;
  /** The status stands in guest memory; `written` bytes of the chain were written, status included. */
  done(written: number): void;
  /** The chain has no room for header or status: the driver cannot even be told. */
  malformed(): void;
}

/** One part of a request: a call of the back end, then what follows when it has succeeded. */
interface Step {
  issue(done: (status: BlockStatus) => void): void;
  succeeded?(): boolean;
}

/** A request to a block device, from its chain to its status byte. Large transfers go through in pieces. */
export class BlockRequest {
  /** First byte that the header names. */
  private offset = 0;
  private written = 0;
  /** Where data are on their way, once there are any. */
  private buffer: Uint8Array | undefined;

  constructor(
    private readonly chain: DescriptorChain,
    private readonly backend: BlockBackend,
    private readonly limits: RequestLimits,
    private readonly owner: RequestOwner,
  ) {}

  start(): void {
    const { chain } = this;
    if (chain.readLength < HEADER.SIZE || chain.writeLength < 1) {
      this.owner.malformed();
      return;
    }
    if (!chain.read(0, header)) {
      this.finish('io-error');
      return;
    }
    // Sectors beyond what a double holds are beyond any disk.
    this.offset = Number(headerView.getBigUint64(HEADER.SECTOR, true)) * SECTOR;
    const steps = this.plan(headerView.getUint32(HEADER.TYPE, true));
    if (typeof steps === 'string') this.finish(steps);
    else this.run(steps);
  }

  private plan(type: number): Iterator<Step, undefined> | BlockStatus {
    const [dataOut, dataIn] = [this.chain.readLength - HEADER.SIZE, this.chain.writeLength - 1];
    switch (type) {
      case TYPE.IN:
        return this.within(dataIn) ? this.read(dataIn) : 'io-error';
      case TYPE.OUT:
        return !this.backend.readOnly && this.within(dataOut) ? this.write(dataOut) : 'io-error';
      case TYPE.FLUSH:
        return this.once((done) => this.backend.flush(done));
      case TYPE.GET_ID:
        return this.getId(dataIn);
      case TYPE.DISCARD:
      case TYPE.WRITE_ZEROES:
        return this.ranges(type, dataOut);
      default:
        return 'unsupported';
    }
  }

  private within(length: number): boolean {
    return length % SECTOR === 0 && this.offset + length <= this.backend.size;
  }

  private *once(issue: Step['issue']): Generator<Step, undefined> {
    yield { issue };
  }

  private *read(length: number): Generator<Step, undefined> {
    const buffer = (this.buffer = this.owner.buffers.take());
    for (let at = 0; at < length;) {
      const begin = at;
      const zeros = this.zerosFrom(begin, length);
      if (zeros > 0) {
        const succeeded = (): boolean => {
          this.written += zeros;
          return this.chain.zero(begin, zeros);
        };
        yield { issue: (done) => done('ok'), succeeded };
        at += zeros;
        continue;
      }
      const part = buffer.subarray(0, length - begin);
      yield {
        issue: (done) => this.backend.read(this.offset + begin, part, done),
        succeeded: () => {
          this.written += part.length;
          return this.chain.write(begin, part);
        },
      };
      at += part.length;
    }
  }

  /** Bytes of a read from `begin` on that are known to be zeros. */
  private zerosFrom(begin: number, length: number): number {
    for (let at = begin; at < length; at += LOOK)
      if (this.backend.isZero?.(this.offset + at, Math.min(LOOK, length - at)) !== true) return at - begin;
    return length - begin;
  }

  private *write(length: number): Generator<Step, undefined> {
    const buffer = (this.buffer = this.owner.buffers.take());
    for (let at = 0; at < length; at += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, length - at));
      const fetched = this.chain.read(HEADER.SIZE + at, part);
      yield {
        issue: (done) => (fetched ? this.backend.write(this.offset + at, part, done) : done('io-error')),
      };
    }
    if (this.owner.durable) yield { issue: (done) => this.backend.flush(done) };
  }

  private getId(length: number): BlockStatus {
    const id = new Uint8Array(Math.min(ID_BYTES, length));
    const { serial } = this.owner;
    for (let i = 0; i < id.length; i++) id[i] = i < serial.length ? serial.charCodeAt(i) : 0;
    this.written = id.length;
    return this.chain.write(0, id) ? 'ok' : 'io-error';
  }

  /** §5.2.6.2: all ranges are checked before the first is touched. */
  private ranges(type: number, length: number): Iterator<Step, undefined> | BlockStatus {
    const { backend, limits } = this;
    if (backend.readOnly) return 'io-error';
    if (length === 0 || length % RANGE.SIZE !== 0 || length > limits.maxRanges * RANGE.SIZE) return 'io-error';
    const bytes = new Uint8Array(length);
    if (!this.chain.read(HEADER.SIZE, bytes)) return 'io-error';
    const view = new DataView(bytes.buffer);
    const steps: Step[] = [];
    for (let at = 0; at < length; at += RANGE.SIZE) {
      const from = Number(view.getBigUint64(at + RANGE.SECTOR, true)) * SECTOR;
      const sectors = view.getUint32(at + RANGE.COUNT, true);
      const flags = view.getUint32(at + RANGE.FLAGS, true);
      // A hint to unmap belongs to write-zeroes only; other flags are reserved.
      if (flags & ~(type === TYPE.WRITE_ZEROES ? RANGE.UNMAP : 0)) return 'unsupported';
      if (sectors > limits.maxRangeSectors || from + sectors * SECTOR > backend.size) return 'io-error';
      if (sectors === 0) continue;
      steps.push({
        issue: (done) =>
          type === TYPE.DISCARD
            ? backend.discard(from, sectors * SECTOR, done)
            : backend.writeZeroes(from, sectors * SECTOR, done),
      });
    }
    return steps.values() as Iterator<Step, undefined>;
  }

  /** Iterates where the back end answers at once, so that calls do not nest; comes back from a callback otherwise. */
  private run(steps: Iterator<Step, undefined>): void {
    for (let going = true; going;) {
      const { value: step } = steps.next();
      if (!step) {
        this.finish('ok');
        return;
      }
      going = this.issue(step, () => this.run(steps));
    }
  }

  /** True: the step has succeeded already. Otherwise the request has ended, or `later` is called when it succeeds. */
  private issue(step: Step, later: () => void): boolean {
    const call: { answer?: BlockStatus; returned: boolean } = { returned: false };
    step.issue((status) => {
      if (call.answer !== undefined) return;
      call.answer = status;
      if (call.returned && this.absorb(step, status)) later();
    });
    call.returned = true;
    return call.answer !== undefined && this.absorb(step, call.answer);
  }

  /** Takes a step's result; false when that ends the request. */
  private absorb(step: Step, status: BlockStatus): boolean {
    if (!this.owner.current()) {
      this.giveBack();
      return false;
    }
    const result = status === 'ok' && step.succeeded?.() === false ? 'io-error' : status;
    if (result === 'ok') return true;
    this.finish(result);
    return false;
  }

  private giveBack(): void {
    if (this.buffer) this.owner.buffers.give(this.buffer);
    this.buffer = undefined;
  }

  private finish(status: BlockStatus): void {
    this.giveBack();
    this.chain.write(this.chain.writeLength - 1, Uint8Array.of(STATUS[status]));
    this.owner.done(this.written + 1);
  }
}
