/**
 * Where a virtual CPU's state lies in the Wasm memory: the one description from which TypeScript, the emitted
 * interpreter and the AssemblyScript helpers (through a generated file of constants) take their offsets.
 *
 * Offsets are bytes from the vCPU's state base. The first 256 bytes can be named by one byte of a decoded record.
 */

/** Fields in order: name, element size in bytes, count. Each is aligned to its element size (at most 16). */
const FIELDS = [
  // ---- first 256 bytes: what records name by a byte (general registers, address parts) ----
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15; AH, CH, DH, BH are the bytes at 1, 9, 17, 25. */
  ['GPR', 8, 16],
  /** Always 0: an absent base or index register, the base of a flat segment. */
  ['ZERO', 8, 1],
  /** RIP that the first byte of the current code page would have: rip = CODE_BASE + record.offset. */
  ['CODE_BASE', 8, 1],
  /** Linear address that an address micro-record has computed and checked (segmented modes). */
  ['EA', 8, 1],
  /** 0xffff, 0xffffffff, ~0: the address-size masks. */
  ['MASK16', 8, 1],
  ['MASK32', 8, 1],
  ['MASK64', 8, 1],
  /** Segment bases in the order ES CS SS DS FS GS. */
  ['SEG_BASE', 8, 6],
  ['SPARE_SLOTS', 8, 4],
  // ---- control flow and flags ----
  /** Instruction pointer; up to date only outside the inner loop. */
  ['RIP', 8, 1],
  /** Lazy flags, see docs/interpreter.md: ZF = (RES == 0), SF = RES < 0 xor AUX bit 0, PF from RES bits 7:0 xor AUX bits 15:8. */
  ['FLAG_RES', 8, 1],
  /** Lazy flags: bit 31 CF, bit 30 CF xor OF, bit 3 AF, bit 0 inverts SF, bits 15:8 xor'ed into PF's byte. Other bits are 0. */
  ['FLAG_AUX', 4, 1],
  /** RFLAGS without OF SF ZF AF PF CF (which read 0 here): bit 1 is set, TF IF DF IOPL NT RF VM AC VIF VIP ID live here. */
  ['EFLAGS', 4, 1],
  /** Not 0: leave the inner loop at the next jump. Written by other threads too, atomically. Bits: see ATTN. */
  ['ATTN', 4, 1],
  /** Decoding depends on it: bits 1:0 code size (0: 16, 1: 32, 2: 64 bit), bit 2 flat segments, bit 3 32-bit stack. */
  ['MODE_KEY', 4, 1],
  /** Low 12 bits of every TLB tag that is valid now: bit 0 is 0, bits 2:1 privilege class, bits 11:3 generation. */
  ['TLB_CTX', 8, 1],
  /** Low word of jump-cache keys: TLB_CTX | MODE_KEY << 12. */
  ['JUMP_KEY', 4, 1],
  ['CPL', 4, 1],
  /** Instructions retired since creation. */
  ['RETIRED', 8, 1],
  /** 1: the instruction just finished (STI, MOV SS, POP SS) holds off interrupts for one more; 2: debug traps too (MOV/POP SS). */
  ['SHADOW', 4, 1],
  /** Pending exception: vector, or -1. */
  ['EXC_VECTOR', 4, 1],
  /** Its error code, or -1 for none. */
  ['EXC_ERROR', 4, 1],
  /** 1 while the CPU is halted, 2 waiting for SIPI, 3 shut down. */
  ['ACTIVITY', 4, 1],
  /** For #PF: the linear address. */
  ['EXC_ADDR', 8, 1],
  // ---- segments: order ES CS SS DS FS GS LDTR TR ----
  ['SEG_SELECTOR', 4, 8],
  /** Descriptor attributes as in VMX (SDM vol. 3 §25.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16. */
  ['SEG_ATTR', 4, 8],
  /** In bytes, granularity applied. */
  ['SEG_LIMIT', 4, 8],
  ['LDTR_BASE', 8, 1],
  ['TR_BASE', 8, 1],
  ['GDTR_BASE', 8, 1],
  ['IDTR_BASE', 8, 1],
  ['GDTR_LIMIT', 4, 1],
  ['IDTR_LIMIT', 4, 1],
  // ---- control and debug registers, MSRs ----
  ['CR0', 8, 1],
  ['CR2', 8, 1],
  ['CR3', 8, 1],
  ['CR4', 8, 1],
  ['XCR0', 8, 1],
  ['DR', 8, 8],
  ['EFER', 8, 1],
  ['STAR', 8, 1],
  ['LSTAR', 8, 1],
  ['CSTAR', 8, 1],
  ['FMASK', 8, 1],
  ['KERNEL_GS_BASE', 8, 1],
  ['SYSENTER_CS', 8, 1],
  ['SYSENTER_ESP', 8, 1],
  ['SYSENTER_EIP', 8, 1],
  ['TSC_AUX', 8, 1],
  ['TSC_OFFSET', 8, 1],
  ['TSC_ADJUST', 8, 1],
  ['XSS', 8, 1],
  /** PAE page-directory pointers as loaded with CR3 (SDM vol. 3 §4.4.1). */
  ['PDPTE', 8, 4],
  // ---- x87, SSE ----
  /** Physical registers R0 … R7, not ST(i): 8 bytes significand, 2 bytes sign and exponent, 6 bytes 0. MM0 … MM7 are their significands. */
  ['FPR', 16, 8],
  /** 16 registers. */
  ['XMM', 16, 16],
  ['MXCSR', 4, 1],
  ['FCW', 4, 1],
  /** Status word, TOP included. */
  ['FSW', 4, 1],
  /** Bit i set: physical register i is not empty (the abridged tag of FXSAVE). */
  ['FTW', 4, 1],
  ['FOP', 4, 1],
  ['FCS', 4, 1],
  ['FDS', 4, 1],
  /** Not 0: x87/MMX (bit 0) or SSE (bit 1) instructions raise #NM or #UD: CR0.EM, CR0.TS, CR4.OSFXSR decide. */
  ['FP_TRAP', 4, 1],
  ['FIP', 8, 1],
  ['FDP', 8, 1],
  // ---- the interpreter's own ----
  /** A bounce buffer for accesses that cross pages or go to MMIO. */
  ['BOUNCE', 16, 4],
  ['A20_MASK', 8, 1],
  ['PHYS_MASK', 8, 1],
  /** Feature bits that gate instructions: filled from the CPU model, see cpu-models. */
  ['FEATURES', 8, 4],
  /** Monitor: armed address (physical) and whether armed. */
  ['MONITOR_ADDR', 8, 1],
  ['MONITOR_ARMED', 4, 1],
  /** Debugging: bit 0 a trap is due after this instruction; see debug.ts. */
  ['DEBUG_FLAGS', 4, 1],
  ['DR6_PENDING', 8, 1],
  ['CPU_INDEX', 4, 1],
  // ---- between the loop and translated code ----
  /** TLB entries of user pages that the supervisor uses now, and those that it gave back last; see assembly/tlb.ts. */
  ['BORROWED', 4, 1],
  ['BORROWED_BEFORE', 4, 1],
  /** How a region was left: REGION_EXIT. */
  ['REGION_EXIT', 4, 1],
  /** The record to go on with. */
  ['REGION_RECORD', 4, 1],
  /** Arithmetic flags between regions: FLAG_KIND says what A and B are. */
  ['LAZY_KIND', 4, 1],
  ['LAZY_A', 8, 1],
  ['LAZY_B', 8, 1],
  /** Counts of what translated code did: STATISTIC. */
  ['STATISTICS', 8, 3],
  /** How often the regions were left for something else, by REGION_EXIT; at 0, because of ATTN. */
  ['EXITS', 8, 12],
  /** A region that is to be looked at, as its index + 1: jumps leave it often, or what it was made of is no longer there. */
  ['REGION_REQUEST', 4, 1],
  /** PAUSEs so far. */
  ['PAUSES', 4, 1],
  /** A record that has become hot, for the translator. */
  ['HOT_RECORD', 4, 1],
  /** What the debugger wants of the driver: bits of GDB. */
  ['GDB_FLAGS', 4, 1],
  ['BREAK_COUNT', 4, 1],
  /** Linear addresses of the debugger's breakpoints. */
  ['BREAK_ADDR', 8, 32],
  // ---- what the CPU model decides for the system layer ----
  /** Ticks of the time-stamp counter per second, as a 64-bit float. */
  ['TSC_FREQUENCY', 8, 1],
  /** Bits that may be set in CR4 and EFER; setting others raises #GP. */
  ['CR4_ALLOWED', 8, 1],
  ['EFER_ALLOWED', 8, 1],
  /** CPUID.1:EAX, in EDX after reset. */
  ['CPU_SIGNATURE', 4, 1],
  /** Bit 0: 1 GiB pages; bit 1: 486 (no CR4-era system features such as PSE-36); bit 2: IA32_TSC_ADJUST. */
  ['CPU_CAPS', 4, 1],
  // ---- private to the system layer ----
  /** Linear addresses that the debugger watches, and what: bytes in bits 7:0, bit 8 reads too; 0 is unused. */
  ['WATCH_ADDR', 8, 8],
  ['WATCH_KIND', 4, 8],
  /** The first of them that an access met: index + 1, or 0. Bit 8: it was a write. */
  ['WATCH_HIT', 4, 1],
  /** Bits of ATTN that wait until the CPU can take them: INTR for EFLAGS.IF, NMI for an IRET. */
  ['HELD', 4, 1],
  /** 1 from the delivery of an NMI until IRET. */
  ['NMI_MASKED', 4, 1],
  /** Page that the last SIPI named; the CPU starts there when ATTN.SIPI is served. */
  ['SIPI_PAGE', 4, 1],
  /** What the shadow covers: the instruction at SHADOW_RIP. Bit 0 of SHADOW_SEEN: RETIRED was SHADOW_RETIRED when events were looked at there. */
  ['SHADOW_SEEN', 4, 1],
  ['SHADOW_RIP', 8, 1],
  ['SHADOW_RETIRED', 8, 1],
  /** Decoder: records of the instruction that straddles two pages (four), and its bytes. */
  ['STRADDLE', 16, 10],
  /** Room for private fields of the AssemblyScript helpers. */
  ['SCRATCH', 16, 64],
  // Buffers that one part of the helpers each has for itself.
  /** far.ts: parameters of a call gate. */
  ['GATE_PARAMETERS', 4, 32],
  /** task.ts: what is read of a TSS. */
  ['TASK_IMAGE', 4, 17],
  ['TABLE_IMAGE', 8, 2],
  ['PDPTE_IMAGE', 8, 4],
  ['FRAME_BUFFER', 8, 1],
  ['SYSTEM_BUFFER', 8, 2],
  /** breakpoints.ts: a bit for each offset in a page. */
  ['BREAK_OFFSETS', 8, 64],
] as const;

