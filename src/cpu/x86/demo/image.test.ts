import { describe, expect, it } from 'vitest';
import { buildDemo } from './image.js';
import { AT } from './plan.js';

describe('the demonstration guest', () => {
  const { image, stages } = buildDemo();

  it('is a multiboot kernel with its addresses in the header (Multiboot 0.6.96 §3.1)', () => {
    const word = (index: number): number => new DataView(image.buffer, image.byteOffset).getUint32(index * 4, true);
    expect(word(0)).toBe(0x1bad_b002);
    expect((word(0) + word(1) + word(2)) >>> 0).toBe(0);
    expect([word(3), word(4), word(6)]).toEqual([AT.IMAGE, AT.IMAGE, AT.END]);
    expect(word(7)).toBeGreaterThan(AT.IMAGE);
    expect(word(7)).toBeLessThan(AT.IMAGE + image.length);
  });

  it('has stages with names of their own, and checks with cells of their own', () => {
    expect(stages.map(({ name }) => name)).toEqual(['real', 'protected', 'v86', 'pae', 'long', 'ring3', 'calls']);
    const checks = stages.flatMap((stage) => stage.checks);
    expect(new Set(checks.map(({ cell }) => cell)).size).toBe(checks.length);
  });

  it('comes out the same each time', () => {
    expect(buildDemo().image).toEqual(image);
  });
});
