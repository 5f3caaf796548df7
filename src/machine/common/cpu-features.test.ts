import { expect, it } from 'vitest';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { asSeen, featureLeaves, missingFeatures } from './cpu-features.js';
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

it('are told of again as they were, where there are more', () => {
  const whole = boardCpuid(cpuModel('x86-64-v2'), 1e9, 1, 0);
  const seen = featureLeaves(whole).map((entry) =>
    entry.leaf === 1 ? { ...entry, ecx: (entry.ecx & ~(1 << 17)) >>> 0 } : entry,
  );
  const told = asSeen(whole, seen);
  expect(missingFeatures(featureLeaves(whole), told)).toEqual(['pcid']);
  expect(featureLeaves(told)).toEqual(seen);
  expect(told.map(({ leaf, subleaf }) => [leaf, subleaf])).toEqual(whole.map(({ leaf, subleaf }) => [leaf, subleaf]));
  // Nothing that was not there, and whatever was not written down.
  expect(asSeen(boardCpuid(cpuModel('486'), 1e9, 1, 0), seen)).toEqual(boardCpuid(cpuModel('486'), 1e9, 1, 0));
  expect(asSeen(whole, [])).toEqual(whole);
});
