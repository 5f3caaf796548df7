import type { Gpa } from '../../base/units.js';
import type { MsiSink } from '../../iface/lines.js';
import type { ApicBus } from './apic-bus.js';
import { DELIVERY_MODES } from './registers.js';

/** Message address, SDM vol. 3 §11.11.1: 0xfee in bits 31:20. */
const ADDRESS = { BASE: 0xfee, BASE_SHIFT: 20, ID_SHIFT: 12, REDIRECTION_HINT: 1 << 3, LOGICAL: 1 << 2 } as const;

/** Message data, §11.11.2. */
const DATA = { VECTOR: 0xff, MODE_SHIFT: 8, ASSERT: 1 << 14, LEVEL: 1 << 15 } as const;

/**
 * Turns message-signalled interrupts into APIC messages, SDM vol. 3 §11.11. The destination mode is taken from bit 2 of
 * the address whether or not the redirection hint is set, as operating systems expect; the hint with a logical
 * destination asks for one processor of the set.
 */
export class ApicMsiSink implements MsiSink {
  /** Messages to addresses that are no interrupt messages, or of reserved delivery modes. */
  dropped = 0;

  constructor(private readonly bus: ApicBus) {}

  deliver(address: Gpa, data: number): void {
    const mode = DELIVERY_MODES[(data >>> DATA.MODE_SHIFT) & 7];
    if (Math.floor(address / 2 ** ADDRESS.BASE_SHIFT) !== ADDRESS.BASE || mode === undefined || mode === 'startup') {
      this.dropped++;
      return;
    }
    const low = address % 2 ** ADDRESS.BASE_SHIFT;
    const logical = (low & ADDRESS.LOGICAL) !== 0;
    const anyOf = mode === 'fixed' && logical && (low & ADDRESS.REDIRECTION_HINT) !== 0;
    const level = (data & DATA.LEVEL) !== 0;
    // A level-triggered message with level 0 takes a virtual wire back; there is no wire here to take back.
    if (level && (data & DATA.ASSERT) === 0) return;
    this.bus.send(
      { mode: anyOf ? 'lowest' : mode, vector: data & DATA.VECTOR, level: true, trigger: level ? 'level' : 'edge' },
      { id: (low >>> ADDRESS.ID_SHIFT) & 0xff, logical, wide: false },
    );
  }
}
