/**
 * KVM's clock for guests: Linux 6.1, Documentation/virt/kvm/x86/msr.rst and cpuid.rst, arch/x86/include/asm/pvclock-abi.h. The guest names a place in its memory for
 * each CPU, where it finds how the time since the machine started follows from its time-stamp counter. So it needs not know the counter's rate, and a machine
 * can go on where that is another one.
 */
import { MSR } from '../../arch/x86/msrs.js';
import { gpa } from '../../base/units.js';
import type { Clock } from '../../iface/clock.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { GuestClock } from '../../iface/vcpu.js';

/** Of the MSR: the CPU's time is kept. */
const ENABLE = 1n;

/** struct pvclock_vcpu_time_info. */
const TIME = { VERSION: 0, TSC: 8, SYSTEM: 16, MULTIPLIER: 24, SHIFT: 28, FLAGS: 29, SIZE: 32 } as const;
/** Times of all CPUs are one, since their counters are. */
const FLAG_STABLE = 1;
/** struct pvclock_wall_clock: when the clock was 0. */
const WALL = { VERSION: 0, SECONDS: 4, NANOSECONDS: 8, SIZE: 12 } as const;

/** Nanoseconds are `(ticks << shift) * multiplier / 2**32`, by a right shift where that is negative; the multiplier is from 2**31 to 2**32 - 1. */
export function tickScale(hz: number): { readonly multiplier: number; readonly shift: number } {
  let shift = 0;
  const multiplier = (): number => Math.round(((1e9 / hz) * 2 ** 32) / 2 ** shift);
  while (multiplier() >= 2 ** 32) shift++;
  while (multiplier() < 2 ** 31) shift--;
  return { multiplier: multiplier(), shift };
}

export interface KvmClockParts {
  readonly clock: Clock;
  readonly dma: Dma;
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  /** The counter at a time of the clock. */
  tscAt(now: number): bigint;
}

/**
 * The clock of one CPU. DEVIATION: a guest that sets its time-stamp counter finds a wrong time until it writes the MSR again; those that use the clock leave the
 * counter alone. Its MSRs are kept with the others. */
export class KvmClock implements GuestClock {
  /** Odd while it is written, which nobody sees here: the CPU that reads it is the one that runs this. */
  private version = 0;

  constructor(private readonly parts: KvmClockParts) {}

  written(index: number, value: bigint): void {
    if (index === MSR.KVM_SYSTEM_TIME) this.keep(value);
    else if (index === MSR.KVM_WALL_CLOCK) this.writeWallClock(value);
  }

  restored(msrs: ReadonlyMap<number, bigint>): void {
    this.keep(msrs.get(MSR.KVM_SYSTEM_TIME) ?? 0n);
  }

  private keep(systemTime: bigint): void {
    if (!(systemTime & ENABLE)) return;
    const { clock, dma, tscHz } = this.parts;
    const now = clock.now();
    const { multiplier, shift } = tickScale(tscHz);
    const time = new DataView(new ArrayBuffer(TIME.SIZE));
    this.version = (this.version + 2) >>> 0;
    time.setUint32(TIME.VERSION, this.version, true);
    time.setBigUint64(TIME.TSC, BigInt.asUintN(64, this.parts.tscAt(now)), true);
    time.setBigUint64(TIME.SYSTEM, BigInt(now), true);
    time.setUint32(TIME.MULTIPLIER, multiplier, true);
    time.setInt8(TIME.SHIFT, shift);
    time.setUint8(TIME.FLAGS, FLAG_STABLE);
    dma.write(gpa(Number(systemTime & ~3n)), new Uint8Array(time.buffer));
  }

  /** Once for each write of the MSR. */
  private writeWallClock(at: bigint): void {
    const { clock, dma } = this.parts;
    const began = clock.wallClock() * 1e6 - clock.now();
    const wall = new DataView(new ArrayBuffer(WALL.SIZE));
    wall.setUint32(WALL.VERSION, 2, true);
    wall.setUint32(WALL.SECONDS, Math.floor(began / 1e9), true);
    wall.setUint32(WALL.NANOSECONDS, Math.floor(began % 1e9), true);
    dma.write(gpa(Number(at & ~3n)), new Uint8Array(wall.buffer));
  }
}
