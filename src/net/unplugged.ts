import type { NetBackend } from '../iface/net.js';
import { bytes, struct } from '../snapshot/schema.js';
import type { Plain } from '../snapshot/schema.js';

const stateSchema = struct({ connections: bytes() });

/** The network of a card without a cable. It takes the place of any other when a machine is restored. */
export class Unplugged implements NetBackend {
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly linkUp = false;

  constructor(readonly id: string) {}

  connect(): void {}

  reserve(length: number): Uint8Array {
    return new Uint8Array(length);
  }

  commit(): void {}
  flush(): void {}
  receiveReady(): void {}

  save(): Plain {
    return { connections: new Uint8Array(0) };
  }

  restore(): void {}
}
