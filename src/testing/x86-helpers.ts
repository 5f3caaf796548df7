import { readFileSync } from 'node:fs';
import { RECORD, STATE } from '../cpu/x86/state-layout.js';
import { guestBase, LAYOUT, SLOT, SYNC } from '../memory/layout.js';

/** What an instruction under test is given besides the state. */
export interface HelperOperands {
  /** ModRM.reg and ModRM.rm as records hold them: XMM number × 16, MMX number, GPR number × 8. */
  readonly reg?: number;
  readonly rm?: number;
  /** Linear address of the memory operand; without it the operand is a register. */
  readonly ea?: bigint;
  readonly imm?: number;
  /** REX.W. */
  readonly wide?: boolean;
  /** An operand size of 16 bits. */
  readonly short?: boolean;
  /** The raw ModRM byte, for the x87; otherwise it only tells register from memory. */
  readonly modrm?: number;
}

const PAGE = 65_536;
const RECORD_AT = guestBase(1);
const CR4_OSFXSR_OSXMMEXCPT_OSXSAVE = 0x4_0600;

/**
 * Calls helper instructions one by one, at CPL 0 in 64-bit mode without paging: 64 KiB of RAM at guest-physical 0.
 * For what generated tests against a real processor cannot reach, and for machines that have none.
 */
export class HelperBench {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Where guest-physical 0 stands in `bytes`. */
  readonly ram = RECORD_AT + PAGE;
  readonly exports: Record<string, ((record: number, ea: bigint) => number) | undefined>;

  /** `imports` replaces services of the host that do nothing otherwise. */
  constructor(imports: Readonly<Record<string, (...values: number[]) => number>> = {}) {
    const pages = this.ram / PAGE + 1;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: 65_536, shared: true });
    this.view = new DataView(this.memory.buffer);
    this.bytes = new Uint8Array(this.memory.buffer);
    const module = new WebAssembly.Module(readFileSync(new URL('../../dist/cpu/x86/helpers.wasm', import.meta.url)));
    const env: Record<string, WebAssembly.ImportValue> = {};
    for (const { name, kind } of WebAssembly.Module.imports(module))
      if (kind === 'function') env[name] = imports[name] ?? (() => 0);
    env['memory'] = this.memory;
    env['cpu_origin'] = new WebAssembly.Global({ value: 'i32', mutable: false }, 0);
    env['state_base'] = new WebAssembly.Global({ value: 'i32', mutable: false }, LAYOUT.STATES);
    this.exports = new WebAssembly.Instance(module, { env }).exports as typeof this.exports;

    this.view.setUint32(LAYOUT.SYNC + SYNC.CPUS, 1, true);
    this.view.setUint32(LAYOUT.SLOTS, 1, true);
    const slot = LAYOUT.SLOTS + 8;
    this.view.setBigUint64(slot + SLOT.START, 0n, true);
    this.view.setBigUint64(slot + SLOT.LENGTH, BigInt(PAGE), true);
    this.view.setUint32(slot + SLOT.HOST, this.ram, true);
    this.setU64('MASK64', ~0n);
    this.setU64('A20_MASK', ~0n);
    this.setU64('PHYS_MASK', 0xff_ffff_ffffn);
    this.setU64('CR0', 0x33n);
    this.setU64('CR4', BigInt(CR4_OSFXSR_OSXMMEXCPT_OSXSAVE));
    this.setU64('XCR0', 3n);
    this.setU32('MODE_KEY', 6);
    this.setU32('FCW', 0x37f);
    this.setU32('MXCSR', 0x1f80);
    this.setU32('EXC_VECTOR', 0xffff_ffff);
    // Any context will do as long as its entries are not those of empty memory.
    this.setU64('TLB_CTX', 0x12n);
  }

  at(field: keyof typeof STATE, index = 0): number {
    return LAYOUT.STATES + STATE[field] + index;
  }

  setU64(field: keyof typeof STATE, value: bigint, index = 0): void {
    this.view.setBigUint64(this.at(field, 8 * index), BigInt.asUintN(64, value), true);
  }

  setU32(field: keyof typeof STATE, value: number): void {
    this.view.setUint32(this.at(field), value, true);
  }

  u64(field: keyof typeof STATE, index = 0): bigint {
    return this.view.getBigUint64(this.at(field, 8 * index), true);
  }

  u32(field: keyof typeof STATE): number {
    return this.view.getUint32(this.at(field), true);
  }

  /** Sixteen bytes as hexadecimal digits, lowest address first. */
  xmm(n: number): string {
    return Buffer.from(this.bytes.slice(this.at('XMM', 16 * n), this.at('XMM', 16 * n + 16))).toString('hex');
  }

  setXmm(n: number, hex: string): void {
    this.bytes.set(Buffer.from(hex, 'hex'), this.at('XMM', 16 * n));
  }

  /** Runs `x_<name>`: 'done', or the exception's vector. */
  run(name: string, operands: HelperOperands = {}): 'done' | number {
    const helper = this.exports[`x_${name}`];
    if (helper === undefined) throw new Error(`there is no helper x_${name}`);
    this.bytes.fill(0, RECORD_AT, RECORD_AT + 32);
    this.bytes[RECORD_AT + RECORD.REG] = operands.reg ?? 0;
    this.bytes[RECORD_AT + RECORD.RM] = operands.rm ?? 0;
    this.bytes[RECORD_AT + RECORD.MODRM] = operands.modrm ?? (operands.ea === undefined ? 0xc0 : 0);
    this.bytes[RECORD_AT + RECORD.PREFIX] = operands.wide === true ? 0x0a : operands.short === true ? 0x08 : 0x09;
    this.view.setBigInt64(RECORD_AT + RECORD.IMM, BigInt(operands.imm ?? 0), true);
    this.setU32('EXC_VECTOR', 0xffff_ffff);
    const next = helper(RECORD_AT, operands.ea ?? 0n);
    return next === 1 ? this.u32('EXC_VECTOR') : 'done';
  }
}
