import { assert } from '../../base/assert.js';
import type { BlockBackend, ScratchBuffers } from '../../iface/block.js';
import { array, bool, range, struct, u16, type Infer, type Plain } from '../../snapshot/schema.js';
import { BufferPool } from '../buffer-pool.js';
import { get } from '../../bus/pci/config-space.js';
import type { DescriptorChain } from './descriptor-chain.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { BlockRequest, type RequestLimits } from './block-request.js';
import { DEVICE_TYPE, MAX_QUEUE_SIZE } from './registers.js';

/** VIRTIO 1.2 §5.2.3. */
const FEATURE = {
  SEG_MAX: 1n << 2n,
  RO: 1n << 5n,
  BLK_SIZE: 1n << 6n,
  FLUSH: 1n << 9n,
  TOPOLOGY: 1n << 10n,
  CONFIG_WCE: 1n << 11n,
  MQ: 1n << 12n,
  DISCARD: 1n << 13n,
  WRITE_ZEROES: 1n << 14n,
} as const;

/** struct virtio_blk_config, §5.2.4: offsets. */
const CONFIG = {
  CAPACITY: 0,
  SEG_MAX: 12,
  BLK_SIZE: 20,
  PHYSICAL_BLOCK_EXP: 24,
  MIN_IO_SIZE: 26,
  OPT_IO_SIZE: 28,
  WRITEBACK: 32,
  NUM_QUEUES: 34,
  MAX_DISCARD_SECTORS: 36,
  MAX_DISCARD_SEG: 40,
  DISCARD_SECTOR_ALIGNMENT: 44,
  MAX_WRITE_ZEROES_SECTORS: 48,
  MAX_WRITE_ZEROES_SEG: 52,
  WRITE_ZEROES_MAY_UNMAP: 56,
  SIZE: 60,
} as const;

const SECTOR = 512;
const MAX_QUEUES = 16;

/** Most that one segment of a discard or write-zeroes request covers: 1 GiB; and most segments in a request. */
const LIMITS: RequestLimits = { maxRangeSectors: 0x20_0000, maxRanges: 16 };

const stateSchema = struct({
  /** Requests under way: to be done again after a restore. */
  inFlight: array(struct({ queue: range(0, MAX_QUEUES - 1), head: u16 }), { max: MAX_QUEUES * MAX_QUEUE_SIZE }),
  /** The driver's choice, where it may choose: written data may wait for a flush. */
  writeback: bool,
});
type State = Infer<typeof stateSchema>;

export interface VirtioBlockParts {
  readonly id: string;
  readonly backend: BlockBackend;
  /** What the driver reads as the serial number, up to 20 ASCII characters. Default: that of the back end. */
  readonly serial?: string | undefined;
  /** 1 … 16 queues. Default 1. */
  readonly queues?: number;
  /** Size of each queue, a power of two. Default 256. */
  readonly queueSize?: number;
  /** Logical block size in bytes, a power of two from 512. Default 512. */
  readonly blockSize?: number;
  /** Physical block size in bytes, a power of two from the logical one. Default 4096. */
  readonly physicalBlockSize?: number;
}

/**
 * Block device, VIRTIO 1.2 §5.2, on a back end that may answer at once or later. Requests complete in any order.
 *
 * Saved with requests under way, it does them again after the restore: the driver has not been told of them, and doing
 * one twice leaves the disk as doing it once does.
 */
export class VirtioBlock implements VirtioDevice {
  readonly id: string;
  readonly stateVersion = 2;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.BLOCK;
  /** Mass storage controller, as others have it: SCSI. */
  readonly classCode = 0x01_0000;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configSize = CONFIG.SIZE;

  private readonly backend: BlockBackend;
  private readonly serial: string;
  private readonly config: Uint8Array;
  private port: VirtioPort | undefined;
  /** Changes with every reset; completions of another life are dropped. */
  private life = 0;
  private readonly buffers: ScratchBuffers;
  private readonly inFlight = new Set<{ readonly queue: number; readonly head: number }>();
  /** Queues that are being served: their interrupts wait until all is taken. */
  private readonly serving = new Set<number>();
  private again: State['inFlight'] = [];

  constructor(parts: VirtioBlockParts) {
    const { queues = 1, queueSize = 256, backend } = parts;
    assert(queues >= 1 && queues <= MAX_QUEUES, `a block device has 1 … ${MAX_QUEUES} queues`);
    this.id = parts.id;
    this.backend = backend;
    this.serial = parts.serial ?? backend.serial;
    this.buffers = backend.buffers ?? new BufferPool();
    this.queueSizes = new Array<number>(queues).fill(queueSize);
    this.features =
      FEATURE.SEG_MAX |
      FEATURE.BLK_SIZE |
      FEATURE.FLUSH |
      FEATURE.TOPOLOGY |
      (backend.readOnly ? 0n : FEATURE.CONFIG_WCE) |
      (queues > 1 ? FEATURE.MQ : 0n) |
      (backend.readOnly ? FEATURE.RO : FEATURE.DISCARD | FEATURE.WRITE_ZEROES);
    this.config = configOf(parts);
  }

