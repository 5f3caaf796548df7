/** Network cards of a PC. */
import { VirtioNet } from '../../devices/virtio/net/virtio-net.js';
import type { NicModel } from '../../iface/net-config.js';
import type { NetBackend } from '../../iface/net.js';
import type { CardSlots } from './card-slots.js';

export interface PcNic {
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

/** Attaches a card for each, in the order given. */
export function attachNics(nics: readonly PcNic[], cards: CardSlots): void {
  for (const [i, { mac, queues, mtu, backend, rom }] of nics.entries()) {
    cards.attachVirtio(new VirtioNet({ id: `virtio-net${i}`, backend, mac, pairs: queues, mtu }), rom);
    cards.parts.push(backend);
  }
}
