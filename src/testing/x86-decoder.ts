import { readFileSync } from 'node:fs';
import { INSTRUCTIONS } from '../arch/x86/instructions/index.js';
import type { Instruction } from '../arch/x86/instructions/row.js';
import { packDecoderTables } from '../cpu/x86/decoder-tables.js';
import { FIRST_HANDLER, MICRO } from '../cpu/x86/micro.js';
import { RECORD, RECORD_SIZE, SEGMENT, STATE } from '../cpu/x86/state-layout.js';
import { variants, type Variant } from '../cpu/x86/variants.js';
import { guestBase, LAYOUT, SLOT, SYNC } from '../memory/layout.js';

/** A decoded record as plain numbers. */
export interface DecodedRecord {
  readonly address: number;
  /** Undefined for micro-records. */
  readonly row: Instruction | undefined;
  readonly variant: Variant | undefined;
  /** Name of a micro-record, or undefined. */
  readonly micro: keyof typeof MICRO | undefined;
  readonly fields: Readonly<Record<Exclude<keyof typeof RECORD, 'IMM'>, number>>;
  readonly immediate: bigint;
}

interface DecoderExports {
  lookup(rip: bigint): number;
  patch_link(record: number): number;
  decode_straddle(): number;
  codeWritten(host: number, size: number): void;
  invalidate_range(host: number, length: number): void;
  flush_code_cache(): void;
  isCodePage(host: number): number;
}

const PAGE = 65_536;
const RAM_SIZE = 1024 * 1024;

/** Handlers numbered one by one, so that a record says which variant it is. */
const handlers: { row: Instruction; variant: Variant }[] = [];
const numbers = new Map<Instruction, number>();
for (const row of INSTRUCTIONS) {
  numbers.set(row, handlers.length);
  for (const variant of variants(row)) handlers.push({ row, variant });
}
const microNames = new Map<number, keyof typeof MICRO>(
  Object.entries(MICRO).map(([name, number]) => [number, name as keyof typeof MICRO] as const),
);

/** The decoder of helpers.wasm on a memory of its own, with 1 MiB of RAM at guest-physical 0 and no paging. */
export class TestDecoder {
  readonly ram = guestBase(1);
  readonly exports: DecoderExports;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;

  constructor() {
    const pages = (this.ram + RAM_SIZE) / PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: 65_536, shared: true });
    this.view = new DataView(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
    const module = new WebAssembly.Module(readFileSync(new URL('../../dist/cpu/x86/helpers.wasm', import.meta.url)));
    const env: Record<string, WebAssembly.ImportValue> = {};
    for (const { name, kind } of WebAssembly.Module.imports(module)) {
      if (kind === 'function') env[name] = () => 0;
      else if (kind === 'memory') env[name] = memory;
      else if (kind === 'global') env[name] = name === 'state_base' ? LAYOUT.STATES : 0;
    }
    this.exports = new WebAssembly.Instance(module, { env }).exports as unknown as DecoderExports;
    let next = 0;
    this.bytes.set(
      packDecoderTables(() => FIRST_HANDLER + next++),
      LAYOUT.DECODER_TABLES,
    );
    this.view.setUint32(LAYOUT.SYNC + SYNC.CPUS, 1, true);
    this.view.setUint32(LAYOUT.SLOTS, 1, true);
    const slot = LAYOUT.SLOTS + 8;
    this.view.setBigUint64(slot + SLOT.START, 0n, true);
    this.view.setBigUint64(slot + SLOT.LENGTH, BigInt(RAM_SIZE), true);
    this.view.setUint32(slot + SLOT.HOST, this.ram, true);
    this.set64('PHYS_MASK', (1n << 39n) - 1n);
    this.set64('A20_MASK', ~0n);
    this.set32('EFLAGS', 2);
    for (let word = 0; word < 4; word++) this.set64('FEATURES', ~0n, word * 8);
    this.setMode(64);
  }

  private set64(field: keyof typeof STATE, value: bigint, extra = 0): void {
    this.view.setBigUint64(LAYOUT.STATES + STATE[field] + extra, BigInt.asUintN(64, value), true);
  }

  private set32(field: keyof typeof STATE, value: number, extra = 0): void {
    this.view.setUint32(LAYOUT.STATES + STATE[field] + extra, value, true);
  }

  /** Sets the mode key; outside 64-bit mode also the code segment. */
  setMode(bits: 16 | 32 | 64, segments: { flat?: boolean; base?: number; limit?: number } = {}): void {
    const { flat = bits === 64, base = 0, limit = 0xffff_ffff } = segments;
    const key = (bits === 64 ? 2 : bits === 32 ? 1 : 0) | (flat ? 4 : 0) | (bits === 16 ? 0 : 8);
    this.set32('MODE_KEY', key);
    this.set64('TLB_CTX', 8n | 2n);
    this.set32('JUMP_KEY', 8 | 2 | (key << 12));
    this.set64('SEG_BASE', BigInt(base), SEGMENT.CS * 8);
    this.set32('SEG_LIMIT', limit, SEGMENT.CS * 4);
    this.set32('EXC_VECTOR', 0xffff_ffff);
  }

  /** Removes a CPU feature. */
  removeFeature(index: number): void {
    const at = LAYOUT.STATES + STATE.FEATURES + (index >> 3);
    this.bytes[at] = (this.bytes[at] ?? 0) & ~(1 << (index & 7));
  }

  write(address: number, code: readonly number[] | Uint8Array): void {
    this.bytes.set(code, this.ram + address);
  }

  state32(field: keyof typeof STATE): number {
    return this.view.getInt32(LAYOUT.STATES + STATE[field], true);
  }

  state64(field: keyof typeof STATE): bigint {
    return this.view.getBigUint64(LAYOUT.STATES + STATE[field], true);
  }

  setRip(rip: bigint): void {
    this.set64('RIP', rip);
  }

  record(address: number): DecodedRecord {
    const { view } = this;
    const fields = {} as Record<keyof typeof RECORD, number>;
    for (const [name, offset] of Object.entries(RECORD))
      fields[name as keyof typeof RECORD] = view.getUint8(address + offset);
    fields.HANDLER = view.getUint16(address + RECORD.HANDLER, true);
    fields.OFFSET = view.getUint16(address + RECORD.OFFSET, true);
    fields.DISP = view.getInt32(address + RECORD.DISP, true);
    fields.LINK = view.getUint32(address + RECORD.LINK, true);
    const handler = handlers[fields.HANDLER - FIRST_HANDLER];
    return {
      address,
      row: handler?.row,
      variant: handler?.variant,
      micro: microNames.get(fields.HANDLER),
      fields,
      immediate: view.getBigInt64(address + RECORD.IMM, true),
    };
  }

  /** Looks up a RIP: the record, or undefined with an exception pending. */
  lookup(rip: number | bigint): DecodedRecord | undefined {
    const address = this.exports.lookup(BigInt.asIntN(64, BigInt(rip)));
    return address === 0 ? undefined : this.record(address >>> 0);
  }

  next(record: DecodedRecord): DecodedRecord {
    return this.record(record.address + RECORD_SIZE);
  }

  /** Writes code at `address`, as a device would, and decodes its first instruction: one record, or EA_SEG and one. */
  decode(code: readonly number[], address = 0x1000): DecodedRecord[] {
    this.write(address, code);
    this.exports.invalidate_range(this.ram + address, code.length);
    const first = this.lookup(address);
    if (first === undefined) return [];
    return first.micro === 'EA_SEG' ? [first, this.next(first)] : [first];
  }
}
