/** Runs cases in a guest: builds the memory and state that the guest's program needs, for any accelerator. */
import {
  bootVcpuState,
  descriptor,
  flatSegment,
  SEGMENT_ATTRIBUTES,
  type ResetIdentity,
} from '../../arch/x86/boot-state.js';
import type { VcpuState } from '../../arch/x86/state.js';
import type { Vcpu, Vm } from '../../iface/vcpu.js';
import { CASE_SIZE, PLACE } from './case-format.js';
import { GUEST, GUEST_CAPACITY, GUEST_PROGRAM, KERNEL_BASE, kernelAddress, SELECTOR } from './guest-program.js';
import { assembleProgram } from './program.js';
import { LDT, USER_CODE, USER_CODE_32, USER_DATA, type CaseSegment } from './segments.js';

/** Vectors with an error code. */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
/** Bytes from one exception's entry to the next. */
const ENTRY_SIZE = 16;
const ENTRIES = 32;

const PTE = { P: 1n, RW: 2n, US: 4n, PS: 0x80n } as const;

function setU64(memory: Uint8Array, at: number, value: bigint): void {
  for (let i = 0; i < 8; i++) memory[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

/** An address of the kernel as 64 unsigned bits. */
const kernel = (physical: number): bigint => BigInt.asUintN(64, BigInt(kernelAddress(physical)));

/** All of memory for the kernel, the pages of PLACE for the user. */
function buildPageTables(memory: Uint8Array): void {
  const [pml4, userPdpt, userDirectory, code, data, kernelPdpt, kernelDirectory] = [0, 1, 2, 3, 4, 5, 6].map(
    (n) => GUEST.PAGE_TABLES + n * 0x1000,
  );
  const table = PTE.P | PTE.RW | PTE.US;
  setU64(memory, pml4, BigInt(userPdpt) | table);
  setU64(memory, userPdpt, BigInt(userDirectory) | table);
  // Entries 511 and 510 are the last 2 GiB.
  setU64(memory, pml4 + 511 * 8, BigInt(kernelPdpt) | PTE.P | PTE.RW);
  setU64(memory, kernelPdpt + 510 * 8, BigInt(kernelDirectory) | PTE.P | PTE.RW);
  for (let at = 0; at < GUEST.MEMORY_SIZE; at += 0x20_0000)
    setU64(memory, kernelDirectory + (at >> 21) * 8, BigInt(at) | PTE.P | PTE.RW | PTE.PS);
  const mapUser = (pageTable: number, linear: number, physical: number, size: number): void => {
    setU64(memory, userDirectory + (linear >> 21) * 8, BigInt(pageTable) | table);
    for (let at = 0; at < size; at += 0x1000)
      setU64(memory, pageTable + (((linear + at) >> 12) & 511) * 8, BigInt(physical + at) | table);
  };
  mapUser(code, PLACE.CODE_PAGE, GUEST.CODE_PAGE, 0x1000);
  mapUser(data, PLACE.DATA, GUEST.DATA, PLACE.DATA_SIZE);
}

const KERNEL_CODE = flatSegment(SELECTOR.KERNEL_CODE, SEGMENT_ATTRIBUTES.CODE64);
const KERNEL_DATA = flatSegment(SELECTOR.KERNEL_DATA, SEGMENT_ATTRIBUTES.DATA32);
const USER = 0x60;
const LONG = 0x2000;
const BIG = 0x4000;
const GRANULAR = 0x8000;
/** A null selector was loaded. */
const UNUSABLE = 0x1_0000;
const LDTR = {
  selector: SELECTOR.TSS + 16,
  base: kernel(GUEST.LDT),
  limit: 8 * LDT.length - 1,
  attributes: SEGMENT_ATTRIBUTES.LDT,
};
const TSS = { selector: SELECTOR.TSS, base: kernel(GUEST.TSS), limit: 0x67, attributes: SEGMENT_ATTRIBUTES.TSS32_BUSY };

/** As Linux makes them: DPL 3, accessed, available for 0. */
function userDescriptor(segment: CaseSegment): bigint {
  const { base, limit, isCode, big, expandDown, open, present } = segment;
  const type = 1 | (open ? 2 : 0) | (expandDown ? 4 : 0) | (isCode ? 8 : 0);
  const size = segment === USER_CODE ? LONG : big ? BIG : 0;
  const attributes = type | 0x10 | USER | (present ? 0x80 : 0) | size | (limit > 0xfffff ? GRANULAR : 0);
  return descriptor({ base: BigInt(base), limit, attributes });
}

function buildDescriptors(memory: Uint8Array, entries: number): void {
  const gdt = (selector: number, value: bigint): void => setU64(memory, GUEST.GDT + (selector & ~7), value);
  gdt(SELECTOR.KERNEL_CODE, descriptor(KERNEL_CODE));
  gdt(SELECTOR.KERNEL_DATA, descriptor(KERNEL_DATA));
  for (const segment of [USER_CODE_32, USER_DATA, USER_CODE]) gdt(segment.selector, userDescriptor(segment));
  LDT.forEach((segment, n) => setU64(memory, GUEST.LDT + 8 * n, userDescriptor(segment)));
  gdt(SELECTOR.TSS, descriptor(TSS));
  setU64(memory, GUEST.TSS + 4, kernel(GUEST.STACK_TOP));
  // No I/O permission bitmap: it would begin beyond the limit.
  memory[GUEST.TSS + 0x66] = 0x68;
  for (let vector = 0; vector < ENTRIES; vector++) {
    const target = kernel(entries + vector * ENTRY_SIZE);
    // Interrupt gates; those of INT3 and INTO may be used from CPL 3.
    const type = vector === 3 || vector === 4 ? 0xeen : 0x8en;
    const gate =
      (target & 0xffffn) | (BigInt(SELECTOR.KERNEL_CODE) << 16n) | (type << 40n) | (((target >> 16n) & 0xffffn) << 48n);
    setU64(memory, GUEST.IDT + vector * 16, gate);
    setU64(memory, GUEST.IDT + vector * 16 + 8, target >> 32n);
  }
}

/** PUSH 0 (unless the processor pushes an error code), PUSH vector, JMP common. */
function buildEntries(memory: Uint8Array, entries: number, common: number): void {
  for (let vector = 0; vector < ENTRIES; vector++) {
    const at = entries + vector * ENTRY_SIZE;
    const code = [...(WITH_ERROR.has(vector) ? [] : [0x6a, 0]), 0x6a, vector, 0xe9];
    memory.set(code, at);
    new DataView(memory.buffer, memory.byteOffset).setInt32(at + code.length, common - (at + code.length + 4), true);
  }
}

const CR0 = 0x8005_0033n; // PG AM WP NE ET MP PE
const CR4 = 0x5_0620n; // PAE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE
const EFER = 0xd01n; // SCE LME LMA NXE

/** The accelerator's machine must have GUEST.MEMORY_SIZE bytes of RAM at address 0. */
export class GuestRunner {
  private readonly startState: VcpuState;

  constructor(
    private readonly vm: Vm,
    private readonly vcpu: Vcpu,
    identity: ResetIdentity,
  ) {
    const memory = vm.backing;
    const { bytes, labels } = assembleProgram(GUEST_PROGRAM, kernelAddress(GUEST.KERNEL));
    const entries = (GUEST.KERNEL + bytes.length + 63) & ~63;
    const label = (name: string): number => {
      const at = labels.get(name);
      if (at === undefined) throw new Error(`the guest's program has no ${name}`);
      return at - KERNEL_BASE;
    };
    memory.set(bytes, GUEST.KERNEL);
    memory.fill(0xcc, GUEST.CODE_PAGE, GUEST.CODE_PAGE + 0x1000);
    buildPageTables(memory);
    buildDescriptors(memory, entries);
    buildEntries(memory, entries, label('common'));
    const empty = { selector: 0, base: 0n, limit: 0, attributes: UNUSABLE };
    this.startState = {
      ...bootVcpuState(identity, {
        rip: kernel(label('start')),
        rflags: 2n,
        cr0: CR0,
        cr3: BigInt(GUEST.PAGE_TABLES),
        cr4: CR4,
        efer: EFER,
        gdtr: { base: kernel(GUEST.GDT), limit: 0x4f },
        idtr: { base: kernel(GUEST.IDT), limit: ENTRIES * 16 - 1 },
        segments: { cs: KERNEL_CODE, ss: KERNEL_DATA, ds: empty, es: empty, fs: empty, gs: empty, ldtr: LDTR, tr: TSS },
      }),
      xcr0: 3n,
    };
  }

  /** Runs the cases in `input` (a multiple of CASE_SIZE) and returns them with their results. */
  run(input: Uint8Array): Uint8Array {
    const results = new Uint8Array(input.length);
    const step = GUEST_CAPACITY * CASE_SIZE;
    for (let at = 0; at < input.length; at += step) results.set(this.runPart(input.subarray(at, at + step)), at);
    return results;
  }

  private runPart(input: Uint8Array): Uint8Array {
    const memory = this.vm.backing;
    memory.set(input, GUEST.CASES);
    setU64(memory, GUEST.END, kernel(GUEST.CASES + input.length));
    this.vcpu.restoreState(this.startState);
    const budget = 10_000 + (input.length / CASE_SIZE) * 2000;
    for (let left = budget; left > 0; left -= 1_000_000) {
      const exit = this.vcpu.run(Math.min(left, 1_000_000));
      if (exit.kind === 'halt') return memory.slice(GUEST.CASES, GUEST.CASES + input.length);
      if (exit.kind !== 'budget') throw new Error(`the guest ended with ${exit.kind} in case ${this.current()}`);
    }
    throw new Error(`the guest does not come out of case ${this.current()}`);
  }

  /** Number of the case that the guest is at. */
  current(): number {
    const view = new DataView(this.vm.backing.buffer, this.vm.backing.byteOffset);
    return (view.getInt32(GUEST.CURRENT, true) - kernelAddress(GUEST.CASES)) / CASE_SIZE;
  }
}
