/** The instruction table: every encoding that the processor knows, in the order in which decoders try them. */
import { CONTROL } from './control.js';
import { CRYPTO } from './crypto.js';
import { INTEGER } from './integer.js';
import { PACKED } from './packed.js';
import type { Instruction } from './row.js';
import { SSE } from './sse.js';
import { SSE3_4 } from './sse3-4.js';
import { STRING } from './string.js';
import { SYSTEM } from './system.js';
import { X87 } from './x87.js';

export const INSTRUCTIONS: readonly Instruction[] = [
  ...INTEGER,
  ...CONTROL,
  ...STRING,
  ...SYSTEM,
  ...X87,
  ...PACKED,
  ...SSE,
  ...SSE3_4,
  ...CRYPTO,
];
