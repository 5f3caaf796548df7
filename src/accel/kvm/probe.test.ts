import { expect, it, vi } from 'vitest';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { EXIT, RUN } from './abi.js';
import type * as Libc from './libc.js';
import type { KvmProbe } from './probe.js';

const kvm = await requireKvm();

describeWith([kvm], 'the probe of KVM', () => {
  it('is quick, and finds that the least of it works', async () => {
    const { probeKvm } = await import('./probe.js');
    const began = performance.now();
    const { lacking } = probeKvm();
    // 10 to 25 ms, more on a busy host, and a second where AMD-V is emulated.
    expect(performance.now() - began).toBeLessThan(3000);
    // Any KVM there is runs 64-bit integer code; without that it would be the probe that is broken.
    expect(lacking).not.toContain('64-bit mode');
    expect(probeKvm().lacking).toBe(lacking);
  });

  /** What it finds where its guests get no processor within so many nanoseconds. */
  async function late(most: number): Promise<KvmProbe> {
    const libc = await vi.importActual<typeof Libc>('./libc.js');
    let isLate = false;
    vi.resetModules();
    vi.doMock('./libc.js', () => ({
      ...libc,
      ThreadTimer: class extends libc.ThreadTimer {
        override set(nanoseconds: number): void {
          isLate = nanoseconds <= most;
          super.set(nanoseconds);
        }
      },
      ioctlRun: (fd: number, request: number) => (isLate ? -libc.ERRNO.EINTR : libc.ioctlRun(fd, request)),
    }));
    try {
      return (await import('./probe.js')).probeKvm();
    } finally {
      vi.doUnmock('./libc.js');
      vi.resetModules();
    }
  }

  it('finds the same on a busy host, where a guest gets no processor for a tenth of a second', async () => {
    expect(await late(100e6)).toEqual((await import('./probe.js')).probeKvm());
  });

  it('finds a KVM that takes TSC deadlines for its own local APIC’s', async () => {
    const libc = await vi.importActual<typeof Libc>('./libc.js');
    const { probeKvm } = await import('./probe.js');
    let view: DataView | undefined;
    vi.resetModules();
    vi.doMock('./libc.js', () => ({
      ...libc,
      map: (fd: number, size: number) => {
        const mapping = libc.map(fd, size);
        ({ view } = mapping);
        return mapping;
      },
      // The guest goes on behind its WRMSR.
      ioctlRun: (fd: number, request: number) => {
        for (;;) {
          const result = libc.ioctlRun(fd, request);
          if (result !== 0 || view?.getUint32(RUN.EXIT_REASON, true) !== EXIT.X86_WRMSR) return result;
        }
      },
    }));
    try {
      expect((await import('./probe.js')).probeKvm()).toEqual({ ...probeKvm(), losesDeadlines: true });
    } finally {
      vi.doUnmock('./libc.js');
      vi.resetModules();
    }
  });

  it('takes nothing for a processor that was not seen', async () => {
    const { lacking, masksCpuid, seenCpuid } = await late(Infinity);
    expect(lacking).toContain('64-bit mode');
    expect([masksCpuid, seenCpuid]).toEqual([true, undefined]);
  });
});
