/**
 * The Wasm memory of a machine: one `WebAssembly.Memory`, shared where the platform allows, that holds the state of
 * the CPUs, the tables of interpreter and translator, and guest memory; last is memory for data on their way. Addresses are bytes.
 */
import { KIB, MIB } from '../base/units.js';

/** At most this many virtual CPUs. */
export const MAX_VCPUS = 16;

/**
 * Addresses in the memory. Some are common to all CPUs of a machine; of the others each CPU has its own, and these are the addresses for CPU 0
 * (`cpuOrigin`). Guest memory comes behind the last CPU's.
 *
 * What translated code names most often comes first: an address below 16 KiB takes two bytes in an instruction of WebAssembly, one below
 * 2 MiB three.
 */
export const LAYOUT = {
  /** State of the CPU. The first KiB of all stays empty, so that address 0 means "none". */
  STATES: 1 * KIB,
  STATES_END: 16 * KIB,

  // ---- common ----
  /** Static data of the AssemblyScript helpers (tools/build.mjs has the address, too). */
  HELPER_DATA: 16 * KIB,
  HELPER_DATA_END: 256 * KIB,
  /** Words by which CPUs and the machine's thread agree: SYNC. */
  SYNC: 256 * KIB,
  /** Tables that drive the decoder, made from the instruction table. */
  DECODER_TABLES: 512 * KIB,
  DECODER_TABLES_END: 1 * MIB - 64 * KIB,
  /** Memory map for the CPUs: u32 count, u32 0, then SLOT_SIZE bytes each. */
  SLOTS: 1 * MIB - 64 * KIB,

  // ---- each CPU's own ----
  /** Software TLB: a read, a write and a fetch half of TLB_ENTRIES entries, 16 bytes each; then remembered page walks. */
  TLB: 1 * MIB,
  TLB_END: 1 * MIB + 256 * KIB,
  /** Jump cache: JUMP_ENTRIES entries of 16 bytes; then a table of straddling instructions. */
  JUMP_CACHE: 1 * MIB + 256 * KIB,
  JUMP_CACHE_END: 1 * MIB + 516 * KIB,
  /** Translator: a u8 for each of MAX_REGIONS regions, set whenever it is entered. */
  REGION_USED: 1 * MIB + 576 * KIB,
  /** A u16 for each of HOT_COUNTERS groups of records. */
  HOT_COUNTERS: 1 * MIB + 640 * KIB,
  /** A u32 for each handler number: how often translated code left its instruction to the interpreter. */
  FALLBACK_COUNTERS: 1 * MIB + 768 * KIB,
  /** Records of translated instructions that straddle two pages: STRADDLE_COPIES of RECORD_SIZE. */
  STRADDLE_COPIES: 1 * MIB + 832 * KIB,
  /** What other CPUs have written to pages that this one has decoded: REMOTE_WRITES. */
  REMOTE_WRITES: 1 * MIB + 896 * KIB,
  /** REGION_SLOTS entries into translated code: REGION_SLOT. */
  REGION_SLOTS: 2 * MIB,
  /** For each of the first REGION_LOGS regions a REGION_LOG. */
  REGION_LOGS: 3 * MIB,
  /** What translated code for any CPU knows of this one: u32s (cpu/x86/translate/region-links.ts). */
  LINKS: 4 * MIB,
  LINKS_END: 5 * MIB,
  /** Code cache: first the directory, a u32 for each page of this memory (see assembly/code-cache.ts) … */
  CODE_CACHE: 5 * MIB,
  /** … then decoded records from the bottom up and their maps from the top down. */
  CODE_POOL: 9 * MIB,
  CODE_POOL_END: 41 * MIB,

  // ---- common ----
  /** For each page of this memory a u32 with a bit for each CPU that has decoded code of it. */
  CODE_OWNERS: 41 * MIB,
  /** What the addresses of each CPU have more than those of the one before, and those of CPU 1 more than that. */
  CPU_STRIDE: 41 * MIB,
  BEHIND_CPU_0: 4 * MIB,
} as const;

/**
 * What is added to the CPU's own addresses of LAYOUT for the CPU with this index. (Where CPU 0 has what is common below 1 MiB, the others
 * have nothing.)
 */
export function cpuOrigin(index: number): number {
  return index === 0 ? 0 : index * LAYOUT.CPU_STRIDE + LAYOUT.BEHIND_CPU_0;
}

/** Where guest memory begins, for so many CPUs: at a page of every host, so that other accelerators can map it. */
export function guestBase(cpus: number): number {
  return cpuOrigin(cpus);
}

/** Bytes of a memory of WebAssembly at most. */
const MEMORY_LIMIT = 2 ** 32;

/** Bytes of memory behind the guest's for data on their way (`Vm.staging`). */
const STAGING = 32 * MIB;

/** Bytes of a memory in which the guest's ends there: with STAGING behind it, or as much of that as there is room for. */
export const withStaging = (end: number): number => Math.min(end + STAGING, MEMORY_LIMIT);

