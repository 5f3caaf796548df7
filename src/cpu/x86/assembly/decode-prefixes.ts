/** The bytes of the instruction that is being decoded, and its prefixes (SDM vol. 2 §2.1.1). */

/** Address of the next byte. */
export let cursor: usize = 0;
let bytesEnd: usize = 0;
/** More was taken than there is: what was taken is 0. */
export let overrun: bool = false;

/** Starts at `bytes`, of which `count` may be taken. */
@inline
export function startBytes(bytes: usize, count: i32): void {
  cursor = bytes;
  bytesEnd = bytes + count;
  overrun = false;
}

@inline
function take(n: usize): usize {
  const at = cursor;
  cursor = at + n;
  if (cursor > bytesEnd) {
    overrun = true;
    return 0;
  }
  return at;
}

@inline
export function take8(): u32 {
  const at = take(1);
  return at ? <u32>load<u8>(at) : 0;
}
@inline
export function take8s(): i64 {
  const at = take(1);
  return at ? <i64>load<i8>(at) : 0;
}
@inline
export function take16s(): i64 {
  const at = take(2);
  return at ? <i64>load<i16>(at) : 0;
}
@inline
export function take32s(): i64 {
  const at = take(4);
  return at ? <i64>load<i32>(at) : 0;
}
@inline
export function take64(): i64 {
  const at = take(8);
  return at ? load<i64>(at) : 0;
}

export let rex: u32 = 0;
export let operandPrefix: bool = false;
export let addressPrefix: bool = false;
export let lockPrefix: bool = false;
/** 0, 3 for F3, 4 for F2: as rows number their mandatory prefixes. */
export let repPrefix: u32 = 0;
/** Segment override, or -1. */
export let segmentPrefix: i32 = -1;

/** Reads prefixes and returns the first opcode byte. */
export function takePrefixes(is64: bool): u32 {
  rex = 0;
  operandPrefix = false;
  addressPrefix = false;
  lockPrefix = false;
  repPrefix = 0;
  segmentPrefix = -1;
  while (true) {
    const byte = take8();
    if (is64 && (byte & 0xf0) == 0x40) {
      rex = byte;
      continue;
    }
    switch (byte) {
      case 0x66:
        operandPrefix = true;
        break;
      case 0x67:
        addressPrefix = true;
        break;
      case 0xf0:
        lockPrefix = true;
        break;
      case 0xf2:
        repPrefix = 4;
        break;
      case 0xf3:
        repPrefix = 3;
        break;
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        // Ignored in 64-bit mode.
        if (!is64) segmentPrefix = (byte >> 3) & 3;
        break;
      case 0x64:
      case 0x65:
        segmentPrefix = byte - 0x60;
        break;
      default:
        return byte;
    }
    // REX counts only right before the opcode.
    rex = 0;
    if (overrun) return 0;
  }
}
