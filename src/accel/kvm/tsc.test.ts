/** Time-stamp counters on a KVM that lets them be set, which not every one does: one of the test's own. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MSR } from '../../arch/x86/msrs.js';
import { requireKvm } from '../../testing/tools.js';
import { KVM } from './abi.js';
import type * as Libc from './libc.js';
import type { Registers } from './registers.js';

/** The host: its clock in nanoseconds, the offset of the counter, and memory by its address. */
const host = { time: 0, offset: 0n, hasOffset: true, memory: [] as Uint8Array[] };

vi.mock('./libc.js', async (load) => {
  const real = await load<typeof Libc>();
  const value = (attribute: Uint8Array): DataView => {
    const at = new DataView(attribute.buffer).getBigUint64(16, true);
    return new DataView(host.memory[Number(at)].buffer);
  };
  return {
    ...real,
    monotonic: () => host.time,
    addressOf: (bytes: Uint8Array) => BigInt(host.memory.push(bytes) - 1),
    ioctl: (_fd: number, request: number, argument: Uint8Array, what: string) => {
      if (!host.hasOffset) throw new real.SystemError(what, 6);
      if (request === KVM.GET_DEVICE_ATTR) value(argument).setBigUint64(0, BigInt.asUintN(64, host.offset), true);
      if (request === KVM.SET_DEVICE_ATTR) host.offset = value(argument).getBigInt64(0, true);
      return 0;
    },
  };
});

// What it mocks stands on a library that other hosts may not have.
const { missing } = await requireKvm();
const HZ = 2e9;
const SECOND = 1e9;

afterEach(() => {
  Object.assign(host, { time: 0, offset: 0n, hasOffset: true, memory: [] });
});

describe.skipIf(missing !== undefined)('a time-stamp counter', async () => {
  const { TimeStampCounter } = missing === undefined ? await import('./tsc.js') : { TimeStampCounter: undefined };

  /** With the values that the MSR was set to. */
  function make(): { readonly tsc: InstanceType<NonNullable<typeof TimeStampCounter>>; readonly set: bigint[] } {
    if (TimeStampCounter === undefined) throw new Error('there is no KVM');
    const set: bigint[] = [];
    const registers = {
      msrs: () => [[MSR.TSC, 1000n * BigInt(SECOND)]],
      setMsrs: (values: readonly (readonly [number, bigint])[]) => void set.push(values[0][1]),
    };
    return { tsc: new TimeStampCounter(3, registers as unknown as Registers, HZ), set };
  }

  it('goes on while the machine’s clock does', () => {
    const { tsc } = make();
    tsc.wasSet(0);
    host.time = 5 * SECOND;
    expect(tsc.follow(5 * SECOND - 1000)).toBe(false);
    expect(host.offset).toBe(0n);
  });

  it('is taken back by as long as the clock has stood', () => {
    const { tsc } = make();
    host.offset = -7n;
    tsc.wasSet(0);
    host.time = 5 * SECOND;
    expect(tsc.follow(3 * SECOND)).toBe(true);
    expect(host.offset).toBe(-7n - 4n * BigInt(SECOND));
    // Once.
    expect(tsc.follow(3 * SECOND)).toBe(false);
    host.time = 6 * SECOND;
    expect(tsc.follow(3.5 * SECOND)).toBe(true);
    expect(host.offset).toBe(-7n - 5n * BigInt(SECOND));
  });

  it('comes from afar where its offset cannot be set', () => {
    host.hasOffset = false;
    const { tsc, set } = make();
    tsc.wasSet(0);
    host.time = SECOND;
    expect(tsc.follow(0.5 * SECOND)).toBe(true);
    const wanted = 999n * BigInt(SECOND);
    expect(set).toEqual([wanted + (1n << 60n), wanted]);
  });
});
