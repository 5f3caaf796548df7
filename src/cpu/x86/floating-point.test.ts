import { describe, expect, it } from 'vitest';
import { HelperBench } from '../../testing/x86-helpers.js';

const UD = 6;
const NM = 7;
const GP = 13;
const MF = 16;
const XM = 19;

const MXCSR = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32, DAZ: 64, MASKS: 0x1f80, ZM: 1 << 9, FTZ: 1 << 15 } as const;
const FSW = { IE: 1, ZE: 4, PE: 32, SF: 64, ES: 128, C1: 1 << 9, C2: 1 << 10, B: 1 << 15 } as const;
const CR4_OSFXSR = 1n << 9n;
const CR0_NE = 1n << 5n;

/** XMM number as records hold it. */
const x = (n: number): number => n * 16;
/** A data address of the bench, 16-byte aligned. */
const DATA = 0x400;

function setDouble(cpu: HelperBench, n: number, value: number): void {
  cpu.view.setFloat64(cpu.at('XMM', 16 * n), value, true);
}
const double = (cpu: HelperBench, n: number): number => cpu.view.getFloat64(cpu.at('XMM', 16 * n), true);

/** The same numbers each time, with exponents in -40 … 40 and few or many significant bits. */
function* numbers(seed: number): Generator<number, never> {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0);
  for (;;) {
    const significand = (next() * 2 ** 21 + (next() >>> 11)) / 2 ** (next() % 53);
    yield (next() & 1 ? -1 : 1) * Math.floor(significand) * 2 ** ((next() % 80) - 60);
  }
}

/** The exact value as an integer number of 2^-400. */
function exact(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  if (exponent === 0) return 0n;
  const magnitude = ((bits & 0xf_ffff_ffff_ffffn) | (1n << 52n)) << BigInt(exponent - 1075 + 400);
  return value < 0 ? -magnitude : magnitude;
}

describe('SSE scalar arithmetic', () => {
  interface Operation {
    readonly value: (a: number, b: number) => number;
    readonly exactly: (a: bigint, b: bigint, r: bigint) => boolean;
  }
  const operations: Record<string, Operation> = {
    addsd: { value: (a, b) => a + b, exactly: (a, b, r) => a + b === r },
    subsd: { value: (a, b) => a - b, exactly: (a, b, r) => a - b === r },
    mulsd: { value: (a, b) => a * b, exactly: (a, b, r) => a * b === r << 400n },
    divsd: { value: (a, b) => a / b, exactly: (a, b, r) => r * b === a << 400n },
  };

  for (const [name, { value, exactly }] of Object.entries(operations))
    it(`${name} sets PE exactly where the result is inexact`, () => {
      const cpu = new HelperBench();
      const source = numbers(1);
      for (let i = 0; i < 2000; i++) {
        const [a, b] = [source.next().value, source.next().value || 1];
        setDouble(cpu, 0, a);
        setDouble(cpu, 1, b);
        cpu.setU32('MXCSR', MXCSR.MASKS);
        expect(cpu.run(name, { reg: x(0), rm: x(1) })).toBe('done');
        const result = double(cpu, 0);
        expect(Object.is(result, value(a, b))).toBe(true);
        const inexact = !exactly(exact(a), exact(b), exact(result));
        expect([a, b, cpu.u32('MXCSR')]).toEqual([a, b, MXCSR.MASKS | (inexact ? MXCSR.PE : 0)]);
      }
    });

  it('a packed instruction does to each lane what the scalar one does', () => {
    const cpu = new HelperBench();
    const source = numbers(2);
    for (const operation of ['add', 'sub', 'mul', 'div', 'sqrt', 'min', 'max'])
      for (let i = 0; i < 200; i++) {
        const lanes = Array.from({ length: 4 }, () => source.next().value);
        // PE set: all lanes go at once.
        cpu.setU32('MXCSR', MXCSR.MASKS | (i & 1 ? MXCSR.PE : 0));
        lanes.forEach((value, n) => cpu.view.setFloat64(cpu.at('XMM', 8 * n), value, true));
        cpu.run(`${operation}pd`, { reg: x(0), rm: x(1) });
        const packed = cpu.xmm(0);
        let scalar = '';
        for (const lane of [0, 1]) {
          setDouble(cpu, 2, lanes[lane]);
          setDouble(cpu, 3, lanes[lane + 2]);
          cpu.run(`${operation}sd`, { reg: x(2), rm: x(3) });
          scalar += cpu.xmm(2).slice(0, 16);
        }
        expect(packed).toBe(scalar);
      }
  });
});

