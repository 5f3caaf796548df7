import type { LocalApic } from '../iface/local-apic.js';

/** A local APIC that does nothing but offer the vectors of a list, the first first. */
export function quietApic(pending: number[] = []): LocalApic {
  return {
    apicBase: 0xfee0_0900n,
    writeApicBase: () => false,
    mmioRead: () => 0,
    mmioWrite: () => undefined,
    readMsr: () => undefined,
    writeMsr: () => false,
    tscDeadline: 0n,
    cr8: 0,
    pendingVector: () => pending[0] ?? -1,
    acknowledge: () => pending.shift() ?? -1,
    extIntPending: false,
    takeExtInt: () => false,
    deliver: () => undefined,
    setLint: () => undefined,
    tscChanged: () => undefined,
    reset: () => undefined,
  };
}
