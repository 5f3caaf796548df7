import { describe, expect, it } from 'vitest';
import { MSR } from '../../arch/x86/msrs.js';
import { FakeClock } from '../../host/fake/clock.js';
import type { Dma } from '../../iface/guest-memory.js';
import { KvmClock, tickScale } from './clock.js';

/** As a guest reads struct pvclock_vcpu_time_info: nanoseconds at a value of its counter. */
function guestTime(view: DataView, at: number, tsc: bigint): bigint {
  const shift = view.getInt8(at + 28);
  const delta = BigInt.asUintN(64, tsc - view.getBigUint64(at + 8, true));
  const shifted = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift);
  return view.getBigUint64(at + 16, true) + ((shifted * BigInt(view.getUint32(at + 24, true))) >> 32n);
}

function make(tscHz: number) {
  const memory = new Uint8Array(0x3000);
  const dma: Pick<Dma, 'write'> = {
    write: (to, bytes) => {
      memory.set(bytes, to);
      return true;
    },
  };
  const clock = new FakeClock(5e9);
  const host = { offset: 0n };
  const tscAt = (now: number): bigint => BigInt(Math.floor((now * tscHz) / 1e9)) + host.offset;
  return {
    memory,
    view: new DataView(memory.buffer),
    clock,
    host,
    tscAt,
    guest: new KvmClock({ clock, dma: dma as Dma, tscHz, tscAt }),
  };
}

describe('the clock that KVM has for guests', () => {
  it.each([1e9, 2.1e9, 999_999_000, 3.7e9, 25e6, 5e9])('goes by a counter of %d Hz', (hz) => {
    const { view, clock, guest, tscAt } = make(hz);
    guest.written(MSR.KVM_SYSTEM_TIME, 0x1001n);
    for (const later of [0, 1000, 1e9, 86_400e9]) {
      const now = clock.now() + later;
      const error = Number(guestTime(view, 0x1000, tscAt(now)) - BigInt(now));
      // The multiplier has 31 bits, and the counter is read between two of its ticks.
      expect(Math.abs(error)).toBeLessThanOrEqual(1e9 / hz + 1 + later * 2 ** -31);
    }
    expect(view.getUint32(0x1000, true) % 2).toBe(0);
    expect(view.getUint8(0x101d)).toBe(1);
  });

  it('has multipliers of 32 bits', () => {
    for (const hz of [1e6, 1e9, 1e9 + 1, 1e9 - 1, 4e9, 2 ** 31, 1e10]) {
      const { multiplier } = tickScale(hz);
      expect(multiplier).toBeGreaterThanOrEqual(2 ** 31);
      expect(multiplier).toBeLessThan(2 ** 32);
    }
  });

  it('says when it was 0', () => {
    const { view, clock, guest } = make(1e9);
    guest.written(MSR.KVM_WALL_CLOCK, 0x2000n);
    const began = clock.wallClock() - 5000;
    expect(view.getUint32(0x2004, true)).toBe(Math.floor(began / 1000));
    expect(view.getUint32(0x2008, true)).toBe((began % 1000) * 1e6);
  });

  it('is written nowhere until it is switched on, and again when the counter was set', () => {
    const { memory, view, guest, host, clock, tscAt } = make(1e9);
    guest.written(MSR.KVM_SYSTEM_TIME, 0x1000n);
    guest.restored(new Map());
    expect(memory.every((byte) => byte === 0)).toBe(true);
    guest.written(MSR.KVM_SYSTEM_TIME, 0x1001n);
    const before = view.getUint32(0x1000, true);
    host.offset = 77n;
    guest.restored(new Map([[MSR.KVM_SYSTEM_TIME, 0x1001n]]));
    expect(view.getUint32(0x1000, true)).not.toBe(before);
    expect(guestTime(view, 0x1000, tscAt(clock.now()))).toBe(BigInt(clock.now()));
  });
});
