/** Time-stamp counters on a KVM that lets them be set, which not every one does: one of the test's own. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MSR } from '../../arch/x86/msrs.js';
import { requireKvm } from '../../testing/tools.js';
import { KVM } from './abi.js';
import type * as Libc from './libc.js';
import type { Registers } from './registers.js';

/** The host: its clock in nanoseconds, its counter's start, the offset of each CPU by its descriptor, and memory by its address. */
const host = { time: 0, offsets: new Map<number, bigint>(), hasOffset: true, memory: [] as Uint8Array[], delay: 0 };
const HZ = 2e9;
const SECOND = 1e9;
const BOOTED = 123_456n;
const ticks = (): bigint => BOOTED + BigInt(host.time) * 2n;

vi.mock('./libc.js', async (load) => {
  const real = await load<typeof Libc>();
  const value = (attribute: Uint8Array): DataView => {
    const at = new DataView(attribute.buffer).getBigUint64(16, true);
    return new DataView(host.memory[Number(at)].buffer);
  };
  return {
    ...real,
    monotonic: () => (host.time += host.delay),
    addressOf: (bytes: Uint8Array) => BigInt(host.memory.push(bytes) - 1),
    ioctl: (fd: number, request: number, argument: Uint8Array, what: string) => {
      if (!host.hasOffset) throw new real.SystemError(what, 6);
      if (request === KVM.GET_DEVICE_ATTR) value(argument).setBigInt64(0, host.offsets.get(fd) ?? 0n, true);
      if (request === KVM.SET_DEVICE_ATTR) host.offsets.set(fd, value(argument).getBigInt64(0, true));
      return 0;
    },
  };
});

// What it mocks stands on a library that other hosts may not have.
const { missing } = await requireKvm();

const moved = vi.fn();

afterEach(() => {
  moved.mockClear();
  Object.assign(host, { time: 0, offsets: new Map(), hasOffset: true, memory: [], delay: 0 });
});

describe.skipIf(missing !== undefined)('time-stamp counters', async () => {
  const tscModule = missing === undefined ? await import('./tsc.js') : undefined;
  const wordsModule = missing === undefined ? await import('./cpu-words.js') : undefined;

  /** Those of the CPUs of a machine, and the values that the MSR was set to. */
  function make(cpus = 1) {
    if (!tscModule || !wordsModule) throw new Error('there is no KVM');
    const { TimeStampCounter } = tscModule;
    const words = new wordsModule.CpuWords(cpus);
    const set: bigint[] = [];
    const counters = Array.from({ length: cpus }, (_, index) => {
      const fd = 100 + index;
      const registers = {
        msrs: () => [[MSR.TSC, ticks() + (host.offsets.get(fd) ?? 0n)]],
        setMsrs: (values: readonly (readonly [number, bigint])[]) => void set.push(values[0][1]),
      } as unknown as Registers;
      return new TimeStampCounter({ fd, index, registers, words, hz: HZ });
    });
    return { counters, tsc: counters[0], set };
  }

  it('go on while the machine’s clock does', () => {
    const { tsc } = make();
    tsc.set(500n, 0, 0);
    host.time = 5 * SECOND;
    expect(tsc.follow(() => 5 * SECOND - 1000, moved)).toBe(0);
    expect(tsc.read()).toBe(500n + 10n * BigInt(SECOND));
  });

  it('are taken back by as long as the clock has stood', () => {
    const { tsc } = make();
    tsc.set(0n, 0, 0);
    host.time = 5 * SECOND;
    expect(tsc.follow(() => 3 * SECOND, moved)).not.toBe(0);
    expect(tsc.read()).toBe(6n * BigInt(SECOND));
    // Once.
    expect(tsc.follow(() => 3 * SECOND, moved)).toBe(0);
    host.time = 6 * SECOND;
    expect(tsc.follow(() => 3.5 * SECOND, moved)).not.toBe(0);
    expect(tsc.read()).toBe(7n * BigInt(SECOND));
  });

  it('of all CPUs are in step to the tick, whenever each is looked after', () => {
    const { counters } = make(3);
    host.time = 1000;
    for (const counter of counters) {
      counter.reset(500, 900);
      host.time += 7777;
    }
    const all = (): bigint[] => counters.map((counter) => counter.read());
    expect(new Set(all()).size).toBe(1);
    // The clock stood for a second and a bit; each looks at another moment.
    host.time += 4 * SECOND;
    for (const counter of counters.toReversed()) {
      counter.follow(() => host.time - SECOND - 12_345 + (host.time % 100), moved);
      host.time += 33_333;
    }
    expect(new Set(all()).size).toBe(1);
    // The clocks of guests are set once for all.
    expect(moved).toHaveBeenCalledTimes(1);
    // It stands still again, and each is saved at another moment.
    const now = host.time - SECOND - 12_345;
    const saved = counters.map((counter) => {
      host.time += 5_000_000;
      return counter.at(now);
    });
    expect(new Set(saved).size).toBe(1);
    const { counters: others } = make(3);
    host.time += SECOND;
    for (const [i, counter] of others.entries()) {
      counter.set(saved[i] + BigInt(i), now, now);
      host.time += 999;
    }
    const [first, second, third] = others.map((counter) => counter.read());
    expect([second - first, third - first]).toEqual([1n, 2n]);
  });

  it('are not moved by a thread that loses its processor between two looks', () => {
    const { tsc } = make();
    tsc.set(0n, 0, 0);
    host.time = SECOND;
    let looks = 0;
    const now = (): number => {
      const seen = host.time;
      // The first time somebody else runs for a while.
      if (looks++ === 0) host.time += 5_000_000;
      return seen;
    };
    expect(tsc.follow(now, moved)).toBe(0);
  });

  it('come from afar where their offset cannot be set', () => {
    host.hasOffset = false;
    const { tsc, set } = make();
    tsc.reset(0, 0);
    host.time = SECOND;
    expect(tsc.follow(() => 0.5 * SECOND, moved)).not.toBe(0);
    const wanted = ticks() - BigInt(SECOND);
    expect(set).toEqual([wanted + (1n << 60n), wanted]);
  });
});
