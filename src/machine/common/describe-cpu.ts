/** A CPU's state as lines of text, for people who find out why a guest died. */
import { vcpuStateSchema, type SegmentName, type VcpuState } from '../../arch/x86/state.js';
import type { Dma } from '../../iface/guest-memory.js';
import { gpa } from '../../base/units.js';
import type { CpuEvent, Vcpu } from '../../iface/vcpu.js';

const NAMES = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ');
const SEGMENTS: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];
/** RFLAGS by bit. */
const FLAGS: readonly (readonly [number, string])[] = [
  [0, 'CF'],
  [2, 'PF'],
  [4, 'AF'],
  [6, 'ZF'],
  [7, 'SF'],
  [8, 'TF'],
  [9, 'IF'],
  [10, 'DF'],
  [11, 'OF'],
  [14, 'NT'],
  [16, 'RF'],
  [17, 'VM'],
  [18, 'AC'],
];
const CODE_BYTES = 16;
/** Instructions that are shown of them. */
const CODE_LINES = 3;

const hex = (value: bigint | number, digits = 16): string => value.toString(16).padStart(digits, '0');

function mode({ cr0, efer, rflags, segments }: VcpuState): string {
  if ((cr0 & 1n) === 0n) return 'real mode';
  if (rflags & (1n << 17n)) return 'V86 mode';
  const attributes = segments.cs.attributes;
  if (efer & 0x400n && attributes & (1 << 13)) return '64-bit mode';
  const width = attributes & (1 << 14) ? '32-bit' : '16-bit';
  return efer & 0x400n ? `${width} compatibility mode` : `${width} protected mode`;
}

/** Turns the first of some bytes of code into text. */
export type Disassemble = (
  bytes: Uint8Array,
  bits: 16 | 32 | 64,
  address: bigint,
) => { readonly text: string; readonly length: number };

/** The bytes at the next instruction, as far as they are in memory. */
function codeBytes(cpu: Vcpu, dma: Dma): Uint8Array {
  const { linear } = cpu.location;
  const bytes: number[] = [];
  for (let i = 0; i < CODE_BYTES; i++) {
    const at = cpu.translate(BigInt.asUintN(64, linear + BigInt(i)));
    const byte = new Uint8Array(1);
    if (at === undefined || !dma.read(gpa(at), byte)) break;
    bytes.push(byte[0]);
  }
  return Uint8Array.from(bytes);
}

/** A few instructions, from the next one on. */
function code(cpu: Vcpu, dma: Dma, disassemble: Disassemble | undefined): string[] {
  const bytes = codeBytes(cpu, dma);
  if (bytes.length === 0) return ['code not in memory'];
  const lines = [`code ${Array.from(bytes, (byte) => hex(byte, 2)).join(' ')}`];
  const { bits, offset } = cpu.location;
  for (let at = 0; disassemble && at < bytes.length && lines.length <= CODE_LINES;) {
    const { text, length } = disassemble(bytes.subarray(at), bits, offset + BigInt(at));
    lines.push(`     ${hex(offset + BigInt(at))}  ${text}`);
    at += length;
  }
  return lines;
}

const EXCEPTIONS = '#DE #DB NMI #BP #OF #BR #UD #NM #DF CSO #TS #NP #SS #GP #PF 15 #MF #AC #MC #XM #VE #CP'.split(' ');

/** An event in words: `#PF error 0002 address … at 0010:…`. */
export function describeEvent({ vector, kind, errorCode, selector, offset, address }: CpuEvent): string {
  const exception = kind === 'fault' || kind === 'trap' || (kind === 'interrupt' && vector === 2);
  const name = exception ? EXCEPTIONS[vector] : undefined;
  return (
    (name ?? `${kind === 'interrupt' ? 'interrupt' : 'INT'} ${hex(vector, 2)}`) +
    (errorCode === undefined ? '' : ` error ${hex(errorCode, 4)}`) +
    (address === undefined ? '' : ` address ${hex(address)}`) +
    ` at ${hex(selector, 4)}:${hex(offset)}`
  );
}

/** Registers, control registers, segments and the code at hand, on about 16 lines. */
export function describeCpu(cpu: Vcpu, dma: Dma, disassemble?: Disassemble): string {
  const state = vcpuStateSchema.check(cpu.saveState(), 'cpu');
  const flags = FLAGS.filter(([bit]) => state.rflags & (1n << BigInt(bit))).map(([, name]) => name);
  const lines = [`CPU ${cpu.index}, ${mode(state)}, ${state.activity}`];
  for (let i = 0; i < NAMES.length; i += 4)
    lines.push(
      NAMES.slice(i, i + 4)
        .map((name, j) => `${name.padEnd(3)} ${hex(state.gpr[i + j])}`)
        .join('  '),
    );
  lines.push(`RIP ${hex(state.rip)}  RFLAGS ${hex(state.rflags, 8)} ${flags.join(' ')}`);
  const { cr0, cr2, cr3, cr4, efer } = state;
  lines.push(`CR0 ${hex(cr0, 8)}  CR2 ${hex(cr2)}  CR3 ${hex(cr3)}  CR4 ${hex(cr4, 8)}  EFER ${hex(efer, 4)}`);
  for (const name of SEGMENTS) {
    const { selector, base, limit, attributes } = state.segments[name];
    lines.push(
      `${name.toUpperCase().padEnd(4)} ${hex(selector, 4)}  base ${hex(base)}  limit ${hex(limit, 8)}  ` +
        `attributes ${hex(attributes, 4)}`,
    );
  }
  for (const name of ['gdtr', 'idtr'] as const)
    lines.push(`${name.toUpperCase()}      base ${hex(state[name].base)}  limit ${hex(state[name].limit, 8)}`);
  const { exception } = state.events;
  if (exception)
    lines.push(
      `pending exception ${exception.vector}` +
        (exception.errorCode === null ? '' : `, error code ${hex(exception.errorCode, 4)}`),
    );
  for (const [n, event] of cpu.recentEvents.entries())
    lines.push(`${n === 0 ? 'last events' : '           '} ${describeEvent(event)}`);
  lines.push(...code(cpu, dma, disassemble));
  return lines.join('\n');
}
