import type { Virtqueue } from './virtqueue.js';

/** The registers behind the common configuration structure, VIRTIO 1.2 §4.1.4.3. */
export interface CommonRegisters {
  deviceFeatureSelect: number;
  readonly deviceFeatures: number;
  driverFeatureSelect: number;
  driverFeaturesHalf: number;
  configVector: number;
  readonly queueCount: number;
  readonly status: number;
  writeStatus(value: number): void;
  readonly generation: number;
  queueSelect: number;
  /** Undefined when `queueSelect` names no queue: its registers read 0 and keep nothing. */
  readonly selectedQueue: Virtqueue | undefined;
  queueVector: number;
}

interface Field {
  /** Offset in bytes. */
  readonly at: number;
  readonly size: 1 | 2 | 4;
  read(registers: CommonRegisters): number;
  write?(registers: CommonRegisters, value: number): void;
}

/** Size of the structure, queue_notify_data and queue_reset included. */
export const COMMON_SIZE = 0x3c;

/** The driver sets a queue up before it enables it (§4.1.4.3.2); later writes change nothing. */
function setUp(registers: CommonRegisters, change: (queue: Virtqueue) => void): void {
  const queue = registers.selectedQueue;
  if (queue && !queue.ready) change(queue);
}

const isPowerOfTwo = (n: number): boolean => n > 0 && (n & (n - 1)) === 0;

/** Low or high half of one of the three addresses of a queue. */
const addressField = (at: number, index: number): Field => ({
  at,
  size: 4,
  read: (r) => r.selectedQueue?.addresses[index] ?? 0,
  write: (r, value) => setUp(r, (queue) => (queue.addresses[index] = value)),
});

/** struct virtio_pci_common_cfg. queue_notify_data and queue_reset read 0: their features are not offered. */
export const COMMON_FIELDS: readonly Field[] = [
  { at: 0x00, size: 4, read: (r) => r.deviceFeatureSelect, write: (r, value) => (r.deviceFeatureSelect = value) },
  { at: 0x04, size: 4, read: (r) => r.deviceFeatures },
  { at: 0x08, size: 4, read: (r) => r.driverFeatureSelect, write: (r, value) => (r.driverFeatureSelect = value) },
  { at: 0x0c, size: 4, read: (r) => r.driverFeaturesHalf, write: (r, value) => (r.driverFeaturesHalf = value) },
  { at: 0x10, size: 2, read: (r) => r.configVector, write: (r, value) => (r.configVector = value) },
  { at: 0x12, size: 2, read: (r) => r.queueCount },
  { at: 0x14, size: 1, read: (r) => r.status, write: (r, value) => r.writeStatus(value) },
  { at: 0x15, size: 1, read: (r) => r.generation },
  { at: 0x16, size: 2, read: (r) => r.queueSelect, write: (r, value) => (r.queueSelect = value) },
  {
    at: 0x18,
    size: 2,
    read: (r) => r.selectedQueue?.size ?? 0,
    write: (r, value) =>
      setUp(r, (queue) => {
        if (isPowerOfTwo(value) && value <= queue.maxSize) queue.size = value;
      }),
  },
  { at: 0x1a, size: 2, read: (r) => r.queueVector, write: (r, value) => (r.queueVector = value) },
  {
    at: 0x1c,
    size: 2,
    read: (r) => (r.selectedQueue?.ready ? 1 : 0),
    // Writing 0 is forbidden to drivers and does nothing: only a reset disables a queue.
    write: (r, value) => setUp(r, (queue) => (queue.ready = value === 1)),
  },
  { at: 0x1e, size: 2, read: (r) => (r.selectedQueue ? r.queueSelect : 0) },
  addressField(0x20, 0),
  addressField(0x24, 1),
  addressField(0x28, 2),
  addressField(0x2c, 3),
  addressField(0x30, 4),
  addressField(0x34, 5),
  { at: 0x38, size: 2, read: () => 0 },
  { at: 0x3a, size: 2, read: () => 0 },
];
