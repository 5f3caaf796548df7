/** ADD, SUB, MUL, DIV, SQRT, MIN, MAX, HADD, HSUB, ADDSUB: instructions. */
import { NEXT_CONTINUE, NEXT_FAULT } from './generated/layout';
import { packedDouble, packedSingle } from './sse-float-packed';
import { OP_ADD, OP_DIV, OP_MAX, OP_MIN, OP_MUL, OP_SQRT, OP_SUB } from './sse-float-packed';
import { add32, add64, div32, div64, mul32, mul64, sqrt32, sqrt64, sub32, sub64 } from './sse-float-native';
import { mxcsr, settled, source32, source64, sourceFaulted } from './sse-float-state';
import { maximum, minimum } from './sse-float-compare';
import { sseReady, xmmReg, xmmSource } from './sse-operands';

// ---- ADD ----

export function x_addss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = add32(mxcsr(), load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_addsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = add64(mxcsr(), load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_addps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_ADD, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_addpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_ADD, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- SUB ----

export function x_subss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = sub32(mxcsr(), load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_subsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = sub64(mxcsr(), load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_subps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_SUB, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_subpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_SUB, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- MUL ----

export function x_mulss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = mul32(mxcsr(), load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_mulsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = mul64(mxcsr(), load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_mulps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_MUL, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_mulpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_MUL, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- DIV ----

export function x_divss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = div32(mxcsr(), load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_divsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = div64(mxcsr(), load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_divps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_DIV, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_divpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_DIV, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- MIN ----

export function x_minss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = <u32>minimum(mxcsr(), 0, load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_minsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = <u64>minimum(mxcsr(), 1, load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_minps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_MIN, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_minpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_MIN, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- MAX ----

export function x_maxss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = <u32>maximum(mxcsr(), 0, load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_maxsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = <u64>maximum(mxcsr(), 1, load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_maxps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_MAX, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_maxpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_MAX, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- SQRT ----

export function x_sqrtss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = sqrt32(mxcsr(), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_sqrtsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = sqrt64(mxcsr(), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_sqrtps(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedSingle(OP_SQRT, xmmReg(rec), b) : NEXT_FAULT;
}

export function x_sqrtpd(rec: usize, ea: u64): i32 {
  const b = xmmSource(rec, ea);
  return b ? packedDouble(OP_SQRT, xmmReg(rec), b) : NEXT_FAULT;
}

// ---- Horizontal and alternating: SSE3 ----

/** Stores four results unless an exception traps. */
function storeSingles(to: usize, a: u32, b: u32, c: u32, d: u32): i32 {
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, a);
  store<u32>(to, b, 4);
  store<u32>(to, c, 8);
  store<u32>(to, d, 12);
  return NEXT_CONTINUE;
}

function storeDoubles(to: usize, a: u64, b: u64): i32 {
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, a);
  store<u64>(to, b, 8);
  return NEXT_CONTINUE;
}

export function x_haddps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const a = add32(m, load<u32>(to), load<u32>(to, 4));
  const b = add32(m, load<u32>(to, 8), load<u32>(to, 12));
  const c = add32(m, load<u32>(s), load<u32>(s, 4));
  const d = add32(m, load<u32>(s, 8), load<u32>(s, 12));
  return storeSingles(to, a, b, c, d);
}

export function x_haddpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const a = add64(m, load<u64>(to), load<u64>(to, 8));
  const b = add64(m, load<u64>(s), load<u64>(s, 8));
  return storeDoubles(to, a, b);
}

export function x_hsubps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const a = sub32(m, load<u32>(to), load<u32>(to, 4));
  const b = sub32(m, load<u32>(to, 8), load<u32>(to, 12));
  const c = sub32(m, load<u32>(s), load<u32>(s, 4));
  const d = sub32(m, load<u32>(s, 8), load<u32>(s, 12));
  return storeSingles(to, a, b, c, d);
}

export function x_hsubpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const a = sub64(m, load<u64>(to), load<u64>(to, 8));
  const b = sub64(m, load<u64>(s), load<u64>(s, 8));
  return storeDoubles(to, a, b);
}

export function x_addsubps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const a = sub32(m, load<u32>(to), load<u32>(s));
  const b = add32(m, load<u32>(to, 4), load<u32>(s, 4));
  const c = sub32(m, load<u32>(to, 8), load<u32>(s, 8));
  const d = add32(m, load<u32>(to, 12), load<u32>(s, 12));
  return storeSingles(to, a, b, c, d);
}

export function x_addsubpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const a = sub64(m, load<u64>(to), load<u64>(s));
  const b = add64(m, load<u64>(to, 8), load<u64>(s, 8));
  return storeDoubles(to, a, b);
}
