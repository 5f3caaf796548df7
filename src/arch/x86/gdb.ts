/**
 * Registers as gdb knows them: features org.gnu.gdb.i386.core, .sse and .segments (gdb manual §G.5.17), and one of our own with the
 * control registers.
 */
import type { Plain } from '../../snapshot/schema.js';
import type { SegmentName, VcpuState } from './state.js';

interface GdbRegister {
  readonly name: string;
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  read(state: VcpuState): bigint;
  write(state: VcpuState, value: bigint): VcpuState;
}

/** gdb's order of the general registers, as indices in the encoding's order. */
const GPR_ORDER = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
const NAMES_64 = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'];
const NAMES_32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];

const EFLAGS_BITS = [
  ['CF', 0],
  ['', 1],
  ['PF', 2],
  ['AF', 4],
  ['ZF', 6],
  ['SF', 7],
  ['TF', 8],
  ['IF', 9],
  ['DF', 10],
  ['OF', 11],
  ['NT', 14],
  ['RF', 16],
  ['VM', 17],
  ['AC', 18],
  ['VIF', 19],
  ['VIP', 20],
  ['ID', 21],
] as const;

const replaced = <T>(list: readonly T[], index: number, value: T): T[] =>
  list.map((old, i) => (i === index ? value : old));

function gpr(name: string, type: string, size: number, index: number): GdbRegister {
  return {
    name,
    type,
    size,
    read: (s) => s.gpr[index] ?? 0n,
    write: (s, value) => ({ ...s, gpr: replaced(s.gpr, index, value) }),
  };
}

/** A field of the state that is a number of some bits. */
function field(
  name: string,
  type: string,
  size: number,
  key: 'rip' | 'rflags' | 'cr0' | 'cr2' | 'cr3' | 'cr4' | 'efer',
): GdbRegister {
  return { name, type, size, read: (s) => s[key], write: (s, value) => ({ ...s, [key]: value }) };
}

/** Selectors can be read; loading one takes a descriptor, which is the guest's business, so a write is dropped. */
function selector(name: SegmentName): GdbRegister {
  return { name, type: 'int32', size: 4, read: (s) => BigInt(s.segments[name].selector), write: (s) => s };
}

function segmentBase(name: 'fs' | 'gs'): GdbRegister {
  return {
    name: `${name}_base`,
    type: 'int',
    size: 8,
    read: (s) => s.segments[name].base,
    write: (s, base) => ({ ...s, segments: { ...s.segments, [name]: { ...s.segments[name], base } } }),
  };
}

const fromBytes = (bytes: Uint8Array): bigint => bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

