/** Loading of CR3 and the PAE page-directory pointers, SDM vol. 3 §4.4.1 and §4.10. */
import { STATE } from './env';
import { S_A20_MASK, S_PDPTE, S_PDPTE_IMAGE, S_PHYS_MASK } from './generated/layout';
import { secondStage } from './paging';
import { physToHost } from './tlb';

const entries: usize = STATE + S_PDPTE_IMAGE;

/** Loads the four pointers that CR3 names. False when a reserved bit is set in one that is present: then nothing has changed. */
export function loadPdptes(cr3: u64): bool {
  const reserved: u64 = ~load<u64>(STATE + S_PHYS_MASK) | 0x1e6;
  const at = secondStage(cr3 & 0xffff_ffe0 & load<u64>(STATE + S_A20_MASK), 0);
  const host = physToHost(at);
  if (host) memory.copy(entries, host, 32);
  else memory.fill(entries, 0xff, 32);
  for (let n: usize = 0; n < 4; n++) {
    const entry = load<u64>(entries + n * 8);
    if (entry & 1 && entry & reserved) return false;
  }
  memory.copy(STATE + S_PDPTE, entries, 32);
  return true;
}