/** Guest memory that a machine with one CPU can have in one WebAssembly memory, bytes. */
export const GUEST_MEMORY_LIMIT = MEMORY_LIMIT - guestBase(1);

/** Words at LAYOUT.SYNC, u32 each. */
export const SYNC = {
  /** CPUs of the machine. */
  CPUS: 0,
  /** u32[64]: locks of LOCK CMPXCHG16B, by bits 9:4 of the address. */
  WIDE_LOCKS: 64,
} as const;

/** At LAYOUT.REMOTE_WRITES: what others leave for a CPU to do when it looks at ATTN.REMOTE. */
export const REMOTE = {
  /** u32: how many pages were left, and how many were taken; modulo 2**32. */
  HEAD: 0,
  TAIL: 4,
  /** u32: bits of REMOTE_FLAG. */
  FLAGS: 8,
  /** u64[REMOTE_PAGES]: address of a page whose decoded code is to go, and above 32 bits its number, from 1 on. */
  PAGES: 64,
} as const;
export const REMOTE_PAGES = 4096;
/** All decoded code is to go; the memory map has changed. */
export const REMOTE_FLAG = { FLUSH: 1, MAP: 2 } as const;

/** Bytes at the beginning of the pool that hold no record. */
export const POOL_HEADER = 64;
/** What they hold: u32s. */
export const POOL = {
  /** Where the next record goes. */
  NEXT: 0,
  /** The lowest map. */
  LIMIT: 4,
  /** List of all page entries. */
  PAGES: 8,
  /** How often everything was thrown away. */
  EPOCH: 12,
} as const;

/** An entry of the code cache: a page under one mode key and one window of its code segment. See assembly/code-cache.ts. */
export const PAGE = {
  /** u32: next entry of the same page. */
  NEXT: 0,
  /** u32: next in the list of all. */
  ALL: 4,
  /** u32: mode key. */
  KEY: 8,
  /** i32: first offset inside the code segment, and the last. */
  LOW: 12,
  HIGH: 16,
  /** u32: address of the page. */
  HOST: 20,
  /** u64: chunks that instructions lie in. */
  CODE: 24,
  /** u64: chunks that were translated: a write to one of them makes all of them go. */
  TRANSLATED: 32,
  /** u32: how often that has happened. */
  WRITES: 40,
  /** u32: how many `resync` records were made to lead elsewhere. */
  DETOURS: 44,
  /** u32[64]: maps from offset to record, one for each chunk. */
  CHUNKS: 48,
} as const;

/** Slots of a CPU's table of straddling instructions (u32s behind its jump cache), by (rip ^ rip >> 12) modulo this. */
export const STRADDLES = 1024;
/** A decoded instruction that straddles two pages. */
export const STRADDLE = {
  /** u64. */
  RIP: 0,
  /** u32: address of the first byte. */
  HOST: 8,
  /** u16: mode key. */
  KEY: 12,
  /** u16: bytes. */
  LENGTH: 14,
  /** u8[16]: the bytes that were decoded. */
  BYTES: 16,
  /** Its records, as many as the state's STRADDLE has. */
  RECORDS: 32,
} as const;

export const STRADDLE_COPIES = 2048;

/** Hot counters, by record address / 32 modulo this. */
export const HOT_COUNTERS = 65536;

export const REGION_SLOTS = 131072;

/** Regions at a time. */
export const MAX_REGIONS = 65536;
export const REGION_LOGS = 16384;
/** Where a region was left for by jumps: u32 how often, then the last RIPs as u64s, the element being the count modulo RIPS + 1 less 1. */
export const REGION_LOG = { COUNT: 0, RIPS: 8, SIZE: 64 } as const;

/** An entry into translated code: u16 handler of the record by itself, u16 entry number, u32 index in the table of regions. */
export const REGION_SLOT = { HANDLER: 0, ENTRY: 2, FUNCTION: 4, SIZE: 8 } as const;

/** Entries in each TLB half; 16 bytes each: i64 tag, i64 addend. */
export const TLB_ENTRIES = 2048;
/** Offsets of the halves within the TLB. */
export const TLB_READ = 0;
export const TLB_WRITE = TLB_ENTRIES * 16;
export const TLB_FETCH = TLB_ENTRIES * 32;

/** Entries in a jump cache; 16 bytes each: i64 rip, u32 key, u32 record. */
export const JUMP_ENTRIES = 16_384;

/** A memory slot as the CPUs see it. */
export const SLOT = {
  /** u64: first guest-physical address. */
  START: 0,
  /** u64: bytes. */
  LENGTH: 8,
  /** u32: address of the backing in the Wasm memory. */
  HOST: 16,
  /** u32: bit 0 read-only. */
  FLAGS: 20,
} as const;
export const SLOT_SIZE = 24;
export const MAX_SLOTS = 64;