type FieldName = (typeof FIELDS)[number][0];

function layOut(): { offsets: Record<FieldName, number>; size: number } {
  const offsets = {} as Record<FieldName, number>;
  let at = 0;
  for (const [name, size, count] of FIELDS) {
    at = Math.ceil(at / size) * size;
    offsets[name] = at;
    at += size * count;
  }
  return { offsets, size: at };
}

const laidOut = layOut();

/** Byte offset of each field from the state base. */
export const STATE: Readonly<Record<FieldName, number>> = laidOut.offsets;

/** Bytes that the fields take: less than LAYOUT.STATES_END - LAYOUT.STATES. */
export const STATE_SIZE = laidOut.size;

/**
 * What translated code has left of the arithmetic flags: FLAG_RES and FLAG_AUX (as i64s), or two operands (zero-extended) or a
 * result (sign-extended) and CF, by size: + 0 8 bits, + 1 16, + 2 32, + 3 64.
 */
export const FLAG_KIND = { SETTLED: 0, ADD: 4, SUB: 8, INC: 12, DEC: 16 } as const;

/** Bits of ATTN. */
export const ATTN = {
  /** The host wants the loop to return (`kick`). */
  KICK: 1 << 0,
  /** The local APIC may have an interrupt for the CPU. */
  INTR: 1 << 1,
  NMI: 1 << 2,
  INIT: 1 << 3,
  SIPI: 1 << 4,
  /** Something inside the CPU wants the driver: a shadow ended, a debug trap, a mode change. */
  CPU: 1 << 5,
  /** Another CPU or the machine has something to tell: REMOTE_WRITES. */
  REMOTE: 1 << 6,
} as const;

