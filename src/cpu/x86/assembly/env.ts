/**
 * What the helpers import: the memory (implicitly), the base of this virtual CPU's state, and the host's services.
 * No import takes or returns a 64-bit integer: crossing into JavaScript with one costs a BigInt.
 */
import { L_BEHIND_CPU_0, L_CPU_STRIDE, S_ATTN } from './generated/layout';

/** What the addresses of this CPU's own tables have more than those of CPU 0 (memory/layout.ts). */
@external("env", "cpu_origin")
export declare const CPU: usize;
/** Address of this virtual CPU's state block. */
@external("env", "state_base")
export declare const STATE: usize;

/** The same as CPU, of the CPU with an index: `cpuOrigin` of memory/layout.ts. */
@inline
export function originOf(index: usize): usize {
  return index == 0 ? 0 : index * L_CPU_STRIDE + L_BEHIND_CPU_0;
}

/** What was stored before is seen by all CPUs before anything is loaded after it. An atomic access does that; `atomic.fence` asc cannot validate. */
@inline
export function fence(): void {
  atomic.or<u32>(STATE + S_ATTN, 0);
}

/** Memory-mapped I/O at guest-physical `hi:lo`; `size` is 1, 2 or 4. */
@external("env", "mmio_read")
export declare function mmio_read(lo: u32, hi: u32, size: i32): u32;
@external("env", "mmio_write")
export declare function mmio_write(lo: u32, hi: u32, size: i32, value: u32): void;

/** Port I/O; `size` is 1, 2 or 4. */
@external("env", "pio_read")
export declare function pio_read(port: i32, size: i32): u32;
@external("env", "pio_write")
export declare function pio_write(port: i32, size: i32, value: u32): void;

/** MSRs that the helpers do not hold themselves: 1 with the value in the first u64 of SCRATCH, or 0 for #GP. */
@external("env", "host_rdmsr")
export declare function host_rdmsr(index: u32): i32;
/** 1 done, 0 for #GP, 2 done and events must be looked at. */
@external("env", "host_wrmsr")
export declare function host_wrmsr(index: u32, lo: u32, hi: u32): i32;

/** CPUID: writes RAX, RBX, RCX and RDX in the state. */
@external("env", "host_cpuid")
export declare function host_cpuid(leaf: u32, subleaf: u32): void;

/** Nanoseconds of the machine's clock, exact in a double. */
@external("env", "host_now")
export declare function host_now(): f64;

/** Fills `length` bytes at `at` with entropy. */
@external("env", "host_random")
export declare function host_random(at: usize, length: i32): void;

/** Task priority as CR8 shows it, 0 … 15. */
@external("env", "host_get_cr8")
export declare function host_get_cr8(): i32;
@external("env", "host_set_cr8")
export declare function host_set_cr8(value: i32): void;

/** Takes the highest pending interrupt into service: its vector, or -1 when there is none (any more). */
@external("env", "host_ack_interrupt")
export declare function host_ack_interrupt(): i32;

/**
 * An event is about to be delivered, and `hi:lo` is what it returns to. For traces; `kind` is one of EVENT_… of deliver.ts, `code` -1
 * without an error code.
 */
@external("env", "host_event")
export declare function host_event(vector: i32, kind: i32, code: i32, lo: u32, hi: u32): void;

/** From `lock_bus` to `unlock_bus` no other CPU executes anything. */
@external("env", "lock_bus")
export declare function lock_bus(): void;
@external("env", "unlock_bus")
export declare function unlock_bus(): void;

/** Lets other CPUs run for a moment, when there are more than the host has processors. */
@external("env", "yield_processor")
export declare function yield_processor(): void;

/** The FERR# pin, with which x87 errors are reported by IRQ 13 when CR0.NE is 0. */
@external("env", "ferr")
export declare function ferr(level: i32): void;