  connect(port: VirtioPort): void {
    this.port = port;
  }

  /** Requests that the back end has not answered. */
  get pending(): number {
    return this.inFlight.size + this.again.length;
  }

  readConfig(offset: number, size: number): number {
    return get(this.config, offset, size);
  }

  /** Only the cache mode can be written, 0 or 1 (§5.2.5). */
  writeConfig(offset: number, _size: number, value: number): void {
    if (offset === CONFIG.WRITEBACK && (this.port?.features ?? 0n) & FEATURE.CONFIG_WCE)
      this.config[CONFIG.WRITEBACK] = value & 1;
  }

  /**
   * Whether written data are durable when a write is reported: the driver has said so, or it knows no flush (§5.2.6.2, cache
   * mode).
   */
  private get writeThrough(): boolean {
    const features = this.port?.features ?? 0n;
    if (features & FEATURE.CONFIG_WCE) return this.config[CONFIG.WRITEBACK] === 0;
    return (features & FEATURE.FLUSH) === 0n;
  }

  notified(index: number): void {
    const queue = this.port?.queue(index);
    if (!queue || this.serving.has(index)) return;
    this.serving.add(index);
    for (let chain = queue.pop(); chain; chain = queue.pop()) this.start(index, chain);
    this.serving.delete(index);
    queue.flush();
  }

  private start(index: number, chain: DescriptorChain): void {
    const entry = { queue: index, head: chain.head };
    const { life } = this;
    this.inFlight.add(entry);
    const request = new BlockRequest(chain, this.backend, LIMITS, {
      buffers: this.buffers,
      serial: this.serial,
      durable: this.writeThrough,
      current: () => life === this.life,
      done: (written) => {
        this.inFlight.delete(entry);
        const queue = this.port?.queue(index);
        queue?.push(chain, written);
        if (!this.serving.has(index)) queue?.flush();
      },
      malformed: () => {
        this.inFlight.delete(entry);
        this.port?.broken();
      },
    });
    request.start();
  }

  reset(): void {
    this.life++;
    this.inFlight.clear();
    this.again = [];
    this.config[CONFIG.WRITEBACK] = 1;
  }

  resume(): void {
    const { again } = this;
    this.again = [];
    if (!this.port?.live) return;
    for (const { queue, head } of again) {
      const chain = queue < this.queueSizes.length ? this.port.queue(queue).reopen(head) : undefined;
      if (chain) this.start(queue, chain);
    }
    // What the driver made available before the save and nobody took.
    for (let queue = 0; queue < this.queueSizes.length; queue++) this.notified(queue);
  }

  save(): State {
    return {
      inFlight: [...this.inFlight, ...this.again].map(({ queue, head }) => ({ queue, head })),
      writeback: this.config[CONFIG.WRITEBACK] === 1,
    };
  }

  restore(state: State): void {
    this.reset();
    this.again = state.inFlight;
    this.config[CONFIG.WRITEBACK] = state.writeback ? 1 : 0;
  }

  /** Version 1 had no choice of the cache mode. */
  upgrade(state: Plain): Plain {
    return typeof state === 'object' && state !== null
      ? { ...(state as { [key: string]: Plain }), writeback: true }
      : state;
  }
}

function configOf({ backend, queues = 1, queueSize = 256, ...sizes }: VirtioBlockParts): Uint8Array {
  const { blockSize = SECTOR, physicalBlockSize = Math.max(4096, blockSize) } = sizes;
  const bytes = new Uint8Array(CONFIG.SIZE + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(CONFIG.CAPACITY, BigInt(Math.floor(backend.size / SECTOR)), true);
  // A request has a header and a status besides its data.
  view.setUint32(CONFIG.SEG_MAX, queueSize - 2, true);
  view.setUint32(CONFIG.BLK_SIZE, blockSize, true);
  view.setUint8(CONFIG.PHYSICAL_BLOCK_EXP, Math.log2(physicalBlockSize / blockSize));
  view.setUint16(CONFIG.MIN_IO_SIZE, physicalBlockSize / blockSize, true);
  view.setUint32(CONFIG.OPT_IO_SIZE, 0, true);
  view.setUint8(CONFIG.WRITEBACK, 1);
  view.setUint16(CONFIG.NUM_QUEUES, queues, true);
  if (!backend.readOnly) {
    view.setUint32(CONFIG.MAX_DISCARD_SECTORS, LIMITS.maxRangeSectors, true);
    view.setUint32(CONFIG.MAX_DISCARD_SEG, LIMITS.maxRanges, true);
    view.setUint32(CONFIG.DISCARD_SECTOR_ALIGNMENT, blockSize / SECTOR, true);
    view.setUint32(CONFIG.MAX_WRITE_ZEROES_SECTORS, LIMITS.maxRangeSectors, true);
    view.setUint32(CONFIG.MAX_WRITE_ZEROES_SEG, LIMITS.maxRanges, true);
    view.setUint8(CONFIG.WRITE_ZEROES_MAY_UNMAP, 1);
  }
  return bytes;
}
