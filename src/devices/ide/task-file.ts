/** The registers of one drive on an IDE channel: ATA/ATAPI-7 volume 2 (T13/1532D) §5.9, §6.1. */
import { struct, u16, u8, type Infer } from '../../snapshot/schema.js';
import type { AtaDrive, Outcome, Taskfile } from '../ata/drive.js';
import { READY } from '../ata/registers.js';

export const driveRegisters = struct({
  /** Each has a value and the one written before it, in the high byte. */
  feature: u16,
  count: u16,
  low: u16,
  mid: u16,
  high: u16,
  status: u8,
  error: u8,
});
export type DriveRegisters = Infer<typeof driveRegisters>;

/** Command block registers by their offset. */
export const REG = { DATA: 0, FEATURE: 1, COUNT: 2, LOW: 3, MID: 4, HIGH: 5, DEVICE: 6, COMMAND: 7 } as const;
export const FIFOS = ['feature', 'count', 'low', 'mid', 'high'] as const;

export const newRegisters = (): DriveRegisters => ({
  feature: 0,
  count: 0,
  low: 0,
  mid: 0,
  high: 0,
  status: 0,
  error: 0,
});

/** What a host reads at an offset; status behind the registers that have one of their own. `highOrder`: the values before the newest. */
export function registerOf(registers: DriveRegisters, offset: number, highOrder: boolean): number {
  const shift = highOrder ? 8 : 0;
  switch (offset) {
    case REG.FEATURE:
      return registers.error;
    case REG.COUNT:
      return (registers.count >> shift) & 0xff;
    case REG.LOW:
      return (registers.low >> shift) & 0xff;
    case REG.MID:
      return (registers.mid >> shift) & 0xff;
    case REG.HIGH:
      return (registers.high >> shift) & 0xff;
    default:
      return registers.status;
  }
}

/** What stands there after a reset or a diagnostic. */
export function showSignature(registers: DriveRegisters, drive: AtaDrive): void {
  const { signature } = drive;
  registers.count = 1;
  registers.low = signature & 0xff;
  registers.mid = (signature >> 8) & 0xff;
  registers.high = (signature >> 16) & 0xff;
  registers.error = 1;
  registers.status = drive.packets ? 0 : READY;
}

export function taskfileOf(registers: DriveRegisters, device: number, command: number): Taskfile {
  const { feature, count, low, mid, high } = registers;
  const current = (low & 0xff) + (mid & 0xff) * 2 ** 8 + (high & 0xff) * 2 ** 16;
  const previous = (low >> 8) + (mid >> 8) * 2 ** 8 + (high >> 8) * 2 ** 16;
  return { command, feature, count, lba: current + previous * 2 ** 24, device };
}

export function showOutcome(registers: DriveRegisters, { status, error, lba, count }: Outcome): void {
  registers.status = status;
  registers.error = error;
  if (lba !== undefined) {
    const byte = (index: number): number => Math.floor(lba / 2 ** (8 * index)) & 0xff;
    registers.low = byte(0) | (byte(3) << 8);
    registers.mid = byte(1) | (byte(4) << 8);
    registers.high = byte(2) | (byte(5) << 8);
  }
  if (count !== undefined) registers.count = count;
}
