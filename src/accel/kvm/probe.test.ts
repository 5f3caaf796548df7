import { expect, it } from 'vitest';
import { describeWith, requireKvm } from '../../testing/tools.js';

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
});
