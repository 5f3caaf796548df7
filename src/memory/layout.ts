/**
 * The Wasm memory of a machine: one `WebAssembly.Memory`, shared where the platform allows, that holds the state of
 * the CPUs, the tables of interpreter and translator, and guest memory last. Addresses are bytes.
 */
import { KIB, MIB } from '../base/units.js';

/** At most this many virtual CPUs. */
export const MAX_VCPUS = 16;

export const LAYOUT = {
  /** Static data of the AssemblyScript helpers. The first KiB stays empty, so that address 0 means "none". */
  HELPER_DATA: 1 * KIB,
  HELPER_DATA_END: 256 * KIB,
  /** One STATE_STRIDE block for each virtual CPU. */
  STATES: 256 * KIB,
  STATE_STRIDE: 16 * KIB,
  /** Tables that drive the decoder, made from the instruction table. */
  DECODER_TABLES: 512 * KIB,
  DECODER_TABLES_END: 1 * MIB - 64 * KIB,
  /** Memory map for the CPUs: u32 count, u32 0, then SLOT_SIZE bytes each. */
  SLOTS: 1 * MIB - 64 * KIB,
  /** Software TLBs: for each vCPU a read, a write and a fetch half of TLB_ENTRIES entries, 16 bytes each. */
  TLB: 1 * MIB,
  TLB_STRIDE: 128 * KIB,
  /** Jump caches: JUMP_ENTRIES entries of 16 bytes for each vCPU. */
  JUMP_CACHE: 3 * MIB,
  JUMP_STRIDE: 128 * KIB,
  /** Code cache: first the directory, a u32 for each page of this memory (see assembly/code-cache.ts) … */
  CODE_CACHE: 5 * MIB,
  /** … then decoded records from the bottom up and their maps from the top down. */
  CODE_POOL: 9 * MIB,
  CODE_POOL_END: 41 * MIB,
} as const;

/** Bytes of the code cache from LAYOUT.CODE_CACHE on; what a machine backs its guest's memory with may come behind it. */
export const CODE_CACHE_SIZE = LAYOUT.CODE_POOL_END - LAYOUT.CODE_CACHE;

/** Entries in each TLB half; 16 bytes each: i64 tag, i64 addend. */
export const TLB_ENTRIES = 2048;
/** Offsets of the halves within a vCPU's TLB block. */
export const TLB_READ = 0;
export const TLB_WRITE = TLB_ENTRIES * 16;
export const TLB_FETCH = TLB_ENTRIES * 32;

/** Entries in a jump cache; 16 bytes each: i64 rip, u32 key, u32 record. */
export const JUMP_ENTRIES = 4096;

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
