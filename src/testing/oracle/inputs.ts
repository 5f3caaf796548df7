/** The state a case starts from, apart from general registers: x87, MMX, SSE and the data window. */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { CASE, FX, WINDOW_SIZE } from './case-format.js';
import { dataFormat, usesX87, usesXmm } from './operand-data.js';
import type { Random } from './random.js';
import { writeF80, writeVector } from './values.js';

/** FXSAVE image for rows that do not look at it: a pattern in which changes show. */
const PLAIN = Buffer.alloc(512);
PLAIN.writeUInt16LE(0x37f, FX.FCW);
PLAIN.writeUInt32LE(0x1f80, FX.MXCSR);
for (let i = FX.ST; i < FX.XMM; i++) if ((i & 15) < 10) PLAIN[i] = (i * 7) & 0xff;
for (let i = FX.XMM; i < 416; i++) PLAIN[i] = (i * 13) & 0xff;

export function prepareState(r: Random, row: Instruction, target: Buffer): void {
  target.fill(0, 0, CASE.FX);
  for (let i = 0; i < WINDOW_SIZE; i += 4) target.writeUInt32LE(r.u32(), CASE.WINDOW + i);
  PLAIN.copy(target, CASE.FX);
  if (usesX87(row)) prepareX87(r, row, target);
  if (usesXmm(row)) {
    const format = dataFormat(row);
    for (let i = 0; i < 16; i++) writeVector(r, target, CASE.FX + FX.XMM + 16 * i, format);
    target.writeUInt32LE(mxcsr(r), CASE.FX + FX.MXCSR);
  }
}

/** Masked and to nearest as a rule; often as it is in programs after the first inexact result. */
function mxcsr(r: Random): number {
  if (r.oneIn(2)) return 0x1fa0;
  let value = 0x1f80;
  if (r.oneIn(2)) value |= r.below(4) << 13;
  if (r.oneIn(5)) value |= 0x40;
  if (r.oneIn(5)) value |= 0x8000;
  if (r.oneIn(3)) value |= r.below(64);
  if (r.oneIn(5)) value &= ~(r.below(64) << 7);
  return value;
}

function prepareX87(r: Random, row: Instruction, target: Buffer): void {
  const fx = CASE.FX;
  let control = 0x37f;
  if (r.oneIn(2)) control = (control & ~0xf00) | (r.pick([0, 2, 3, 3]) << 8) | (r.below(4) << 10);
  if (r.oneIn(6)) control &= ~r.below(64);
  let status = r.below(8) << 11;
  if (r.oneIn(2)) status |= r.u32() & 0x4700;
  // Sticky exceptions, masked ones only: others are pending, and the instruction faults.
  if (r.oneIn(4)) status |= r.below(128) & (control | 0x40);
  if (r.oneIn(60)) status |= r.below(64);
  target.writeUInt16LE(control, fx + FX.FCW);
  target.writeUInt16LE(status, fx + FX.FSW);
  target[fx + FX.FTW] = r.oneIn(3) ? r.below(256) : r.oneIn(4) ? 0 : 0xff;
  for (let i = 0; i < 8; i++) {
    target.fill(0, fx + FX.ST + 16 * i, fx + FX.ST + 16 * i + 16);
    if (row.feature === 'fpu' || !r.oneIn(2)) writeF80(r, target, fx + FX.ST + 16 * i);
    else writeVector(r, target, fx + FX.ST + 16 * i, 'int');
    target.fill(0, fx + FX.ST + 16 * i + 10, fx + FX.ST + 16 * i + 16);
  }
}