describe('SSE exceptions', () => {
  it('an exception that is not masked is #XM, or #UD where the system does not handle it; the destination stays', () => {
    const cpu = new HelperBench();
    for (const [cr4, vector] of [
      [0x600n, XM],
      [0x200n, UD],
    ] as const) {
      cpu.setU64('CR4', cr4);
      setDouble(cpu, 0, 1);
      setDouble(cpu, 1, 0);
      cpu.setU32('MXCSR', MXCSR.MASKS & ~MXCSR.ZM);
      expect(cpu.run('divsd', { reg: x(0), rm: x(1) })).toBe(vector);
      expect(double(cpu, 0)).toBe(1);
      expect(cpu.u32('MXCSR') & 0x3f).toBe(MXCSR.ZE);
    }
  });

  it('packed operands in memory must be aligned, scalar ones need not be', () => {
    const cpu = new HelperBench();
    for (const name of [
      'addps',
      'mulpd',
      'cmpps',
      'cvtps2dq',
      'cvtpd2pi',
      'haddps',
      'dpps',
      'roundpd',
      'rcpps',
      'sqrtpd',
    ])
      expect([name, cpu.run(name, { ea: BigInt(DATA + 8) })]).toEqual([name, GP]);
    for (const name of ['addss', 'mulsd', 'cvtps2pd', 'cvtdq2pd', 'comisd', 'cvtsi2sd', 'cvtpi2ps', 'roundss'])
      expect([name, cpu.run(name, { ea: BigInt(DATA + 7) })]).toEqual([name, 'done']);
  });

  it('LDMXCSR refuses bits that do not exist, STMXCSR stores what was loaded', () => {
    const cpu = new HelperBench();
    cpu.view.setUint32(cpu.ram + DATA, 0x1_1f80, true);
    expect(cpu.run('ldmxcsr', { ea: BigInt(DATA) })).toBe(GP);
    cpu.view.setUint32(cpu.ram + DATA, 0xbfc1, true);
    expect(cpu.run('ldmxcsr', { ea: BigInt(DATA) })).toBe('done');
    expect(cpu.run('stmxcsr', { ea: BigInt(DATA + 5) })).toBe('done');
    expect(cpu.view.getUint32(cpu.ram + DATA + 5, true)).toBe(0xbfc1);
  });

  it('#UD with EM or without OSFXSR, #NM with TS', () => {
    const cpu = new HelperBench();
    cpu.setU32('FP_TRAP', 3);
    cpu.setU64('CR0', 0x3bn);
    expect(cpu.run('addps', {})).toBe(NM);
    expect(cpu.run('fld1', { modrm: 0xe8 })).toBe(NM);
    cpu.setU64('CR4', cpu.u64('CR4') & ~CR4_OSFXSR);
    expect(cpu.run('addps', {})).toBe(UD);
    cpu.setU64('CR0', 0x37n);
    expect(cpu.run('addps', {})).toBe(UD);
    expect(cpu.run('fld1', { modrm: 0xe8 })).toBe(NM);
  });

  it('conversions with MMX registers make the x87 state MMX’s and wait for its exceptions', () => {
    const cpu = new HelperBench();
    cpu.setU32('FSW', 5 << 11);
    cpu.run('cvtpi2ps', {});
    expect([cpu.u32('FSW'), cpu.u32('FTW')]).toEqual([0, 0xff]);
    cpu.setU32('FSW', FSW.ES | FSW.B | FSW.IE);
    expect(cpu.run('cvtps2pi', {})).toBe(MF);
    // From memory CVTPI2PD is no MMX instruction.
    expect(cpu.run('cvtpi2pd', { ea: BigInt(DATA) })).toBe('done');
  });
});

