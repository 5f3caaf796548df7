import type { Entropy } from '../../iface/clock.js';
import { SchemaError, type Schema } from '../../snapshot/schema.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { DEVICE_TYPE } from './registers.js';

/** At most this many bytes of a buffer are filled: drivers take what they get (VIRTIO 1.2 §5.4.6.1). */
const MAX_BYTES = 0x1_0000;

const stateSchema: Schema<null> = {
  check(value, path) {
    if (value !== null) throw new SchemaError(`${path}: expected nothing`);
    return null;
  },
};

/** Entropy device, VIRTIO 1.2 §5.4: fills what the driver offers. Nothing is ever under way, so nothing is saved. */
export class VirtioEntropy implements VirtioDevice {
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.ENTROPY;
  /** No other class fits. */
  readonly classCode = 0xff_0000;
  readonly features = 0n;
  readonly queueSizes = [64];
  readonly configSize = 0;
  private port: VirtioPort | undefined;

  constructor(
    readonly id: string,
    private readonly entropy: Entropy,
  ) {}

  connect(port: VirtioPort): void {
    this.port = port;
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {}

  notified(index: number): void {
    const queue = this.port?.queue(index);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) {
      const bytes = new Uint8Array(Math.min(chain.writeLength, MAX_BYTES));
      this.entropy.fill(bytes);
      queue?.push(chain, chain.write(0, bytes) ? bytes.length : 0);
    }
    queue?.flush();
  }

  reset(): void {}

  resume(): void {}

  save(): null {
    return null;
  }

  restore(): void {}
}
