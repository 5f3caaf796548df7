/** 128-bit integer arithmetic for the soft float. Results wider than 64 bits leave their low half in `low`. */

/** Low half of the last 128-bit result, or the remainder of the last division. */
export let low: u64 = 0;

/** Upper half of a × b; the lower half is a * b. */
export function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const mid = a1 * b0 + ((a0 * b0) >> 32);
  const mid2 = a0 * b1 + (mid & 0xffffffff);
  return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/** (hi:lo) / d for hi < d and d ≥ 2^63; the remainder is left in `low`. Two steps of schoolbook division in base 2^32. */
export function divide128(hi: u64, lo: u64, d: u64): u64 {
  const d1 = d >> 32;
  const d0 = d & 0xffffffff;
  let q1 = hi / d1;
  let r = hi - q1 * d1;
  // q1 can be one or two too large.
  while (q1 >> 32 != 0 || q1 * d0 > ((r << 32) | (lo >> 32))) {
    q1--;
    r += d1;
    if (r >> 32 != 0) break;
  }
  const mid = ((hi << 32) | (lo >> 32)) - q1 * d;
  let q0 = mid / d1;
  r = mid - q0 * d1;
  while (q0 >> 32 != 0 || q0 * d0 > ((r << 32) | (lo & 0xffffffff))) {
    q0--;
    r += d1;
    if (r >> 32 != 0) break;
  }
  low = ((mid << 32) | (lo & 0xffffffff)) - q0 * d;
  return (q1 << 32) + q0;
}

/** Integer square root of (hi:lo) for hi ≥ 2^62. The remainder is left in `low`, its bit 64 in `remainderHigh`. */
export function sqrt128(hi: u64, lo: u64): u64 {
  // 53 bits from the host, doubled by a Newton step, then corrected.
  const estimate = sqrt(<f64>hi) * 4294967296.0;
  let s: u64 = estimate >= 18446744073709551615.0 ? u64.MAX_VALUE : <u64>estimate;
  if (s <= hi) s = hi + 1 == 0 ? u64.MAX_VALUE : hi + 1;
  if (s > hi) {
    // (s + q) / 2 without losing the carry
    const q = divide128(hi, lo, s);
    s = (s >> 1) + (q >> 1) + (s & q & 1);
  }
  // rem = N - s², as a signed 128-bit number
  let ph = mulHigh(s, s);
  let pl = s * s;
  let rl = lo - pl;
  let rh = hi - ph - u64(lo < pl);
  while (<i64>rh < 0) {
    // s too large: (s-1)² = s² - 2s + 1
    const addLow = (s << 1) - 1;
    const addHigh = s >> 63;
    s--;
    rl += addLow;
    rh += addHigh + u64(rl < addLow);
  }
  // s too small while rem > 2s
  while (rh > s >> 63 || (rh == s >> 63 && rl > s << 1)) {
    const subLow = (s << 1) + 1;
    const subHigh = s >> 63;
    s++;
    rh -= subHigh + u64(rl < subLow);
    rl -= subLow;
  }
  low = rl;
  remainderHigh = rh;
  return s;
}

export let remainderHigh: u64 = 0;

/** (hi:lo) >> n for 0 ≤ n, bits shifted out are or'ed into bit 0. Returns the upper half, the lower is in `low`. */
export function shiftRightJam(hi: u64, lo: u64, n: i32): u64 {
  if (n == 0) {
    low = lo;
    return hi;
  }
  if (n < 64) {
    low = (hi << (64 - n)) | (lo >> n) | u64(lo << (64 - n) != 0);
    return hi >> n;
  }
  if (n == 64) {
    low = hi | u64(lo != 0);
    return 0;
  }
  if (n < 128) {
    low = (hi >> (n - 64)) | u64(((hi << (128 - n)) | lo) != 0);
    return 0;
  }
  low = u64((hi | lo) != 0);
  return 0;
}
