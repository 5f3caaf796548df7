/** FLAG_RES and FLAG_AUX from what translated code keeps of its last operation: FLAG_KIND in state-layout.ts. */
import { STATE } from './env';
import { FLAG_KIND_ADD, FLAG_KIND_INC, FLAG_KIND_SUB, S_FLAG_AUX, S_FLAG_RES } from './generated/layout';

const AUX_AF: u32 = 8;

export function settle_flags(kind: i32, a: u64, b: u64): void {
  if (kind == 0) {
    store<u64>(STATE + S_FLAG_RES, a);
    store<u32>(STATE + S_FLAG_AUX, <u32>b);
    return;
  }
  // Bits to the left of the operands' width, which are not theirs.
  const spare = <u64>(64 - (8 << (kind & 3)));
  const operation = kind & ~3;
  let result: u64;
  let aux: u32;
  if (operation == FLAG_KIND_ADD || operation == FLAG_KIND_SUB) {
    let carries: u64;
    if (operation == FLAG_KIND_ADD) {
      result = a + b;
      carries = (a & b) | ((a | b) & ~result);
    } else {
      result = a - b;
      carries = (~a & b) | ((~a | b) & result);
    }
    const top = carries << spare;
    aux = (<u32>(top >> 32) & 0xc000_0000) | (<u32>carries & AUX_AF);
  } else {
    result = a;
    const lowest = (<u64>1) << 63;
    const shifted = result << spare;
    const isInc = operation == FLAG_KIND_INC;
    const overflow = <u32>(shifted == (isInc ? lowest : ~lowest & (~(<u64>0) << spare)));
    const carry = <u32>b & 1;
    const half = (<u32>result & 15) == (isInc ? 0 : 15) ? AUX_AF : 0;
    aux = (carry << 31) | ((carry ^ overflow) << 30) | half;
  }
  store<u64>(STATE + S_FLAG_RES, <u64>(<i64>(result << spare) >> spare));
  store<u32>(STATE + S_FLAG_AUX, aux);
}
