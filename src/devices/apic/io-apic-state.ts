/** What is saved of an I/O APIC, whoever has it. */
import { array, bool, range, struct, u32, u8, type Infer, type Plain } from '../../snapshot/schema.js';

export const IO_APIC_PINS = 24;

/** What the version register says, 82093AA §3.2.2: with the EOI register of an ICH9, and as the 82093AA itself has it, without. */
export const IO_APIC_VERSION = { EOI: 0x20, PLAIN: 0x11 } as const;

export const IO_APIC_STATE_VERSION = 2;

export const ioApicStateSchema = struct({
  /** The guest has been told so: it stays. */
  version: range(IO_APIC_VERSION.PLAIN, IO_APIC_VERSION.EOI),
  apicId: u8,
  select: u8,
  low: array(u32, { length: IO_APIC_PINS }),
  high: array(u32, { length: IO_APIC_PINS }),
  levels: array(bool, { length: IO_APIC_PINS }),
});
export type IoApicState = Infer<typeof ioApicStateSchema>;

/** Version 1 was always one with an EOI register. */
export const upgradeIoApic = (state: Plain): Plain =>
  typeof state === 'object' && state !== null
    ? { ...(state as { [key: string]: Plain }), version: IO_APIC_VERSION.EOI }
    : state;
