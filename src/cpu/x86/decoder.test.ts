import { describe, expect, it } from 'vitest';
import { featureIndex } from '../../arch/x86/cpuid-features.js';
import { TestDecoder, type DecodedRecord } from '../../testing/x86-decoder.js';
import { randomNumbers } from '../../testing/x86-forms.js';
import { decodeBytes } from './decode-bytes.js';
import { STATE } from './state-layout.js';

const gpr = (number: number): number => STATE.GPR + number * 8;
const segmentBase = (number: number): number => STATE.SEG_BASE + number * 8;

function only(records: readonly DecodedRecord[]): DecodedRecord {
  expect(records.length).toBe(1);
  return records[0];
}

describe('decoder in 64-bit mode', () => {
  const decoder = new TestDecoder();

  it('codes registers by state offset', () => {
    const add = only(decoder.decode([0x4c, 0x01, 0xc3])); // add rbx, r8
    expect(add.row?.name).toBe('add');
    expect(add.variant).toMatchObject({ osz: 64, form: 'reg', lock: false });
    expect(add.fields).toMatchObject({ REG: gpr(8), RM: gpr(3), LENGTH: 3, OFFSET: 0, MODRM: 0xc3 });
  });

  it('knows AH without REX and SPL with', () => {
    expect(only(decoder.decode([0x88, 0xe0])).fields).toMatchObject({ REG: gpr(0) + 1, RM: gpr(0) });
    expect(only(decoder.decode([0x40, 0x88, 0xe0])).fields).toMatchObject({ REG: gpr(4), RM: gpr(0) });
  });

  it('codes addresses with base, index, scale and displacement', () => {
    const load = only(decoder.decode([0x42, 0x8b, 0x44, 0xa3, 0xf0])); // mov eax, [rbx + r12*4 - 16]
    expect(load.fields).toMatchObject({
      BASE: gpr(3),
      INDEX: gpr(12),
      SCALE: 2,
      DISP: -16,
      SEG: 3,
      SEG_SLOT: STATE.ZERO,
      MASK_SLOT: STATE.MASK64,
    });
  });

  it('makes RIP-relative addresses relative to the page', () => {
    const load = only(decoder.decode([0x48, 0x8b, 0x05, 0x10, 0, 0, 0], 0x1234));
    expect(load.fields).toMatchObject({ BASE: STATE.CODE_BASE, DISP: 0x10 + 0x234 + 7, INDEX: STATE.ZERO });
    const far = only(decoder.decode([0x48, 0x8b, 0x05, 0xff, 0xff, 0xff, 0x7f], 0x1234));
    expect(far.fields).toMatchObject({ BASE: STATE.CODE_BASE, INDEX: STATE.SPARE_SLOTS, SCALE: 0 });
    expect(BigInt(far.fields.DISP) + decoder.state64('SPARE_SLOTS')).toBe(0x7fffffffn + 0x234n + 7n);
  });

  it('gives SS to rSP and rBP but not to R12 and R13', () => {
    expect(only(decoder.decode([0x8b, 0x04, 0x24])).fields.SEG).toBe(2); // [rsp]
    expect(only(decoder.decode([0x8b, 0x45, 0])).fields.SEG).toBe(2); // [rbp]
    expect(only(decoder.decode([0x41, 0x8b, 0x04, 0x24])).fields.SEG).toBe(3); // [r12]
    expect(only(decoder.decode([0x8b, 0x04, 0x25, 0, 0, 0, 0])).fields.SEG).toBe(3); // [disp32]
  });

  it('honours FS and GS only', () => {
    expect(only(decoder.decode([0x64, 0x8b, 0x03])).fields.SEG_SLOT).toBe(segmentBase(4));
    expect(only(decoder.decode([0x65, 0x8b, 0x03])).fields.SEG_SLOT).toBe(segmentBase(5));
    expect(only(decoder.decode([0x2e, 0x8b, 0x03])).fields.SEG_SLOT).toBe(STATE.ZERO);
  });

  it('ignores a REX prefix that is not last', () => {
    expect(only(decoder.decode([0x48, 0x66, 0x01, 0xc3])).variant?.osz).toBe(16);
    expect(only(decoder.decode([0x66, 0x48, 0x01, 0xc3])).variant?.osz).toBe(64);
  });

  it('tells NOP, PAUSE and XCHG R8', () => {
    expect(only(decoder.decode([0x90])).row?.name).toBe('nop');
    expect(only(decoder.decode([0xf3, 0x90])).row?.name).toBe('pause');
    const xchg = only(decoder.decode([0x49, 0x90]));
    expect(xchg.row?.name).toBe('xchg');
    expect(xchg.fields.RM).toBe(gpr(8));
  });

  it('chooses by mandatory prefix, the last of F2 and F3 counting', () => {
    expect(only(decoder.decode([0x0f, 0x58, 0xc1])).row?.name).toBe('addps');
    expect(only(decoder.decode([0x66, 0x0f, 0x58, 0xc1])).row?.name).toBe('addpd');
    expect(only(decoder.decode([0xf2, 0xf3, 0x0f, 0x58, 0xc1])).row?.name).toBe('addss');
    expect(only(decoder.decode([0x66, 0xf2, 0x0f, 0x58, 0xc1])).row?.name).toBe('addsd');
    expect(only(decoder.decode([0xf3, 0x0f, 0x28, 0xc1])).micro).toBe('UNDEFINED');
  });

  it('gives near branches 64 bits whatever 66 says, and page-relative targets', () => {
    const jump = only(decoder.decode([0x66, 0xe9, 0x00, 0x01, 0, 0], 0x1010));
    expect(jump.variant?.osz).toBe(64);
    expect(jump.immediate).toBe(0x10n + 6n + 0x100n);
    expect(only(decoder.decode([0xeb, 0xfe], 0x1020)).immediate).toBe(0x20n);
  });

  it('has 64-bit immediates and memory offsets', () => {
    const move = only(decoder.decode([0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 0x88]));
    expect(BigInt.asUintN(64, move.immediate)).toBe(0x8807060504030201n);
    const load = only(decoder.decode([0xa1, 1, 2, 3, 4, 5, 6, 7, 8]));
    expect([load.row?.name, load.immediate]).toEqual(['mov_rax_moffs64', 0x0807060504030201n]);
    const short = only(decoder.decode([0x67, 0xa1, 1, 2, 3, 0x84]));
    expect([short.row?.name, short.fields.DISP, short.fields.MASK_SLOT]).toEqual(['mov', 0x84030201 | 0, STATE.MASK32]);
  });

  it('allows LOCK only with a memory destination', () => {
    expect(only(decoder.decode([0xf0, 0x01, 0x03])).variant).toMatchObject({ lock: true, form: 'mem' });
    expect(only(decoder.decode([0xf0, 0x01, 0xc3])).micro).toBe('UNDEFINED');
    expect(only(decoder.decode([0xf0, 0x8b, 0x03])).micro).toBe('UNDEFINED');
    expect(only(decoder.decode([0xf0, 0x03, 0x03])).micro).toBe('UNDEFINED');
  });

  it('raises #GP for more than 15 bytes', () => {
    const long = only(decoder.decode([...Array.from({ length: 15 }, () => 0x66), 0x90]));
    expect(long.micro).toBe('FETCH_FAULT');
    expect(long.fields.IMM2).toBe(13);
    expect(only(decoder.decode([...Array.from({ length: 14 }, () => 0x66), 0x90])).row?.name).toBe('nop');
  });

  it('refuses what 64-bit mode took away', () => {
    for (const code of [[0x06], [0x27], [0x60], [0x9a], [0xea], [0xd4, 10], [0x82, 0, 0], [0xc4, 0], [0x62, 0]])
      expect(only(decoder.decode([...code, 0, 0, 0, 0, 0, 0])).micro).toBe('UNDEFINED');
  });

  it('gates rows by CPU feature', () => {
    const small = new TestDecoder();
    expect(only(small.decode([0xf3, 0x0f, 0xb8, 0xc1])).row?.name).toBe('popcnt');
    small.removeFeature(featureIndex('popcnt'));
    expect(only(small.decode([0xf3, 0x0f, 0xb8, 0xc1])).micro).toBe('UNDEFINED');
  });
});

