import type { CharReceiver } from '../iface/lines.js';

/** Input on its way to a character device, which takes it as it has room. Outlives the device when the machine is reset. */
export class ConsoleInput {
  private readonly waiting: Uint8Array[] = [];
  private receiver: CharReceiver | undefined;
  private feeding = false;
  /** Bytes that wait. */
  length = 0;

  /** `ready` may hold input back that the guest would lose. */
  constructor(private readonly ready: () => boolean = () => true) {}

  connect(receiver: CharReceiver): void {
    if (this.receiver) this.receiver.onDrain = undefined;
    this.receiver = receiver;
    receiver.onDrain = () => this.feed();
    this.feed();
  }

  send(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.waiting.push(bytes);
    this.length += bytes.length;
    this.feed();
  }

  /** Offers what waits. */
  feed(): void {
    // A device may ask for more while it takes something.
    if (this.feeding || this.length === 0 || !this.ready()) return;
    this.feeding = true;
    for (let first = this.waiting.at(0); first; first = this.waiting.at(0)) {
      const taken = this.receiver?.receive(first) ?? 0;
      this.length -= taken;
      if (taken < first.length) {
        this.waiting[0] = first.subarray(taken);
        break;
      }
      this.waiting.shift();
    }
    this.feeding = false;
  }
}
