import { expect, it } from 'vitest';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { featureLeaves, missingFeatures } from './cpu-features.js';
import { boardCpuid } from './identity.js';

const cpuid = (name: string, cpus = 1) => featureLeaves(boardCpuid(cpuModel(name), 1e9, cpus, 0));

it('misses nothing where all is as it was', () => {
  expect(missingFeatures(cpuid('x86-64-v2'), cpuid('x86-64-v2'))).toEqual([]);
  expect(missingFeatures([], cpuid('486'))).toEqual([]);
  expect(missingFeatures(cpuid('x86-64-v2', 4), cpuid('x86-64-v2'))).toEqual([]);
});

it('names what a lesser processor has not', () => {
  const missing = missingFeatures(cpuid('x86-64-v2'), cpuid('pentium4'));
  expect(missing).toContain('sse4_2');
  expect(missing).toContain('lm');
  expect(missingFeatures(cpuid('486'), cpuid('x86-64-v2'))).toEqual([]);
});

it('names by its bit what no model has, but not what follows the state', () => {
  const seen = cpuid('x86-64-v2').map((entry) =>
    entry.leaf === 7
      ? { ...entry, ebx: (entry.ebx | (1 << 16)) >>> 0 }
      : { ...entry, ecx: (entry.ecx | 0x0800_0000) >>> 0 },
  );
  expect(missingFeatures(seen, cpuid('x86-64-v2')).filter((name) => !name.startsWith('80000001h'))).toEqual([
    '7h:EBX[16]',
  ]);
});