describe('decoder in 16- and 32-bit modes', () => {
  it('uses 16-bit address forms', () => {
    const decoder = new TestDecoder();
    decoder.setMode(16, { flat: true });
    const load = only(decoder.decode([0x8b, 0x42, 0xfe])); // mov ax, [bp + si - 2]
    expect(load.variant?.osz).toBe(16);
    expect(load.fields).toMatchObject({ BASE: gpr(5), INDEX: gpr(6), DISP: -2, SEG: 2, MASK_SLOT: STATE.MASK16 });
    expect(only(decoder.decode([0x8b, 0x06, 0x34, 0x12])).fields).toMatchObject({
      BASE: STATE.ZERO,
      DISP: 0x1234,
      SEG: 3,
    });
    expect(only(decoder.decode([0x67, 0x66, 0x8b, 0x03])).fields).toMatchObject({
      BASE: gpr(3),
      MASK_SLOT: STATE.MASK32,
    });
  });

  it('puts an address micro-record before memory operands of segments that are not flat', () => {
    const decoder = new TestDecoder();
    decoder.setMode(16, { limit: 0xffff });
    const [address, add] = decoder.decode([0x26, 0x01, 0x47, 0x10]); // add es:[bx + 16], ax
    expect(address.micro).toBe('EA_SEG');
    expect(address.fields).toMatchObject({ BASE: gpr(3), DISP: 16, SEG: 0, SEG_SLOT: segmentBase(0), LENGTH: 0 });
    expect(address.fields.IMM2).toBe(0x80 | 2);
    expect(add.fields).toMatchObject({
      BASE: STATE.EA,
      INDEX: STATE.ZERO,
      DISP: 0,
      SEG: 0,
      SEG_SLOT: STATE.ZERO,
      LENGTH: 4,
    });
    expect(only(decoder.decode([0x8d, 0x47, 0x10])).row?.name).toBe('lea');
  });

  it('does so for FS and GS also when the others are flat', () => {
    const decoder = new TestDecoder();
    decoder.setMode(32, { flat: true });
    expect(decoder.decode([0x65, 0x8b, 0x03])[0].micro).toBe('EA_SEG');
    expect(only(decoder.decode([0x8b, 0x03])).fields.SEG_SLOT).toBe(STATE.ZERO);
  });

  it('and for writes through CS, which no protected mode allows', () => {
    const decoder = new TestDecoder();
    decoder.setMode(32, { flat: true });
    expect(decoder.decode([0x2e, 0x89, 0x03])[0].micro).toBe('EA_SEG');
    expect(only(decoder.decode([0x2e, 0x8b, 0x03])).row?.name).toBe('mov');
  });

  it('finds stack variants by flatness and stack size', () => {
    const decoder = new TestDecoder();
    expect(only(decoder.decode([0x50])).variant).toMatchObject({ stack: 'flat64', osz: 64 });
    decoder.setMode(32, { flat: true });
    expect(only(decoder.decode([0x50])).variant).toMatchObject({ stack: 'flat32', osz: 32 });
    decoder.setMode(32);
    expect(only(decoder.decode([0x50])).variant).toMatchObject({ stack: 'segmented', osz: 32 });
  });

  it('checks the limit of CS, within a page too', () => {
    const decoder = new TestDecoder();
    decoder.setMode(16, { base: 0x2010, limit: 0x101 });
    decoder.write(0x2110, [0xb8, 0x34, 0x12]); // mov ax, 0x1234: its last byte is outside
    expect(decoder.lookup(0x100)?.micro).toBe('FETCH_FAULT');
    decoder.write(0x2010, [0x90, 0x90]);
    const first = decoder.lookup(0);
    expect(first?.fields.OFFSET).toBe(0x10);
    expect(BigInt.asIntN(64, decoder.state64('CODE_BASE'))).toBe(-16n);
    expect(decoder.lookup(0x102)).toBeUndefined();
    expect(decoder.state32('EXC_VECTOR')).toBe(13);
    // The same page in a larger segment.
    decoder.setMode(16, { base: 0x2010, limit: 0xffff });
    expect(decoder.lookup(0x100)?.row?.name).toBe('mov');
  });
});

