/** Network devices of a board. */
import { UsageError } from '../../base/errors.js';
import { E1000 } from '../../devices/e1000/e1000.js';
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
  for (const [i, { model, mac, queues, mtu, backend, rom }] of nics.entries()) {
    if (model === 'e1000') {
      const id = `e1000-${i}`;
      if (!slots.attachCard) throw new UsageError('the machine has no PCI, and so no e1000: model=virtio-net');
      slots.attachCard((environment, dma) => new E1000({ id, environment, dma, backend, mac, clock }), rom);
    } else slots.attachVirtio(new VirtioNet({ id: `virtio-net${i}`, backend, mac, pairs: queues, mtu, clock }), rom);
    slots.parts.push(backend);
  }
}
