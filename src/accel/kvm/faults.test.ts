/** A /dev/kvm that refuses, at every request in turn: one clear line, nothing left open, and other machines go on. */
import * as fs from 'node:fs';
import { afterEach, expect, it, vi } from 'vitest';
import { HostError } from '../../base/errors.js';
import { CODE, KvmBench, SECOND } from '../../testing/kvm-bench.js';
import { KvmChipsBench } from '../../testing/kvm-chips-bench.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { CAP, KVM } from './abi.js';
import type * as Libc from './libc.js';

/** What the C library is to fail with: the request with this number since it was set, or KVM_RUN. */
const fault = { countdown: Infinity, errno: 0, opening: 0, running: 0 };
/** The rates that CPUs' time-stamp counters were set to, on a KVM that can do that; absent: it cannot. */
const host: { rates?: number[] | undefined } = {};

vi.mock('./libc.js', async (load) => {
  const real = await load<typeof Libc>();
  const failing = (what: string): void => {
    if (--fault.countdown === 0) throw new real.SystemError(what, fault.errno);
  };
  return {
    ...real,
    open: (path: string) => {
      if (fault.opening !== 0) throw new real.SystemError(`open ${path}`, fault.opening);
      return real.open(path);
    },
    ioctl: (...call: Parameters<typeof Libc.ioctl>) => {
      failing(call[3]);
      const [, request, argument] = call;
      if (host.rates && request === KVM.CHECK_EXTENSION && argument === CAP.TSC_CONTROL) return 1;
      if (host.rates && request === KVM.SET_TSC_KHZ) {
        host.rates.push(argument as number);
        return 0;
      }
      return real.ioctl(...call);
    },
    map: (...call: Parameters<typeof Libc.map>) => {
      failing('mmap');
      return real.map(...call);
    },
    ioctlRun: (...call: Parameters<typeof Libc.ioctlRun>) =>
      fault.running !== 0 ? -fault.running : real.ioctlRun(...call),
  } satisfies typeof Libc;
});

const kvm = await requireKvm();
const makeVm = kvm.missing === undefined ? (await import('./vm.js')).KvmVm : undefined;
const ERRNO = { EPERM: 1, ENOENT: 2, ENOMEM: 12, EACCES: 13, EBUSY: 16, ENODEV: 19, EINVAL: 22, EMFILE: 24 } as const;

afterEach(() => {
  host.rates = undefined;
  Object.assign(fault, { countdown: Infinity, errno: 0, opening: 0, running: 0 });
  vi.restoreAllMocks();
});

const open = (): number => fs.readdirSync('/proc/self/fd').length;

function failure(attempt: () => void): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(HostError);
    const { message } = error as Error;
    expect(message).not.toContain('\n');
    return message;
  }
}

/** A machine that was there before, and works. */
function other(): { readonly bench: KvmBench; readonly check: () => void } {
  const bench = new KvmBench(makeVm);
  return {
    bench,
    check: () => {
      bench.asm(16, CODE, (asm) => asm.emit('hlt'));
      bench.realMode();
      expect(bench.cpu.run(SECOND).kind).toBe('halt');
    },
  };
}

describeWith([kvm], 'a KVM that refuses', () => {
  it.each([
    ['ENOENT', /has no \/dev\/kvm/],
    ['EACCES', /may not be opened: join the group kvm/],
    ['EPERM', /may not be opened/],
    ['EBUSY', /cannot be opened: it is in use/],
    ['ENODEV', /cannot be opened: there is no such device/],
    ['EMFILE', /cannot be opened: too many files are open in this process/],
  ] as const)('to be opened (%s) is told in one line', (name, message) => {
    const { bench, check } = other();
    const before = open();
    fault.opening = ERRNO[name];
    expect(failure(() => new KvmBench(makeVm))).toMatch(message);
    expect(open()).toBe(before);
    check();
    bench.vm.dispose();
  });

  it.each([
    ['EPERM', 'off'],
    ['ENOMEM', 'off'],
    ['EBUSY', 'off'],
    ['EINVAL', 'split'],
    ['ENOMEM', 'on'],
  ] as const)('any request with %s leaves nothing open: --kernel-irqchip %s', (name, irqchip) => {
    const { bench, check } = other();
    const before = open();
    let requests = 0;
    for (;;) {
      Object.assign(fault, { countdown: requests + 1, errno: ERRNO[name] });
      let made: KvmBench | KvmChipsBench | undefined;
      const message = failure(() => {
        made = irqchip === 'off' ? new KvmBench(makeVm) : new KvmChipsBench(makeVm, { irqchip });
      });
      fault.countdown = Infinity;
      made?.vm.dispose();
      expect(open()).toBe(before);
      if (message === undefined) break;
      requests++;
    }
    // From KVM_GET_API_VERSION to the state of the CPU.
    expect(requests).toBeGreaterThan(20);
    check();
    bench.vm.dispose();
  });

  it('no rate of the time-stamp counter gets the one that the guest was told', () => {
    host.rates = [];
    const { bench, check } = other();
    expect(host.rates).toEqual([1e6]);
    check();
    bench.vm.dispose();
  });

  it('memory is told in one line', () => {
    const { bench, check } = other();
    const before = open();
    vi.spyOn(WebAssembly, 'Memory').mockImplementation(function () {
      throw new RangeError('WebAssembly.Memory(): could not allocate memory');
    });
    expect(failure(() => new KvmBench(makeVm))).toMatch(/cannot reserve 4 MiB of memory for the guest/);
    expect(open()).toBe(before);
    check();
    bench.vm.dispose();
  });

  it('to run is told in one line, and the machine can still be ended', () => {
    const { bench, check } = other();
    const failing = other();
    const before = open();
    fault.running = ERRNO.ENODEV;
    expect(failure(() => failing.bench.cpu.run(SECOND))).toMatch(/^KVM_RUN: there is no such device any more$/);
    fault.running = 0;
    failing.bench.vm.dispose();
    expect(open()).toBe(before - 3);
    check();
    bench.vm.dispose();
  });
});
