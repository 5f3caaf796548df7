/** Network devices of a board. */
import { VirtioNet } from '../../devices/virtio/net/virtio-net.js';
import type { NicModel } from '../../iface/net-config.js';
import type { NetBackend } from '../../iface/net.js';
import type { Clock } from '../../iface/clock.js';
import type { VirtioSlots } from './virtio-slots.js';

export interface BoardNic {
  readonly model: NicModel;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  /** Pairs of queues of a virtio card. */
  readonly queues: number;
  /** Bytes of the largest packet. */
  readonly mtu: number;
  readonly backend: NetBackend;
  /** What firmware finds on the card, to boot from the network. */
  readonly rom?: Uint8Array | undefined;
}

/** Attaches a device for each, in the order given. */
export function attachNics(nics: readonly BoardNic[], slots: VirtioSlots, clock: Clock): void {
  for (const [i, { mac, queues, mtu, backend, rom }] of nics.entries()) {
    slots.attachVirtio(new VirtioNet({ id: `virtio-net${i}`, backend, mac, pairs: queues, mtu, clock }), rom);
    slots.parts.push(backend);
  }
}
