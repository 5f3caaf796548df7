import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HelperBench } from '../../testing/x86-helpers.js';

/** The lines of a fixture by instruction; what they hold is said at their top. */
function fixture(file: string): Map<string, string[][]> {
  const cases = new Map<string, string[][]>();
  for (const line of readFileSync(new URL(`fixtures/${file}`, import.meta.url), 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const words = line.split(' ');
    const list = cases.get(words[0]);
    if (list === undefined) cases.set(words[0], [words]);
    else list.push(words);
  }
  return cases;
}

/** Bits of EFLAGS that instructions set arithmetically. */
const ARITHMETIC = 0x8d5;

function setFlags(cpu: HelperBench, flags: number): void {
  const bit = (n: number): number => (flags >>> n) & 1;
  const [cf, pf, af, zf, sf, of] = [0, 2, 4, 6, 7, 11].map(bit);
  cpu.setU64('FLAG_RES', zf === 1 ? 0n : 1n);
  cpu.setU32('FLAG_AUX', ((cf << 31) | ((cf ^ of) << 30) | ((pf ^ zf) << 8) | (af << 3) | sf) >>> 0);
}

function flagsOf(cpu: HelperBench): number {
  const result = BigInt.asIntN(64, cpu.u64('FLAG_RES'));
  const aux = cpu.u32('FLAG_AUX');
  const ones = (Number(result & 0xffn) ^ ((aux >>> 8) & 0xff)).toString(2).replaceAll('0', '').length;
  const cf = aux >>> 31;
  return (
    cf |
    ((ones & 1) === 0 ? 4 : 0) |
    ((aux & 8) << 1) |
    (result === 0n ? 0x40 : 0) |
    ((result < 0n ? 1 : 0) ^ (aux & 1) ? 0x80 : 0) |
    ((cf ^ ((aux >>> 30) & 1)) << 11)
  );
}

/** Hexadecimal digits, lowest byte first, as a number. */
function littleEndian(hex: string): bigint {
  return BigInt(`0x${Buffer.from(hex, 'hex').reverse().toString('hex')}`);
}

describe('SSE floating point, as a processor does it', () => {
  const cpu = new HelperBench();
  /** RCPPS, RSQRTPS: both sides are within 1.5 × 2^-12 of the exact value; tiny results may be flushed. */
  const close = (a: number, b: number): boolean =>
    Object.is(a, b) ||
    (Number.isNaN(a) && Number.isNaN(b)) ||
    Math.abs(a - b) <= Math.max(3 * 2 ** -12 * Math.abs(b), 2 ** -125);

  function run(words: string[]): string {
    const [name, wide, immediate, mxcsr, destination, source] = words;
    cpu.setXmm(0, destination);
    cpu.setXmm(1, source);
    cpu.setU64('GPR', 0n, 0);
    cpu.setU64('GPR', littleEndian(source.slice(0, 16)), 1);
    cpu.setU64('FPR', 0n, 0);
    cpu.setU64('FPR', littleEndian(source.slice(0, 16)), 2);
    cpu.setU32('FSW', 0);
    cpu.setU32('MXCSR', parseInt(mxcsr, 16));
    const toGeneral = name.endsWith('2si');
    const rm = name.startsWith('cvtsi') ? 8 : name.startsWith('cvtpi') ? 1 : 16;
    const outcome = cpu.run(name, { reg: 0, rm, imm: parseInt(immediate, 16), wide: wide === '1' });
    let result = cpu.xmm(0);
    if (outcome === 19) result = 'trap';
    else if (toGeneral) result = Buffer.from(cpu.bytes.slice(cpu.at('GPR'), cpu.at('GPR', 8))).toString('hex');
    else if (name.endsWith('2pi'))
      result = Buffer.from(cpu.bytes.slice(cpu.at('FPR'), cpu.at('FPR', 8))).toString('hex');
    else if (name.includes('comis')) result = flagsOf(cpu).toString(16).padStart(3, '0');
    return `${cpu.u32('MXCSR').toString(16).padStart(4, '0')} ${result}`;
  }

  const singles = (text: string): number[] => {
    const bytes = Buffer.from(text.slice(5), 'hex');
    return [0, 4, 8, 12].map((at) => bytes.readFloatLE(at));
  };

  for (const [name, cases] of fixture('sse-float.txt'))
    it(name, () => {
      for (const words of cases) {
        const expected = words.slice(7).join(' ');
        const got = run(words);
        if (/^r(cp|sqrt)/.test(name)) {
          const wanted = singles(expected);
          expect(singles(got).every((value, lane) => close(value, wanted[lane]))).toBe(true);
          expect(got.slice(0, 4)).toBe(expected.slice(0, 4));
        } else expect(`${words.slice(0, 6).join(' ')} > ${got}`).toBe(words.join(' '));
      }
    });
});

describe('x87, as a processor does it', () => {
  const cpu = new HelperBench();
  const MEMORY = 0x200;
  const ONE = '3fff8000000000000000';
  /** Whose results may be one unit in the last place off, C1 with them. */
  const transcendental = new Set(['f2xm1', 'fyl2x', 'fptan', 'fpatan', 'fyl2xp1', 'fsincos', 'fsin', 'fcos']);

  const setRegister = (physical: number, text: string): void => {
    cpu.setU64('FPR', BigInt(`0x${text.slice(4)}`), 2 * physical);
    cpu.setU64('FPR', BigInt(`0x${text.slice(0, 4)}`), 2 * physical + 1);
  };
  const register = (physical: number): string =>
    (cpu.u64('FPR', 2 * physical + 1) & 0xffffn).toString(16).padStart(4, '0') +
    cpu
      .u64('FPR', 2 * physical)
      .toString(16)
      .padStart(16, '0');
  /** A number's place among all of its sign, so that neighbours differ by one. */
  const order = (text: string): bigint =>
    (BigInt(`0x${text.slice(0, 4)}`) << 63n) | (BigInt(`0x${text.slice(4)}`) & 0x7fff_ffff_ffff_ffffn);

  function execute(words: string[]): void {
    const [name, modrm, fcw, fsw, tags, st0, st1, memory, flags] = words;
    const top = (parseInt(fsw, 16) >>> 11) & 7;
    cpu.setU32('FCW', parseInt(fcw, 16));
    cpu.setU32('FSW', parseInt(fsw, 16));
    cpu.setU32('FTW', parseInt(tags, 16));
    setFlags(cpu, parseInt(flags, 16));
    for (let i = 0; i < 8; i++) setRegister((top + i) & 7, i === 0 ? st0 : i === 1 ? st1 : ONE);
    if (memory !== '-') cpu.bytes.set(Buffer.from(memory, 'hex'), cpu.ram + MEMORY);
    const before = Array.from({ length: 8 }, (_, p) => register(p));

    const [wantedFcw, wantedFsw, wantedTags, wantedFlags, wantedMemory, ...changes] = words.slice(10);
    const operand = parseInt(modrm, 16) < 0xc0 ? { ea: BigInt(MEMORY) } : {};
    expect(cpu.run(name, { modrm: parseInt(modrm, 16), ...operand })).toBe('done');
    const inexactC1 = transcendental.has(name) ? 0x200 : 0;
    expect({
      fcw: cpu.u32('FCW'),
      fsw: cpu.u32('FSW') & ~inexactC1,
      tags: cpu.u32('FTW'),
      flags: flagsOf(cpu) & ARITHMETIC,
    }).toEqual({
      fcw: parseInt(wantedFcw, 16),
      fsw: parseInt(wantedFsw, 16) & ~inexactC1,
      tags: parseInt(wantedTags, 16),
      flags: parseInt(wantedFlags, 16),
    });
    if (memory !== '-') {
      const stands = Buffer.from(cpu.bytes.slice(cpu.ram + MEMORY, cpu.ram + MEMORY + 10)).toString('hex');
      expect(stands).toBe(wantedMemory === '-' ? memory : wantedMemory);
    }
    const wanted = before.slice();
    for (const change of changes) wanted[Number(change[0])] = change.slice(2);
    const got = before.map((_, p) => register(p));
    for (let p = 0; p < 8; p++) {
      const distance = order(got[p]) - order(wanted[p]);
      if (!transcendental.has(name) || distance < -1n || distance > 1n) expect(got[p]).toBe(wanted[p]);
    }
  }

  for (const [name, cases] of fixture('x87.txt'))
    it(name, () => {
      for (const words of cases) execute(words);
    });
});
