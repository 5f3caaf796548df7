import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { Virtqueue } from './virtqueue.js';

/** What a device asks of its transport. */
export interface VirtioPort {
  /** The driver has set DRIVER_OK and no reset is needed: queues may be used. */
  readonly live: boolean;
  /** The features that the driver accepted. */
  readonly features: bigint;
  queue(index: number): Virtqueue;
  /** Configuration space changed; tells the driver (VIRTIO 1.2 §2.3). */
  configChanged(): void;
  /** The driver broke the rules beyond what a queue can see: the device needs a reset (§2.1.2). */
  broken(): void;
}

/**
 * A virtio device apart from how it is attached. The transport calls `connect` once. A device touches queues only while
 * its port is live.
 */
export interface VirtioDevice extends Snapshotable {
  /** §5. */
  readonly deviceType: number;
  /** PCI class code, 24 bits. */
  readonly classCode: number;
  /** Its own features; the transport adds the common ones. */
  readonly features: bigint;
  /** Largest size of each queue, powers of two. */
  readonly queueSizes: readonly number[];
  /** Bytes of configuration space. */
  readonly configSize: number;
  connect(port: VirtioPort): void;
  /** `offset + size` may reach beyond `configSize`: zeros there. */
  readConfig(offset: number, size: number): number;
  writeConfig(offset: number, size: number, value: number): void;
  /** The driver has made buffers available on a queue, or has just become live. */
  notified(queue: number): void;
  /** Forgets everything; what completes later for requests before is dropped. */
  reset(): void;
  /** After a restore, when all of the machine is back: goes on with requests that were under way. */
  resume(): void;
}
