import { describe, expect, it } from 'vitest';
import { HelperBench } from '../../testing/x86-helpers.js';

const UD = 6;
const NM = 7;
const GP = 13;
const MF = 16;

/** XMM number as records hold it. */
const x = (n: number): number => n * 16;

describe('AES (FIPS 197)', () => {
  it('encrypts and decrypts the example of appendix B with keys expanded by AESKEYGENASSIST', () => {
    const cpu = new HelperBench();
    const roundKeys = ['2b7e151628aed2a6abf7158809cf4f3c'];
    for (const constant of [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36]) {
      cpu.setXmm(1, roundKeys[roundKeys.length - 1]);
      expect(cpu.run('aeskeygenassist', { reg: x(2), rm: x(1), imm: constant })).toBe('done');
      const mixed = Buffer.from(cpu.xmm(2), 'hex').subarray(12, 16);
      const previous = Buffer.from(roundKeys[roundKeys.length - 1], 'hex');
      const next = Buffer.alloc(16);
      for (let i = 0; i < 16; i++) next[i] = previous[i] ^ (i < 4 ? mixed[i] : next[i - 4]);
      roundKeys.push(next.toString('hex'));
    }
    expect(roundKeys[10]).toBe('d014f9a8c9ee2589e13f0cc8b6630ca6');

    const step = (name: string, key: string): void => {
      cpu.setXmm(1, key);
      cpu.run(name, { reg: x(0), rm: x(1) });
    };
    cpu.setXmm(0, '3243f6a8885a308d313198a2e0370734');
    step('pxor', roundKeys[0]);
    for (let i = 1; i < 10; i++) step('aesenc', roundKeys[i]);
    step('aesenclast', roundKeys[10]);
    expect(cpu.xmm(0)).toBe('3925841d02dc09fbdc118597196a0b32');

    step('pxor', roundKeys[10]);
    for (let i = 9; i > 0; i--) {
      cpu.setXmm(3, roundKeys[i]);
      cpu.run('aesimc', { reg: x(3), rm: x(3) });
      step('aesdec', cpu.xmm(3));
    }
    step('aesdeclast', roundKeys[0]);
    expect(cpu.xmm(0)).toBe('3243f6a8885a308d313198a2e0370734');
  });
});

describe('CRC32 and PCLMULQDQ', () => {
  it('gives the check value of CRC-32C', () => {
    const cpu = new HelperBench();
    cpu.setU64('GPR', 0xffff_ffffn, 0);
    for (const character of '123456789') {
      cpu.setU64('GPR', BigInt(character.charCodeAt(0)), 1);
      cpu.run('crc32_b', { reg: 0, rm: 8 });
    }
    expect(cpu.u64('GPR', 0) ^ 0xffff_ffffn).toBe(0xe306_9283n);
  });

  it('multiplies without carries: (x + 1)^2 = x^2 + 1, and into the upper half', () => {
    const cpu = new HelperBench();
    cpu.setXmm(0, '03000000000000000000000000000080');
    cpu.setXmm(1, '03000000000000000200000000000000');
    cpu.run('pclmulqdq', { reg: x(0), rm: x(1), imm: 0x00 });
    expect(cpu.xmm(0)).toBe('05000000000000000000000000000000');
    cpu.setXmm(0, '03000000000000000000000000000080');
    cpu.run('pclmulqdq', { reg: x(0), rm: x(1), imm: 0x11 });
    expect(cpu.xmm(0)).toBe('00000000000000000100000000000000');
  });
});

describe('SHA (FIPS 180-4)', () => {
  it('runs the first two rounds of SHA-256 on the initial hash value', () => {
    const cpu = new HelperBench();
    const words = (list: readonly number[]): string => {
      const bytes = Buffer.alloc(16);
      list.forEach((word, i) => bytes.writeUInt32LE(word, 4 * i));
      return bytes.toString('hex');
    };
    // "abc": W0 = 61626380h, W1 = 0; constants 428a2f98h, 71374491h. The state stands as C D G H and A B E F.
    cpu.setXmm(0, words([(0x61626380 + 0x428a2f98) >>> 0, 0x71374491, 0, 0]));
    cpu.setXmm(1, words([0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372]));
    cpu.setXmm(2, words([0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667]));
    cpu.run('sha256rnds2', { reg: x(1), rm: x(2) });
    // The values that NIST's example shows after t = 1: a, b, e, f.
    expect(cpu.xmm(1)).toBe(words([0xfa2a4622, 0x78ce7989, 0x5d6aebcd, 0x5a6ad9ad]));
  });
});

