import { describe, expect, it } from 'vitest';
import { buffer, eisaId, integer, method, name, path, returnValue, scope, uuid } from './aml.js';
import { ioWindow, levelInterrupts, memory32Fixed, resourceTemplate } from './resources.js';

describe('AML encoding (ACPI 6.5 ch. 20)', () => {
  it('names: root, parents, one, two and more segments', () => {
    expect(path('\\')).toEqual([0x5c, 0]);
    expect(path('\\_S5')).toEqual([0x5c, 0x5f, 0x53, 0x35, 0x5f]);
    expect(path('^^AB')).toEqual([0x5e, 0x5e, 0x41, 0x42, 0x5f, 0x5f]);
    expect(path('A.B')[0]).toBe(0x2e);
    expect(path('\\A.B.C').slice(0, 3)).toEqual([0x5c, 0x2f, 3]);
    expect(() => path('lower')).toThrow('not an AML name');
    expect(() => path('TOOLONG')).toThrow('not an AML name');
  });

  it('integers take their shortest form', () => {
    expect(integer(0)).toEqual([0]);
    expect(integer(1)).toEqual([1]);
    expect(integer(0xff)).toEqual([0x0a, 0xff]);
    expect(integer(0x1234)).toEqual([0x0b, 0x34, 0x12]);
    expect(integer(0xb000_0000)).toEqual([0x0c, 0, 0, 0, 0xb0]);
    expect(integer(0x40_0000_0000)).toEqual([0x0e, 0, 0, 0, 0, 0x40, 0, 0, 0]);
  });

  it('EISA ids and UUIDs are packed as compilers pack them', () => {
    expect(eisaId('PNP0A03')).toEqual([0x0c, 0x41, 0xd0, 0x0a, 0x03]);
    expect(uuid('33db4d5b-1ff7-401c-9657-7441c03dd766').slice(-16)).toEqual([
      0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66,
    ]);
  });

  it('package lengths take one byte to 63, then two, then three', () => {
    const bytes = (count: number): number[] => new Array<number>(count).fill(0xa5);
    // The length counts itself and the buffer's size (2 bytes here).
    expect(buffer(bytes(60)).slice(0, 2)).toEqual([0x11, 63]);
    expect(buffer(bytes(61)).slice(0, 3)).toEqual([0x11, 0x40 | (65 & 15), 65 >> 4]);
    expect(buffer(bytes(5000)).slice(0, 4)).toEqual([0x11, 0x80 | (5006 & 15), (5006 >> 4) & 255, 5006 >> 12]);
  });

  it('nests', () => {
    expect(scope('\\', name('A', integer(1)), method('M', 2, true, returnValue(integer(0))))).toEqual([
      ...[0x10, 18, 0x5c, 0],
      ...[0x08, 0x41, 0x5f, 0x5f, 0x5f, 1],
      ...[0x14, 8, 0x4d, 0x5f, 0x5f, 0x5f, 0x0a, 0xa4, 0],
    ]);
  });
});

describe('resource descriptors (ACPI 6.5 §6.4)', () => {
  it('have the tags and lengths of the specification', () => {
    expect(memory32Fixed(0xfed0_0000, 0x400, false)).toEqual([0x86, 9, 0, 0, 0, 0, 0xd0, 0xfe, 0, 4, 0, 0]);
    expect(ioWindow(0xd00, 0x1_0000)).toEqual([
      ...[0x88, 13, 0, 1, 0x0c, 3],
      ...[0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0, 0xf3],
    ]);
    expect(levelInterrupts(5, 10).slice(0, 9)).toEqual([0x89, 10, 0, 0x0d, 2, 5, 0, 0, 0]);
    expect(resourceTemplate().slice(-2)).toEqual([0x79, 0]);
  });
});
