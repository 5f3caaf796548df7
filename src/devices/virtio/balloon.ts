import { gpa, PAGE_SIZE, type Gpa } from '../../base/units.js';
import { get, put } from '../../bus/pci/config-space.js';
import { array, nullable, struct, u16, u32, u64, type Infer } from '../../snapshot/schema.js';
import type { DescriptorChain } from './descriptor-chain.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { DEVICE_TYPE } from './registers.js';

/** VIRTIO 1.2 §5.5.3. */
const FEATURE = { STATS: 1n << 1n, DEFLATE_ON_OOM: 1n << 2n, REPORTING: 1n << 5n } as const;

/** struct virtio_balloon_config, §5.5.4. */
const CONFIG = { NUM_PAGES: 0, ACTUAL: 4, SIZE: 16 } as const;

/** Queues that are always there; statistics and reporting follow in this order, as far as they were negotiated (§5.5.2). */
const QUEUE = { INFLATE: 0, DEFLATE: 1, FIRST_OPTIONAL: 2 } as const;

/** Statistics by their tags, §5.5.6.4: counts, or bytes. */
export const BALLOON_STATISTICS = [
  'swap-in',
  'swap-out',
  'major-faults',
  'minor-faults',
  'free-memory',
  'total-memory',
  'available-memory',
  'disk-caches',
  'hugetlb-allocations',
  'hugetlb-failures',
] as const;
/** A figure of the guest's memory (virtio 1.2, §5.5.6.3). */
export type BalloonStatistic = (typeof BALLOON_STATISTICS)[number];

/** struct virtio_balloon_stat: tag (16 bits) and value (64 bits), packed. */
const STATISTIC_SIZE = 10;

/** Page numbers taken from one buffer, at most: a driver has at most 256 in one. */
const MAX_PAGES = 0x1_0000;
/** Statistics in one buffer, at most: more than there are. */
const MAX_STATISTICS = 64;

const stateSchema = struct({
  /** Pages that the host wants, and that the driver says it has given. */
  target: u32,
  actual: u32,
  /** Head of the statistics buffer that the device has. */
  held: nullable(u16),
  statistics: array(nullable(u64), { length: BALLOON_STATISTICS.length }),
});
type State = Infer<typeof stateSchema>;

/** What takes memory that the guest does not need. It reads as zeros from then on, until the guest writes to it. */
export interface MemoryTaker {
  /** Whole pages. What is not RAM is left alone. */
  take(start: Gpa, length: number): void;
}

/** Memory balloon device, VIRTIO 1.2 §5.5, with statistics and free page reporting. */
export class VirtioBalloon implements VirtioDevice {
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.BALLOON;
  /** No other class fits. */
  readonly classCode = 0xff_0000;
  readonly features = FEATURE.STATS | FEATURE.DEFLATE_ON_OOM | FEATURE.REPORTING;
  readonly queueSizes = [128, 128, 64, 64];
  readonly configSize = CONFIG.SIZE;
  private port: VirtioPort | undefined;
  private target = 0;
  private actual = 0;
  private held: DescriptorChain | undefined;
  private heldHead: number | null = null;
  private values: (bigint | null)[] = BALLOON_STATISTICS.map(() => null);

  constructor(
    readonly id: string,
    private readonly memory: MemoryTaker,
  ) {}

  connect(port: VirtioPort): void {
    this.port = port;
  }

  // ---- for the host ----

  /** Pages of 4 KiB that are in the balloon. */
  get pages(): number {
    return this.actual;
  }

  /** How many pages of 4 KiB are wanted in it, below 2**32. */
  get targetPages(): number {
    return this.target;
  }

  set targetPages(pages: number) {
    if (pages === this.target) return;
    this.target = pages;
    this.port?.configChanged();
  }

  /** What the guest told last, as far as it knows. */
  get statistics(): ReadonlyMap<BalloonStatistic, bigint> {
    const known = new Map<BalloonStatistic, bigint>();
    BALLOON_STATISTICS.forEach((name, tag) => {
      const value = this.values[tag];
      if (value !== null) known.set(name, value);
    });
    return known;
  }

  /** Asks the guest for its statistics, which come some time later. */
  refresh(): void {
    const queue = this.statisticsQueue;
    if (!this.held || queue === undefined || !this.port?.live) return;
    this.port.queue(queue).push(this.held, 0);
    this.port.queue(queue).flush();
    this.held = undefined;
    this.heldHead = null;
  }

  // ---- queues ----

  private get statisticsQueue(): number | undefined {
    return this.port && this.port.features & FEATURE.STATS ? QUEUE.FIRST_OPTIONAL : undefined;
  }

