import { closeLayers } from '../../host/node/layered-memory.js';
import { memoryFiles } from '../../host/node/native/memory-files.js';
import { closeCode } from './code-file.js';
import type { Branch } from './protocol.js';

/** Lets go of what no machine begins with. */
export function closeBranch({ boot, memory, code }: Branch): void {
  memoryFiles?.close(boot);
  closeLayers(memory);
  closeCode(code);
}
