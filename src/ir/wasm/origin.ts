/**
 * Code that is for any of several equal areas of memory: static offsets from `from` on are addresses in the first area, and what the area in
 * hand is away from that, the function has in a local. Global 0 of the module says it.
 */
import type { ByteWriter } from './bytes.js';
import { CONTROL } from './opcodes.js';

export interface Origin {
  readonly local: number;
  readonly from: number;
}

const I32_ADD = 0x6a;

/** At the beginning of a function. */
export function loadOrigin(out: ByteWriter, origin: Origin | undefined): void {
  if (origin) out.u8(CONTROL.GLOBAL_GET).u32(0).u8(CONTROL.LOCAL_SET).u32(origin.local);
}

/** Pushes the address of an access that has only its static offset. */
export function pushBase(out: ByteWriter, origin: Origin | undefined, offset: number): void {
  if (origin && offset >= origin.from) out.u8(CONTROL.LOCAL_GET).u32(origin.local);
  else out.u8(CONTROL.I32_CONST).s32(0);
}

/** The address of an access with this static offset stands on the stack: leads it to the area in hand. */
export function addOrigin(out: ByteWriter, origin: Origin | undefined, offset: number): void {
  if (origin && offset >= origin.from) out.u8(CONTROL.LOCAL_GET).u32(origin.local).u8(I32_ADD);
}