/** Bits of GDB_FLAGS. */
export const GDB = {
  /** BREAK_ADDR holds BREAK_COUNT breakpoints. */
  BREAKPOINTS: 1 << 0,
  /** Stop after one instruction. */
  STEP: 1 << 1,
} as const;

/** Elements of BREAK_ADDR. */
export const MAX_BREAKPOINTS = 32;

/** Index of each segment register, as instructions encode it; LDTR and TR follow in the tables. */
export const SEGMENT = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

/** Decoded instruction record: byte offset of each field. 32 bytes; little-endian. */
export const RECORD = {
  /** u16: handler number. */
  HANDLER: 0,
  /** u8: instruction length in bytes; 0 for micro-records. */
  LENGTH: 2,
  /** u8: bits 1:0 operand size (0: 16, 1: 32, 2: 64), 3:2 address size (same), 4 REP/REPE (F3), 5 REPNE (F2), 6 LOCK, 7 REX present. */
  PREFIX: 3,
  /** u16: offset of the instruction's first byte in its page. */
  OFFSET: 4,
  /** u8: ModRM.reg operand. GPR: byte offset into the state (AH: 1 …); XMM: number × 16; MMX, segment, control, debug: number. */
  REG: 6,
  /** u8: ModRM.rm operand when a register, or the register in the opcode; coded like REG. */
  RM: 7,
  /** u8 each: state offsets of the base and the index (ZERO when absent; CODE_BASE for RIP-relative with disp adjusted). */
  BASE: 8,
  INDEX: 9,
  /** u8: shift of the index, 0 … 3. */
  SCALE: 10,
  /** u8: state offset of what is added after masking: SEG_BASE + 8 × n, or ZERO when that is known to be 0. */
  SEG_SLOT: 11,
  /** i32, sign-extended to 64 bits. */
  DISP: 12,
  /** i64: immediate, extended as the operand says; near direct jumps: page-relative target (offset + length + displacement). */
  IMM: 16,
  /** u32: linked record (byte address in the Wasm memory) of a direct jump's target in the same page, or 0. */
  LINK: 24,
  /** u8: segment number of the memory operand (0 … 5), overrides applied. */
  SEG: 28,
  /** u8: state offset of the address-size mask: MASK16, MASK32 or MASK64. */
  MASK_SLOT: 29,
  /** u8: second immediate (ENTER's level), or an AS-private byte. */
  IMM2: 30,
  /** u8: the raw ModRM byte, 0 when there is none. */
  MODRM: 31,
} as const;