describe('string comparison', () => {
  it('PCMPISTRI finds the end of a string and the first of a set of characters', () => {
    const cpu = new HelperBench();
    cpu.setXmm(1, Buffer.from('hello, world\0xyz', 'latin1').toString('hex'));
    cpu.setXmm(0, Buffer.alloc(16).fill('o,', 0, 2, 'latin1').toString('hex'));
    cpu.run('pcmpistri', { reg: x(0), rm: x(1), imm: 0x00 });
    expect(cpu.u64('GPR', 1)).toBe(4n);
    // Equal each with an empty first operand, negated: the first place where there is a character counts 0.
    cpu.setXmm(0, '00'.repeat(16));
    cpu.run('pcmpistri', { reg: x(0), rm: x(1), imm: 0x08 });
    expect(cpu.u64('GPR', 1)).toBe(12n);
  });
});

describe('when SSE and MMX instructions may run (SDM vol. 3 chapter 14)', () => {
  it('aligned operands: #GP(0) at other addresses, not for MOVUPS', () => {
    const cpu = new HelperBench();
    expect(cpu.run('movaps', { ea: 0x1008n })).toBe(GP);
    expect(cpu.u32('EXC_ERROR')).toBe(0);
    expect(cpu.run('paddb', { ea: 0x1001n })).toBe(GP);
    expect(cpu.run('movups', { ea: 0x1001n })).toBe('done');
    expect(cpu.run('movaps_store', { ea: 0x1010n })).toBe('done');
    expect(cpu.run('pcmpistri', { ea: 0x1001n })).toBe('done');
  });

  it('CR0.TS gives #NM, CR0.EM #UD, a pending x87 exception #MF to MMX only', () => {
    const cpu = new HelperBench();
    cpu.setU32('FP_TRAP', 3);
    cpu.setU64('CR0', 0x3bn);
    expect(cpu.run('paddb', { rm: x(1) })).toBe(NM);
    expect(cpu.run('paddb_mmx', { rm: 1 })).toBe(NM);
    cpu.setU64('CR0', 0x37n);
    expect(cpu.run('paddb', { rm: x(1) })).toBe(UD);
    expect(cpu.run('paddb_mmx', { rm: 1 })).toBe(UD);
    cpu.setU64('CR0', 0x33n);
    cpu.setU32('FP_TRAP', 0);
    cpu.setU32('FSW', 0x8081);
    expect(cpu.run('paddb', { rm: x(1) })).toBe('done');
    expect(cpu.run('paddb_mmx', { rm: 1 })).toBe(MF);
  });

  it('MMX instructions set TOP to 0 and all tags valid, EMMS empties them', () => {
    const cpu = new HelperBench();
    cpu.setU32('FSW', 0x3800);
    cpu.run('movd_to_mmx', { reg: 2, rm: 0 });
    expect(cpu.u32('FSW')).toBe(0);
    expect(cpu.u32('FTW')).toBe(0xff);
    // Sign and exponent become all ones.
    expect(cpu.view.getUint16(cpu.at('FPR', 2 * 16 + 8), true)).toBe(0xffff);
    cpu.run('emms');
    expect(cpu.u32('FTW')).toBe(0);
  });
});