describe('code cache', () => {
  const NOPS = Array.from({ length: 100 }, () => 0x90);

  it('decodes a run, and goes on in place when it was cut for its length', () => {
    const decoder = new TestDecoder();
    decoder.write(0x1000, NOPS);
    const first = decoder.lookup(0x1000);
    if (first === undefined) throw new Error('no record');
    const cut = decoder.record(first.address + 32 * 32);
    expect([cut.micro, cut.fields.OFFSET]).toEqual(['RESYNC', 32]);
    expect(decoder.lookup(0x1020)?.address).toBe(cut.address);
    expect(decoder.lookup(0x1000)?.address).toBe(first.address);
    // Cut again at 64; something else is decoded, then that: a GOTO leads there.
    const second = decoder.record(cut.address + 32 * 32);
    decoder.lookup(0x1800);
    const far = decoder.lookup(0x1040);
    expect(far?.address).not.toBe(second.address);
    expect(decoder.record(second.address)).toMatchObject({ micro: 'GOTO', fields: { LINK: far?.address } });
  });

  it('joins code that is decoded already', () => {
    const decoder = new TestDecoder();
    decoder.write(0x1000, [0x90, 0x90, 0xc3]);
    const later = decoder.lookup(0x1001);
    const earlier = decoder.lookup(0x1000);
    if (earlier === undefined) throw new Error('no record');
    expect(decoder.next(earlier)).toMatchObject({ micro: 'GOTO', fields: { LINK: later?.address } });
  });

  it('ends with NEXT_PAGE, and decodes what straddles each time', () => {
    const decoder = new TestDecoder();
    decoder.write(0x1ffe, [0x90, 0x90, 0x90]);
    const first = decoder.lookup(0x1ffe);
    if (first === undefined) throw new Error('no record');
    expect(decoder.record(first.address + 64)).toMatchObject({ micro: 'NEXT_PAGE', fields: { OFFSET: 4096 } });

    decoder.write(0x2ffe, [0xb8, 1, 2, 3, 4]);
    expect(decoder.lookup(0x2ffe)?.micro).toBe('STRADDLE');
    decoder.setRip(0x2ffen);
    const move = decoder.record(decoder.exports.decode_straddle());
    expect(move).toMatchObject({ row: { name: 'mov' }, immediate: 0x04030201n, fields: { OFFSET: 0xffe, LENGTH: 5 } });
    expect(decoder.next(move)).toMatchObject({ micro: 'NEXT_PAGE', fields: { OFFSET: 0x1003 } });
    // The second page changes: nothing remembers the old bytes.
    decoder.write(0x3000, [0xff]);
    expect(decoder.record(decoder.exports.decode_straddle()).immediate).toBe(0x0403ff01n);
  });

  it('forgets what is written over, and only that', () => {
    const decoder = new TestDecoder();
    decoder.write(0x1000, [0x90, 0xeb, 0x7d]); // jmp 0x1080
    decoder.write(0x1080, [0x90, 0xc3]);
    const jump = decoder.lookup(0x1000);
    const target = decoder.lookup(0x1080);
    if (jump === undefined || target === undefined) throw new Error('no record');
    const page = decoder.ram + 0x1000;
    expect(decoder.exports.isCodePage(page)).toBe(1);
    decoder.exports.codeWritten(page + 0x40, 8); // data between
    expect(decoder.record(jump.address).row?.name).toBe('nop');
    decoder.exports.codeWritten(page + 0x81, 1);
    expect(decoder.record(target.address)).toMatchObject({ micro: 'RESYNC', fields: { OFFSET: 0x80 } });
    expect(decoder.record(jump.address).row?.name).toBe('nop');
    // Decoded again it has its record back, or leads to its successor when it is of another length now.
    expect(decoder.lookup(0x1080)).toMatchObject({ address: target.address, row: { name: 'nop' } });
    decoder.exports.codeWritten(page + 0x80, 3);
    decoder.write(0x1080, [0x66, 0x90, 0xc3]);
    const successor = decoder.lookup(0x1080);
    expect(successor?.address).not.toBe(target.address);
    expect(decoder.record(target.address)).toMatchObject({ micro: 'GOTO', fields: { LINK: successor?.address } });
    // With all code gone the page is a plain page again.
    decoder.exports.invalidate_range(page, 4096);
    expect(decoder.exports.isCodePage(page)).toBe(0);
  });

  it('forgets an instruction that reaches into the chunk written', () => {
    const decoder = new TestDecoder();
    decoder.write(0x103e, [0x90, 0xb8, 0, 0, 0, 0, 0xc3]); // nop; mov at 0x103f … 0x1043
    const nop = decoder.lookup(0x103e);
    if (nop === undefined) throw new Error('no record');
    decoder.exports.codeWritten(decoder.ram + 0x1041, 1);
    expect(decoder.record(nop.address).row?.name).toBe('nop');
    expect(decoder.next(nop).micro).toBe('RESYNC');
  });

  it('links jumps within a page, and leaves others', () => {
    const decoder = new TestDecoder();
    decoder.write(0x1000, [0xeb, 0x10, 0xe9, 0, 0x20, 0, 0]);
    const near = decoder.lookup(0x1000);
    const far = decoder.lookup(0x1002);
    if (near === undefined || far === undefined) throw new Error('no record');
    decoder.exports.patch_link(near.address);
    expect(decoder.record(near.address).fields.LINK).toBe(decoder.lookup(0x1012)?.address);
    decoder.lookup(0x1002);
    decoder.exports.patch_link(far.address);
    expect(decoder.record(far.address).fields.LINK).toBe(0);
    expect(decoder.state64('CODE_BASE')).toBe(0x1000n);
  });

  it('never has a record that is not what memory says', () => {
    const decoder = new TestDecoder();
    const random = randomNumbers(99);
    const code = Uint8Array.from({ length: 3 * 4096 }, () => random(256));
    decoder.write(0x1000, code);
    let followed = 0;
    /** Checks the records from one on, through GOTO, to the end of their run. */
    const check = (from: DecodedRecord): void => {
      let record = from;
      const page = Number(decoder.state64('CODE_BASE'));
      for (let steps = 0; steps < 100; steps++) {
        const { OFFSET, LINK } = record.fields;
        if (record.micro === 'GOTO') {
          record = decoder.record(LINK);
          expect(record.fields.OFFSET).toBe(OFFSET);
          continue;
        }
        if (record.micro === 'RESYNC' || record.micro === 'NEXT_PAGE') return;
        const at = page + OFFSET - 0x1000;
        const expected = decodeBytes(code.subarray(at, at + 15), 64);
        if (record.micro === 'STRADDLE') {
          expect(OFFSET + (expected?.length ?? 15)).toBeGreaterThan(4096);
          return;
        }
        followed++;
        expect(record.row).toBe(expected?.row);
        if (record.row === undefined || record.row.attributes.has('end')) return;
        expect(record.fields.LENGTH).toBe(expected?.length);
        record = decoder.next(record);
      }
    };
    for (let round = 0; round < 4000; round++) {
      const found = decoder.lookup(0x1000 + random(2 * 4096));
      if (found === undefined) throw new Error('no record');
      check(found);
      if (round % 4 === 0) continue;
      const at = random(3 * 4096 - 64);
      const bytes = Uint8Array.from({ length: 1 + random(round % 3 === 0 ? 64 : 4) }, () => random(256));
      code.set(bytes, at);
      decoder.write(0x1000 + at, bytes);
      decoder.exports.invalidate_range(decoder.ram + 0x1000 + at, bytes.length);
      // The run found before may have been written over: what is left of it must still be right.
      if (decoder.record(found.address).micro !== 'RESYNC') {
        decoder.lookup(0x1000 + ((Number(decoder.state64('RIP')) - 0x1000) % 8192));
        check(decoder.record(found.address));
      }
    }
    expect(followed).toBeGreaterThan(10_000);
  });

  it('starts again when it is full, and when told to', () => {
    const decoder = new TestDecoder();
    for (let round = 0; round < 3; round++)
      for (let page = 0x1000; page < 0x80000; page += 0x1000) {
        // Two modes, and every offset a record of its own.
        decoder.setMode(round === 1 ? 32 : 64, { flat: true });
        for (let offset = 0; offset < 0xf00; offset += 32) decoder.lookup(page + offset);
        if (round === 2) decoder.exports.invalidate_range(decoder.ram + page, 4096);
      }
    expect(decoder.lookup(0x1000)?.row?.name).toBe('add');
    decoder.exports.flush_code_cache();
    expect(decoder.exports.isCodePage(decoder.ram + 0x1000)).toBe(0);
    expect(decoder.lookup(0x1000)?.row?.name).toBe('add');
  });
});