describe('x87 exceptions', () => {
  /** 1 ÷ 0 with ZE not masked. */
  function divideByZero(cpu: HelperBench): void {
    cpu.setU32('FCW', 0x37b);
    cpu.setU32('FSW', 0);
    cpu.setU32('FTW', 0);
    cpu.run('fldz', { modrm: 0xee });
    cpu.run('fld1', { modrm: 0xe8 });
    cpu.run('fdiv_st0_sti', { modrm: 0xf1 });
  }

  it('are reported at the next instruction that waits, CR0.NE = 1', () => {
    const cpu = new HelperBench();
    divideByZero(cpu);
    expect(cpu.u32('FSW') & (FSW.ZE | FSW.ES | FSW.B)).toBe(FSW.ZE | FSW.ES | FSW.B);
    for (const name of ['fld1', 'fwait', 'fnop', 'fldcw', 'fadd_m32', 'frstor'])
      expect([name, cpu.run(name, { ea: BigInt(DATA), modrm: 0 })]).toEqual([name, MF]);
    expect(cpu.run('fnstsw_ax', { modrm: 0xe0 })).toBe('done');
    expect(Number(cpu.u64('GPR')) & 0xffff).toBe(cpu.u32('FSW'));
    expect(cpu.run('fnclex', { modrm: 0xe2 })).toBe('done');
    expect(cpu.run('fwait')).toBe('done');
  });

  it('drive FERR#, CR0.NE = 0', () => {
    const levels: number[] = [];
    const cpu = new HelperBench({ ferr: (level) => levels.push(level) });
    cpu.setU64('CR0', cpu.u64('CR0') & ~CR0_NE);
    divideByZero(cpu);
    expect(levels).toEqual([1]);
    expect(cpu.run('fwait')).toBe('done');
    cpu.run('fnclex', { modrm: 0xe2 });
    expect(levels.at(-1)).toBe(0);
  });

  it('become pending when FLDCW unmasks what is flagged, and FNSTENV masks them again', () => {
    const cpu = new HelperBench();
    cpu.setU32('FSW', FSW.PE);
    cpu.view.setUint16(cpu.ram + DATA, 0x35f, true);
    cpu.run('fldcw', { ea: BigInt(DATA), modrm: 0x2e });
    expect(cpu.u32('FSW')).toBe(FSW.PE | FSW.ES | FSW.B);
    expect(cpu.run('fnstenv', { ea: BigInt(DATA), modrm: 0x36 })).toBe('done');
    expect([cpu.u32('FCW'), cpu.u32('FSW')]).toEqual([0x37f, FSW.PE]);
    expect(cpu.view.getUint16(cpu.ram + DATA + 4, true)).toBe(FSW.PE | FSW.ES | FSW.B);
  });

  it('FWAIT heeds TS only with MP', () => {
    const cpu = new HelperBench();
    cpu.setU64('CR0', 0x39n);
    expect(cpu.run('fwait')).toBe('done');
    cpu.setU64('CR0', 0x3bn);
    expect(cpu.run('fwait')).toBe(NM);
  });

  it('a store that faults leaves everything as it was', () => {
    const cpu = new HelperBench();
    cpu.run('fldpi', { modrm: 0xeb });
    const before = cpu.u32('FSW');
    // A non-canonical address.
    expect(cpu.run('fstp_m32', { ea: 1n << 60n, modrm: 0x1e })).toBe(GP);
    expect([cpu.u32('FSW'), cpu.u32('FTW')]).toEqual([before, 0x80]);
    expect(cpu.run('fstp_m32', { ea: BigInt(DATA), modrm: 0x1e })).toBe('done');
    expect(cpu.view.getFloat32(cpu.ram + DATA, true)).toBe(Math.fround(Math.PI));
  });
});