describe('XSAVE (SDM vol. 1 chapter 13)', () => {
  const AREA = 0x2000n;
  const HEADER = 0x2200;

  function prepared(): HelperBench {
    const cpu = new HelperBench();
    cpu.setXmm(3, '00112233445566778899aabbccddeeff');
    cpu.setU64('GPR', 3n, 0);
    return cpu;
  }

  it('XSAVE notes what is in use and keeps header bits of components that were not asked for', () => {
    const cpu = prepared();
    cpu.view.setBigUint64(cpu.ram + HEADER, 0x45n, true);
    expect(cpu.run('xsave', { ea: AREA })).toBe('done');
    // x87 is in its initial configuration, SSE is not.
    expect(cpu.view.getBigUint64(cpu.ram + HEADER, true)).toBe(0x46n);
  });

  it('XRSTOR brings back what XSAVE stored, and initialises what the image lacks', () => {
    const cpu = prepared();
    cpu.setU32('FCW', 0x27f);
    cpu.setU32('MXCSR', 0x3f80);
    cpu.run('xsave', { ea: AREA, wide: true });
    cpu.setXmm(3, 'ff'.repeat(16));
    cpu.setU32('FCW', 0x37f);
    cpu.setU32('MXCSR', 0x1f80);
    expect(cpu.run('xrstor', { ea: AREA, wide: true })).toBe('done');
    expect(cpu.xmm(3)).toBe('00112233445566778899aabbccddeeff');
    expect(cpu.u32('FCW')).toBe(0x27f);
    expect(cpu.u32('MXCSR')).toBe(0x3f80);
    cpu.view.setBigUint64(cpu.ram + HEADER, 0n, true);
    cpu.run('xrstor', { ea: AREA });
    expect(cpu.xmm(3)).toBe('00'.repeat(16));
    expect(cpu.u32('FCW')).toBe(0x37f);
    // The standard format loads MXCSR even when SSE is initialised.
    expect(cpu.u32('MXCSR')).toBe(0x3f80);
  });

  it('XSAVEC leaves out what is initial, unless MXCSR is not, and writes the compacted header', () => {
    const cpu = new HelperBench();
    cpu.setU64('GPR', 3n, 0);
    cpu.run('xsavec', { ea: AREA });
    expect(cpu.view.getBigUint64(cpu.ram + HEADER, true)).toBe(0n);
    expect(cpu.view.getBigUint64(cpu.ram + HEADER + 8, true)).toBe(0x8000_0000_0000_0003n);
    cpu.setU32('MXCSR', 0x3f80);
    cpu.run('xsavec', { ea: AREA });
    expect(cpu.view.getBigUint64(cpu.ram + HEADER, true)).toBe(2n);
  });

  it('XRSTOR refuses what the header must not hold', () => {
    const cpu = prepared();
    const header = (offset: number, value: bigint): 'done' | number => {
      cpu.bytes.fill(0, cpu.ram + HEADER, cpu.ram + HEADER + 64);
      cpu.view.setBigUint64(cpu.ram + HEADER + offset, value, true);
      return cpu.run('xrstor', { ea: AREA });
    };
    expect(header(0, 3n)).toBe('done');
    expect(header(0, 4n)).toBe(GP); // a component that XCR0 does not enable
    expect(header(8, 1n)).toBe(GP); // XCOMP_BV in the standard format
    expect(header(16, 1n)).toBe(GP);
    expect(header(24, 1n)).toBe('done'); // not looked at in the standard format
    expect(header(8, 0x8000_0000_0000_0003n)).toBe('done');
    expect(header(8, 0x8000_0000_0000_0004n)).toBe(GP);
    cpu.bytes.fill(0, cpu.ram + HEADER, cpu.ram + HEADER + 64);
    cpu.view.setUint32(cpu.ram + 0x2000 + 24, 0x1_0000, true);
    expect(cpu.run('xrstor', { ea: AREA })).toBe(GP); // a reserved bit of MXCSR
    expect(cpu.run('xrstor', { ea: AREA + 16n })).toBe(GP);
  });

  it('XRSTORS takes the compacted format only, and CPL 0', () => {
    const cpu = prepared();
    cpu.run('xsave', { ea: AREA });
    expect(cpu.run('xrstors', { ea: AREA })).toBe(GP);
    cpu.run('xsaves', { ea: AREA });
    expect(cpu.run('xrstors', { ea: AREA })).toBe('done');
    cpu.setU32('CPL', 3);
    expect(cpu.run('xsaves', { ea: AREA })).toBe(GP);
  });

  it('XSETBV accepts x87 and SSE only', () => {
    const cpu = new HelperBench();
    cpu.setU64('GPR', 1n, 0);
    expect(cpu.run('xsetbv')).toBe('done');
    expect(cpu.u64('XCR0')).toBe(1n);
    for (const value of [0n, 2n, 7n]) {
      cpu.setU64('GPR', value, 0);
      expect(cpu.run('xsetbv')).toBe(GP);
    }
    cpu.setU64('CR4', 0x600n);
    expect(cpu.run('xgetbv')).toBe(UD);
  });
});