export const RECORD_SIZE = 32;

/** What a handler function that is not inline in the loop returns. */
export const NEXT = {
  /** Done: go on with the next record. */
  CONTINUE: 0,
  /** An exception is pending in EXC_*; nothing architectural was changed. */
  FAULT: 1,
  /** Done, and RIP was set: look the next record up there. */
  JUMP: 2,
  /** Done: RIP is that of the next instruction (not set by the helper); look at events and modes before going on. */
  ATTENTION: 3,
  /** Done, RIP was set; look at events and modes before going on (IRET, HLT, far transfers, exceptions). */
  JUMP_ATTENTION: 4,
} as const;

/** Elements of STATISTICS. */
export const STATISTIC = {
  /** Instructions that ran in translated code. */
  TRANSLATED: 0,
  /** How often a region was entered … */
  REGIONS: 1,
  /** … that of these, from the interpreter. */
  CHAINS: 2,
} as const;

/** How a region is left. Up to 4 they are what NEXT says, with RIP set. */
export const REGION_EXIT = {
  /** The interpreter executes REGION_RECORD, whatever it was translated to. */
  INTERPRET: 8,
  /** A taken jump to REGION_RECORD. */
  GOTO: 9,
  /** Nothing was done: the interpreter executes the record by which the region was entered. */
  REFUSED: 10,
  /** Execution goes on with REGION_RECORD, which may begin another region. */
  CONTINUE: 11,
} as const;

/** What `service_events` tells the driver at an instruction boundary. */
export const EVENTS = {
  /** Go on with the instruction at RIP. */
  CONTINUE: 0,
  /** Go on, but for one instruction only: a shadow, TF or a breakpoint wants a look after it. */
  ONE: 1,
  /** HLT: wait for an event (ACTIVITY 1). Also while waiting for SIPI. */
  HALT: 2,
  /** ACTIVITY 3. */
  SHUTDOWN: 3,
  /** ATTN.KICK was set; it is cleared. */
  KICKED: 4,
  /** The debugger's: WATCH_HIT names the watchpoint met. From `run` also: a breakpoint at RIP, or a completed step. */
  DEBUG: 5,
  /** From `run` only: the instruction budget is used up. */
  BUDGET: 6,
  /** From `run` only: HOT_RECORD has run often, or there is a REGION_REQUEST. */
  HOT: 7,
} as const;
