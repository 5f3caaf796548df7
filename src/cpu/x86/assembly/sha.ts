// The SHA extensions: steps of SHA-1 and SHA-256 (FIPS 180-4), SDM vol. 2, "SHA1RNDS4" and following.
import { STATE } from './env';
import { NEXT_FAULT, S_XMM } from './generated/layout';
import { setXmm, xmmOld, xmmReg, xmmSource } from './sse-operands';
import { imm8 } from './sse-shuffle';

@inline
function lane(at: usize, i: usize): u32 {
  return load<u32>(at + (i << 2));
}

@inline
function setLanes(rec: usize, l0: u32, l1: u32, l2: u32, l3: u32): i32 {
  return setXmm(rec, i32x4(l0, l1, l2, l3));
}

// ---- SHA-1: A stands in the highest lane ----

/** f and K of the four ranges of rounds, FIPS 180-4 §4.1.1 and §4.2.1. */
function sha1Function(range: u32, b: u32, c: u32, d: u32): u32 {
  if (range == 0) return ((b & c) ^ (~b & d)) + 0x5a827999;
  if (range == 1) return (b ^ c ^ d) + 0x6ed9eba1;
  if (range == 2) return ((b & c) ^ (b & d) ^ (c & d)) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

/** Four rounds; E has been added to the first message word. */
export function x_sha1rnds4(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const at = xmmReg(rec);
  const range = imm8(rec) & 3;
  let a = lane(at, 3);
  let b = lane(at, 2);
  let c = lane(at, 1);
  let d = lane(at, 0);
  let e: u32 = 0;
  for (let i: i32 = 3; i >= 0; i--) {
    const next = sha1Function(range, b, c, d) + rotl<u32>(a, 5) + lane(s, i) + e;
    e = d;
    d = c;
    c = rotl<u32>(b, 30);
    b = a;
    a = next;
  }
  return setLanes(rec, d, c, b, a);
}

export function x_sha1nexte(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const e = rotl<u32>(lane(xmmReg(rec), 3), 30);
  return setLanes(rec, lane(s, 0), lane(s, 1), lane(s, 2), lane(s, 3) + e);
}

export function x_sha1msg1(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const a = xmmOld(rec);
  return setXmm(rec, v128.xor(a, v128.shuffle<i64>(v128.load(s), a, 1, 2)));
}

export function x_sha1msg2(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const at = xmmReg(rec);
  const w16 = rotl<u32>(lane(at, 3) ^ lane(s, 2), 1);
  const w17 = rotl<u32>(lane(at, 2) ^ lane(s, 1), 1);
  const w18 = rotl<u32>(lane(at, 1) ^ lane(s, 0), 1);
  const w19 = rotl<u32>(lane(at, 0) ^ w16, 1);
  return setLanes(rec, w19, w18, w17, w16);
}

// ---- SHA-256: the destination holds C D G H, the source A B E F, highest lane first ----

/** Two rounds; XMM0 holds two message words with their constants added. */
export function x_sha256rnds2(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const at = xmmReg(rec);
  const words = STATE + S_XMM;
  let a = lane(s, 3);
  let b = lane(s, 2);
  let c = lane(at, 3);
  let d = lane(at, 2);
  let e = lane(s, 1);
  let f = lane(s, 0);
  let g = lane(at, 1);
  let h = lane(at, 0);
  for (let i: usize = 0; i < 2; i++) {
    const sum1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const sum0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const t1 = h + sum1 + ((e & f) ^ (~e & g)) + lane(words, i);
    const t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  return setLanes(rec, f, e, b, a);
}

@inline
function sigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}

@inline
function sigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

export function x_sha256msg1(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const at = xmmReg(rec);
  return setLanes(
    rec,
    lane(at, 0) + sigma0(lane(at, 1)),
    lane(at, 1) + sigma0(lane(at, 2)),
    lane(at, 2) + sigma0(lane(at, 3)),
    lane(at, 3) + sigma0(lane(s, 0)),
  );
}

export function x_sha256msg2(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const at = xmmReg(rec);
  const w16 = lane(at, 0) + sigma1(lane(s, 2));
  const w17 = lane(at, 1) + sigma1(lane(s, 3));
  return setLanes(rec, w16, w17, lane(at, 2) + sigma1(w16), lane(at, 3) + sigma1(w17));
}
