import type { FrameInfo, NetBackend, Nic } from '../iface/net.js';
import { SchemaError } from '../snapshot/schema.js';

/** A network that keeps what it is sent. */
export class FakeNetwork implements NetBackend {
  readonly id = 'net0';
  readonly stateVersion = 1;
  readonly stateSchema = {
    check: (): null => {
      throw new SchemaError('nothing is saved');
    },
  };
  linkUp = true;
  nic: Nic | undefined;
  room = Infinity;
  readonly sent: { frame: Uint8Array; info: FrameInfo }[] = [];
  private reserved = new Uint8Array(0);

  connect(nic: Nic): void {
    this.nic = nic;
  }
  reserve(length: number): Uint8Array | undefined {
    if (this.room === 0) return undefined;
    this.reserved = new Uint8Array(length);
    return this.reserved;
  }
  commit(info: FrameInfo): void {
    this.room--;
    this.sent.push({ frame: this.reserved, info });
  }
  flush(): void {}
  receiveReady(): void {}
  save(): null {
    return null;
  }
  restore(): void {}
}