describe('x87 images', () => {
  const FIELDS_REAL_32 = [3, 4, 5, 6];

  function prepared(): HelperBench {
    const cpu = new HelperBench();
    cpu.setU64('FIP', 0x1_2345n);
    cpu.setU64('FDP', 0x3_4567n);
    cpu.setU32('FCS', 0x1000);
    cpu.setU32('FDS', 0x2000);
    cpu.setU32('FOP', 0x5ab);
    cpu.setU32('FTW', 0);
    cpu.setU32('FSW', 0);
    cpu.run('fld1', { modrm: 0xe8 });
    cpu.setU64('FIP', 0x1_2345n);
    cpu.setU32('FCS', 0x1000);
    cpu.setU32('FOP', 0x5ab);
    return cpu;
  }

  it('hold linear addresses in real-address mode (SDM vol. 1 figures 8-10, 8-12)', () => {
    const cpu = prepared();
    cpu.setU64('CR0', 0x32n);
    cpu.run('fnstenv', { ea: BigInt(DATA), modrm: 0x36 });
    const words = FIELDS_REAL_32.map((n) => cpu.view.getUint32(cpu.ram + DATA + 4 * n, true));
    expect(words).toEqual([0xffff_2345, (0x2 << 12) | 0x5ab, 0xffff_4567, 0x5 << 12]);
    cpu.run('fnstenv', { ea: BigInt(DATA), modrm: 0x36, short: true });
    const short = FIELDS_REAL_32.map((n) => cpu.view.getUint16(cpu.ram + DATA + 2 * n, true));
    expect(short).toEqual([0x2345, (0x2 << 12) | 0x5ab, 0x4567, 0x5 << 12]);
  });

  it('come back as they were', () => {
    for (const short of [false, true]) {
      const cpu = prepared();
      cpu.run('fldpi', { modrm: 0xeb });
      const state = (): unknown => [
        ...(['FCW', 'FSW', 'FTW'] as const).map((field) => cpu.u32(field)),
        ...Array.from({ length: 16 }, (_, n) => cpu.u64('FPR', n)),
      ];
      const before = state();
      cpu.run('fnsave', { ea: BigInt(DATA), modrm: 0x36, short });
      expect([cpu.u32('FCW'), cpu.u32('FSW'), cpu.u32('FTW')]).toEqual([0x37f, 0, 0]);
      cpu.run('frstor', { ea: BigInt(DATA), modrm: 0x26, short });
      expect(state()).toEqual(before);
    }
  });

  it('opcode, instruction and operand pointers name the last instruction that is not control', () => {
    const cpu = prepared();
    cpu.setU64('CODE_BASE', 0x7000n);
    cpu.setU64('SEG_BASE', 0x100n, 0);
    cpu.run('fadd_m64', { ea: BigInt(DATA), modrm: 0x06 });
    cpu.run('fnstcw', { ea: BigInt(DATA + 32), modrm: 0x3e });
    expect([cpu.u32('FOP'), cpu.u64('FIP'), cpu.u64('FDP')]).toEqual([0x406, 0x7000n, BigInt(DATA - 0x100)]);
  });
});