function toBytes(value: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let rest = value;
  for (let i = 0; i < size; i++) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** ST(i) is physical register (TOP + i) mod 8. */
const physical = (s: VcpuState, i: number): number => ((s.fpu.fsw >> 11) + i) & 7;

function st(i: number): GdbRegister {
  return {
    name: `st${String(i)}`,
    type: 'i387_ext',
    size: 10,
    read: (s) => fromBytes(s.fpu.registers[physical(s, i)] ?? new Uint8Array(10)),
    write: (s, value) => {
      const registers = replaced(s.fpu.registers, physical(s, i), toBytes(value, 10));
      return { ...s, fpu: { ...s.fpu, registers, ftw: s.fpu.ftw | (1 << physical(s, i)) } };
    },
  };
}

/** The full tag word: 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1 §8.1.7). */
function fullTag(s: VcpuState): bigint {
  let word = 0n;
  s.fpu.registers.forEach((register, i) => {
    let tag = 3n;
    if (s.fpu.ftw & (1 << i)) {
      const value = fromBytes(register);
      const exponent = (value >> 64n) & 0x7fffn;
      const integer = (value >> 63n) & 1n;
      tag = (value & ((1n << 79n) - 1n)) === 0n ? 1n : exponent === 0x7fffn || integer === 0n ? 2n : 0n;
    }
    word |= tag << BigInt(2 * i);
  });
  return word;
}

type FpuNumber = 'fcw' | 'fsw' | 'fcs' | 'fds' | 'fop' | 'mxcsr';

function fpu(name: string, key: FpuNumber): GdbRegister {
  return {
    name,
    type: key === 'mxcsr' ? 'i386_mxcsr' : 'int',
    size: 4,
    read: (s) => BigInt(s.fpu[key]),
    write: (s, value) => ({
      ...s,
      fpu: { ...s.fpu, [key]: Number(value & (key === 'mxcsr' ? 0xffffn : key === 'fop' ? 0x7ffn : 0xffffn)) },
    }),
  };
}

function fpuPointer(name: string, key: 'fip' | 'fdp'): GdbRegister {
  return {
    name,
    type: 'int',
    size: 4,
    read: (s) => s.fpu[key] & 0xffff_ffffn,
    write: (s, value) => ({ ...s, fpu: { ...s.fpu, [key]: value } }),
  };
}

function xmm(i: number): GdbRegister {
  return {
    name: `xmm${String(i)}`,
    type: 'vec128',
    size: 16,
    read: (s) => fromBytes(s.fpu.xmm[i] ?? new Uint8Array(16)),
    write: (s, value) => ({ ...s, fpu: { ...s.fpu, xmm: replaced(s.fpu.xmm, i, toBytes(value, 16)) } }),
  };
}

function core(long: boolean): GdbRegister[] {
  const size = long ? 8 : 4;
  const general = long
    ? GPR_ORDER.map((index, i) =>
        gpr(NAMES_64[i] ?? `r${String(index)}`, i === 6 || i === 7 ? 'data_ptr' : 'int64', size, index),
      )
    : NAMES_32.map((name, i) => gpr(name, i === 4 || i === 5 ? 'data_ptr' : 'int32', size, i));
  return [
    ...general,
    field(long ? 'rip' : 'eip', 'code_ptr', size, 'rip'),
    field('eflags', 'i386_eflags', 4, 'rflags'),
    ...(['cs', 'ss', 'ds', 'es', 'fs', 'gs'] as const).map(selector),
    ...Array.from({ length: 8 }, (_, i) => st(i)),
    fpu('fctrl', 'fcw'),
    fpu('fstat', 'fsw'),
    { name: 'ftag', type: 'int', size: 4, read: fullTag, write: (s) => s },
    fpu('fiseg', 'fcs'),
    fpuPointer('fioff', 'fip'),
    fpu('foseg', 'fds'),
    fpuPointer('fooff', 'fdp'),
    fpu('fop', 'fop'),
  ];
}

const sse = (count: number): GdbRegister[] => [
  ...Array.from({ length: count }, (_, i) => xmm(i)),
  fpu('mxcsr', 'mxcsr'),
];

const control = (long: boolean): GdbRegister[] =>
  (['cr0', 'cr2', 'cr3', 'cr4', 'efer'] as const).map((key) => field(key, long ? 'int64' : 'int32', long ? 8 : 4, key));

const TYPES_CORE =
  '<flags id="i386_eflags" size="4">' +
  EFLAGS_BITS.map(([name, bit]) => `<field name="${name}" start="${String(bit)}" end="${String(bit)}"/>`).join('') +
  '</flags>';

const TYPES_SSE =
  '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>' +
  '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>' +
  '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>' +
  '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>' +
  '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>' +
  '<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>' +
  '<flags id="i386_mxcsr" size="4">' +
  ['IE', 'DE', 'ZE', 'OE', 'UE', 'PE', 'DAZ', 'IM', 'DM', 'ZM', 'OM', 'UM', 'PM']
    .map((name, bit) => `<field name="${name}" start="${String(bit)}" end="${String(bit)}"/>`)
    .join('') +
  '<field name="FZ" start="15" end="15"/></flags>';

function feature(name: string, types: string, registers: readonly GdbRegister[]): string {
  const list = registers.map((r) => `<reg name="${r.name}" bitsize="${String(r.size * 8)}" type="${r.type}"/>`);
  return `<feature name="${name}">${types}${list.join('')}</feature>`;
}

interface X86GdbArchitecture {
  readonly targetXml: string;
  readonly sizes: readonly number[];
  read(state: Plain, register: number): Uint8Array;
  write(state: Plain, register: number, value: Uint8Array): Plain;
}

/** `long`: the CPU model has long mode, so gdb sees i386:x86-64 in every mode of it; otherwise i386. */
export function x86GdbArchitecture(long: boolean): X86GdbArchitecture {
  const parts = [
    { name: 'org.gnu.gdb.i386.core', types: TYPES_CORE, registers: core(long) },
    { name: 'org.gnu.gdb.i386.sse', types: TYPES_SSE, registers: sse(long ? 16 : 8) },
    ...(long
      ? [{ name: 'org.gnu.gdb.i386.segments', types: '', registers: [segmentBase('fs'), segmentBase('gs')] }]
      : []),
    { name: 'org.vitrine.x86.control', types: '', registers: control(long) },
  ];
  const registers = parts.flatMap((part) => part.registers);
  const at = (index: number): GdbRegister => {
    const register = registers[index];
    if (register === undefined) throw new RangeError(`gdb register ${String(index)}`);
    return register;
  };
  return {
    targetXml:
      '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">' +
      `<architecture>${long ? 'i386:x86-64' : 'i386'}</architecture>` +
      parts.map((part) => feature(part.name, part.types, part.registers)).join('') +
      '</target>',
    sizes: registers.map((r) => r.size),
    read: (state, index) => toBytes(at(index).read(state as unknown as VcpuState), at(index).size),
    write: (state, index, value) => at(index).write(state as unknown as VcpuState, fromBytes(value)),
  };
}