  private get reportingQueue(): number | undefined {
    if (!this.port || !(this.port.features & FEATURE.REPORTING)) return undefined;
    return QUEUE.FIRST_OPTIONAL + (this.statisticsQueue === undefined ? 0 : 1);
  }

  notified(index: number): void {
    if (index === this.statisticsQueue) {
      this.takeStatistics(index);
      return;
    }
    const queue = this.port?.queue(index);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) {
      if (index === QUEUE.INFLATE) this.inflate(chain);
      else if (index === this.reportingQueue) this.takeReported(chain);
      // Pages that leave the balloon need nothing: they are there when they are written to.
      queue?.push(chain, 0);
    }
    queue?.flush();
  }

  /** §5.5.6: an array of page numbers, 32 bits each. */
  private inflate(chain: DescriptorChain): void {
    const bytes = new Uint8Array(4 * Math.min(Math.floor(chain.readLength / 4), MAX_PAGES));
    if (!chain.read(0, bytes)) return;
    const view = new DataView(bytes.buffer);
    // In runs, as drivers have them.
    let [first, count] = [0, 0];
    for (let at = 0; at < bytes.length; at += 4) {
      const page = view.getUint32(at, true);
      if (count > 0 && page === first + count) count++;
      else if (count > 0 && page === first - 1) {
        first--;
        count++;
      } else {
        if (count > 0) this.memory.take(gpa(first * PAGE_SIZE), count * PAGE_SIZE);
        [first, count] = [page, 1];
      }
    }
    if (count > 0) this.memory.take(gpa(first * PAGE_SIZE), count * PAGE_SIZE);
  }

  /** §5.5.6.7: the buffer itself is what is free. */
  private takeReported(chain: DescriptorChain): void {
    const { addresses, lengths } = chain.writable;
    for (const [i, address] of addresses.entries()) {
      const start = Math.ceil(address / PAGE_SIZE) * PAGE_SIZE;
      const end = Math.floor((address + lengths[i]) / PAGE_SIZE) * PAGE_SIZE;
      if (end > start) this.memory.take(gpa(start), end - start);
    }
  }

  /** §5.5.6.3: the device keeps one buffer, and gives it back when it wants the next statistics. */
  private takeStatistics(index: number): void {
    const queue = this.port?.queue(index);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) {
      if (this.held) queue?.push(this.held, 0);
      this.held = chain;
      this.heldHead = chain.head;
      this.readStatistics(chain);
    }
    queue?.flush();
  }

  private readStatistics(chain: DescriptorChain): void {
    const count = Math.min(Math.floor(chain.readLength / STATISTIC_SIZE), MAX_STATISTICS);
    const bytes = new Uint8Array(count * STATISTIC_SIZE);
    if (!chain.read(0, bytes)) return;
    const view = new DataView(bytes.buffer);
    const values: (bigint | null)[] = BALLOON_STATISTICS.map(() => null);
    for (let at = 0; at < bytes.length; at += STATISTIC_SIZE) {
      const tag = view.getUint16(at, true);
      const value = view.getBigUint64(at + 2, true);
      // All ones: not known.
      if (tag < values.length && value !== 0xffff_ffff_ffff_ffffn) values[tag] = value;
    }
    this.values = values;
  }

  // ---- configuration ----

  readConfig(offset: number, size: number): number {
    const config = new Uint8Array(CONFIG.SIZE + 4);
    put(config, CONFIG.NUM_PAGES, 4, this.target);
    put(config, CONFIG.ACTUAL, 4, this.actual);
    return get(config, offset, size);
  }

  /** The driver tells how much it has given; whole fields, as §5.5.6.2 has it. */
  writeConfig(offset: number, size: number, value: number): void {
    if (offset === CONFIG.ACTUAL && size === 4) this.actual = value;
  }

  // ---- reset and saved state ----

  /** A driver that starts anew has given nothing. What the host wants stays. */
  reset(): void {
    this.actual = 0;
    this.held = undefined;
    this.heldHead = null;
    this.values = BALLOON_STATISTICS.map(() => null);
  }

  resume(): void {
    if (!this.port?.live) return;
    const queue = this.statisticsQueue;
    if (queue !== undefined && this.heldHead !== null) this.held = this.port.queue(queue).reopen(this.heldHead);
    for (let index = 0; index < this.queueSizes.length; index++) this.notified(index);
  }

  save(): State {
    return { target: this.target, actual: this.actual, held: this.heldHead, statistics: [...this.values] };
  }

  restore(state: State): void {
    this.target = state.target;
    this.actual = state.actual;
    this.held = undefined;
    this.heldHead = state.held;
    this.values = state.statistics;
  }
}
