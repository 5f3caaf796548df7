import type { Destination } from '../../iface/local-apic.js';
import { DFR } from './registers.js';

/** By what a local APIC is addressed. */
export interface ApicAddress {
  readonly apicId: number;
  readonly x2apic: boolean;
  /** xAPIC mode's logical destination and destination format registers. */
  readonly ldr: number;
  readonly dfr: number;
}

/** The logical id in x2APIC mode: cluster in bits 31:16, one bit of bits 15:0. SDM vol. 3 §11.12.10.2. */
export const x2apicLdr = (apicId: number): number => (((apicId >>> 4) << 16) | (1 << (apicId & 0xf))) >>> 0;

/** Whether a message is for an APIC, SDM vol. 3 §11.6.2 and §11.12.10. */
export function isAddressed({ id, logical, wide }: Destination, { apicId, x2apic, ldr, dfr }: ApicAddress): boolean {
  // 8-bit broadcasts reach x2APICs too, as interrupts of I/O APICs and MSIs without remapping have no other form.
  if (id === (wide ? 0xffff_ffff : 0xff)) return true;
  if (!logical) return id === apicId;
  if (x2apic) {
    const own = x2apicLdr(apicId);
    return id >>> 16 === own >>> 16 && (id & own & 0xffff) !== 0;
  }
  if (id > 0xff) return false;
  const own = ldr >>> 24;
  if (dfr === DFR.FLAT) return (id & own) !== 0;
  // Cluster model: cluster in bits 7:4, 15 for all of them.
  return (id >>> 4 === own >>> 4 || id >>> 4 === 15) && (id & own & 0xf) !== 0;
}
