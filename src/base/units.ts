/**
 * Branded units. A brand costs nothing at run time and keeps a guest-physical address from being added to a
 * count of nanoseconds by accident.
 *
 * All of these are JavaScript numbers that hold exact integers below 2**53; never apply `| 0` to one.
 */

/** Guest-physical address in bytes, 0 … 2**52 - 1. */
export type Gpa = number & { readonly _unit: 'Gpa' };

/** Nanoseconds since the machine was created, on its own clock (which stops while it is paused). Exact to 104 days. */
export type Nanoseconds = number & { readonly _unit: 'Nanoseconds' };

/** Global system interrupt number (ACPI 6.5 §5.2.12.3): 0 … 23 are the pins of the I/O APIC. */
export type Gsi = number & { readonly _unit: 'Gsi' };

/** Marks a number as a guest-physical address. The caller vouches for the range. */
export const gpa = (value: number): Gpa => value as Gpa;

/** Marks a number as nanoseconds. The caller vouches for the range. */
export const nanoseconds = (value: number): Nanoseconds => value as Nanoseconds;

/** Marks a number as a global system interrupt. The caller vouches for the range. */
export const gsi = (value: number): Gsi => value as Gsi;

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Size of the smallest x86 page, and the granule of guest memory bookkeeping. */
export const PAGE_SIZE = 4096;