describe('both decoders', () => {
  const SIZES = { 16: 0, 32: 1, 64: 2 } as const;

  it.each([16, 32, 64] as const)('agree on random bytes in %i-bit code', (mode) => {
    const decoder = new TestDecoder();
    decoder.setMode(mode, { flat: true });
    const random = randomNumbers(mode);
    const PREFIXES = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x64, 0x48, 0x41, 0x4f];
    for (let n = 0; n < 15_000; n++) {
      // Two-byte opcodes and prefixes more often than chance has them.
      const code = Array.from({ length: 16 }, () => random(256));
      if (random(2) === 0) code.unshift(0x0f);
      for (let p = random(4); p > 0; p--) code.unshift(PREFIXES[random(PREFIXES.length)]);
      const expected = decodeBytes(Uint8Array.from(code), mode);
      const what = Buffer.from(code.slice(0, 16)).toString('hex');
      const found = decoder.decode(code.slice(0, 16)).at(-1);
      if (expected === undefined) {
        expect(found?.micro, what).toMatch(/^(UNDEFINED|FETCH_FAULT)$/);
        continue;
      }
      expect(found?.row?.name, what).toBe(expected.row.name);
      expect(found?.row, what).toBe(expected.row);
      expect(found?.fields.LENGTH, what).toBe(expected.length);
      expect((found?.fields.PREFIX ?? 0) & 3, what).toBe(SIZES[expected.osz]);
      expect(((found?.fields.PREFIX ?? 0) >> 2) & 3, what).toBe(SIZES[expected.addressSize]);
      if (expected.memory !== undefined) expect(found?.fields.SEG, what).toBe(expected.memory.segment);
    }
  });
});