describe('x87 arithmetic', () => {
  /** Pushes a double. */
  function push(cpu: HelperBench, value: number): void {
    cpu.view.setFloat64(cpu.ram + DATA, value, true);
    cpu.run('fld_m64', { ea: BigInt(DATA), modrm: 0x06 });
  }
  function popped(cpu: HelperBench): number {
    cpu.run('fstp_m64', { ea: BigInt(DATA), modrm: 0x1e });
    return cpu.view.getFloat64(cpu.ram + DATA, true);
  }
  const fresh = (): HelperBench => {
    const cpu = new HelperBench();
    cpu.run('fninit');
    return cpu;
  };

  it('with the precision of binary64 it is what doubles do', () => {
    const cpu = fresh();
    cpu.setU32('FCW', 0x27f);
    const source = numbers(3);
    for (let i = 0; i < 500; i++) {
      const [a, b] = [source.next().value, source.next().value || 1];
      for (const [name, modrm, wanted] of [
        ['faddp', 0xc1, a + b],
        ['fmulp', 0xc9, a * b],
        ['fsubp', 0xe9, a - b],
        ['fdivp', 0xf9, a / b],
      ] as const) {
        push(cpu, a);
        push(cpu, b);
        cpu.run(name, { modrm });
        expect(popped(cpu)).toBe(wanted);
      }
    }
  });

  it('FPREM, repeated while C2 is set, is the remainder of doubles', () => {
    const cpu = fresh();
    for (const [a, b] of [
      [1e300, 3],
      [-7.5, 2],
      [2 ** 200 + 2 ** 150, 1e-5],
      [5, 1e300],
    ]) {
      push(cpu, b);
      push(cpu, a);
      let steps = 0;
      do {
        cpu.run('fprem', { modrm: 0xf8 });
        steps++;
      } while (cpu.u32('FSW') & FSW.C2);
      expect(steps).toBeLessThan(40);
      expect(popped(cpu)).toBe(a % b);
      popped(cpu);
    }
  });

  it('FSCALE undoes FXTRACT', () => {
    const cpu = fresh();
    const source = numbers(4);
    for (let i = 0; i < 100; i++) {
      const value = source.next().value || 1;
      push(cpu, value);
      cpu.run('fxtract', { modrm: 0xf4 });
      cpu.run('fscale', { modrm: 0xfd });
      expect(popped(cpu)).toBe(value);
      popped(cpu);
    }
  });

  it('FBLD undoes FBSTP', () => {
    const cpu = fresh();
    for (const value of [0, -0, 1, -987_654_321, 123_456_789_012_345, -1e17]) {
      push(cpu, value);
      cpu.run('fbstp', { ea: BigInt(DATA), modrm: 0x36 });
      cpu.run('fbld', { ea: BigInt(DATA), modrm: 0x26 });
      expect(popped(cpu)).toBe(value);
    }
  });

  it('the elementary functions agree with those of doubles', () => {
    const cpu = fresh();
    const near = (value: number, wanted: number): void =>
      expect(Math.abs(value - wanted)).toBeLessThanOrEqual(4 * 2 ** -52 * Math.abs(wanted));
    for (let i = -20; i <= 20; i++) {
      const value = i / 16 + 1e-3;
      const one = (name: string, modrm: number): number => {
        push(cpu, value);
        cpu.run(name, { modrm });
        return popped(cpu);
      };
      const two = (name: string, modrm: number, below: number, above: number): number => {
        push(cpu, below);
        push(cpu, above);
        cpu.run(name, { modrm });
        return popped(cpu);
      };
      near(one('fsin', 0xfe), Math.sin(value));
      near(one('fcos', 0xff), Math.cos(value));
      if (Math.abs(value) < 1) near(one('f2xm1', 0xf0), Math.expm1(value * Math.LN2));
      near(two('fpatan', 0xf3, value, -0.3), Math.atan2(value, -0.3));
      near(two('fyl2x', 0xf1, 3, value * value), 3 * Math.log2(value * value));
      if (Math.abs(value) < 0.29) near(two('fyl2xp1', 0xf9, Math.LN2, value), Math.log1p(value));
    }
  });

  it('FSIN leaves what is beyond 2^63 and says so', () => {
    const cpu = fresh();
    push(cpu, 2 ** 63);
    cpu.run('fsin', { modrm: 0xfe });
    expect(cpu.u32('FSW') & FSW.C2).toBe(FSW.C2);
    expect(popped(cpu)).toBe(2 ** 63);
  });
});
