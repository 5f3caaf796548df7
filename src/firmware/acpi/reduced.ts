/** FADT and namespace of a board of hardware-reduced ACPI (ACPI 6.5 §4.1): everything is a register in memory. */
import type { ReducedBoard } from '../board.js';
import { ByteWriter } from '../bytes.js';
import {
  and,
  byteField,
  device,
  eisaId,
  ifThen,
  integer,
  local,
  method,
  name,
  nowhere,
  notify,
  operationRegion,
  packageOf,
  path,
  REGION,
  scope,
  store,
  string,
  type Aml,
} from './aml.js';
import { activeHighInterrupt, io, irq, memory32Fixed, resourceTemplate } from './resources.js';
import { table } from './tables.js';

/** FADT flags, table 5.10. */
const FLAG = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  /** Buttons are devices of the namespace. */
  PWR_BUTTON: 1 << 4,
  SLP_BUTTON: 1 << 5,
  RESET_REG_SUP: 1 << 10,
  HW_REDUCED: 1 << 20,
} as const;

/** IA-PC boot architecture flags, table 5.11. There is no keyboard controller; the RTC is there. */
const BOOT_ARCH = { NO_VGA: 1 << 2, NO_ASPM: 1 << 4 } as const;

/** CMOS index of the century. */
const CENTURY = 0x32;

/** Generic Address Structure of a byte of memory, or of nothing (§5.2.3.2). */
const byteAddress = (out: ByteWriter, address: number): ByteWriter =>
  address === 0 ? out.u8(0, 0, 0, 0).u64(0) : out.u8(0, 8, 0, 1).u64(address);

/** Fixed ACPI Description Table, revision 6 (§5.2.9). The DSDT is filled in by whoever places it. */
export function reducedFadt({ sleep, reset }: ReducedBoard): Uint8Array {
  const out = new ByteWriter()
    .u32(0, 0)
    .zeros(108 - 44)
    .u8(CENTURY)
    .u16(BOOT_ARCH.NO_VGA | BOOT_ARCH.NO_ASPM)
    .u8(0)
    .u32(FLAG.WBINVD | FLAG.PROC_C1 | FLAG.PWR_BUTTON | FLAG.SLP_BUTTON | FLAG.RESET_REG_SUP | FLAG.HW_REDUCED);
  byteAddress(out, reset.address).u8(reset.value).u16(0).u8(5);
  out.u64(0, 0).zeros(244 - 148);
  byteAddress(out, sleep.control);
  byteAddress(out, sleep.status);
  return table('FACP', 6, out.text('VITRINE', 8).finish());
}

const resources = (...descriptors: readonly Aml[]): Aml => name('_CRS', resourceTemplate(...descriptors));

/** Two hexadecimal digits of a number, for names. */
const digits = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');

/** Generic Event Device (§5.6.9): its method is told the GSI, reads what has happened and acknowledges it. */
function eventDevice({ base, size, gsi, powerButton }: ReducedBoard['events']): Aml {
  return device(
    'GED',
    name('_HID', string('ACPI0013')),
    name('_UID', integer(0)),
    resources(activeHighInterrupt(gsi)),
    operationRegion('REGS', REGION.SYSTEM_MEMORY, base, size),
    byteField('REGS', [['EVTS', 8]]),
    method(
      '_EVT',
      1,
      true,
      store(path('EVTS'), local(0)),
      store(local(0), path('EVTS')),
      ifThen(and(local(0), integer(powerButton), nowhere), notify(path('\\_SB.PWRB'), 0x80)),
    ),
  );
}

/** Everything behind the DSDT's header. */
export function reducedDsdtBody(board: ReducedBoard): Uint8Array {
  const system: Aml[] = [
    ...board.cpus.map((_, uid) =>
      device(`C0${digits(uid)}`, name('_HID', string('ACPI0007')), name('_UID', integer(uid))),
    ),
    device('PWRB', name('_HID', eisaId('PNP0C0C')), name('_UID', integer(0))),
    eventDevice(board.events),
    device('RTC', name('_HID', eisaId('PNP0B00')), resources(io(0x70, 2), irq(8))),
    ...board.serial.map(({ port, irq: line }, i) =>
      device(
        `COM${i + 1}`,
        name('_HID', eisaId('PNP0501')),
        name('_UID', integer(i + 1)),
        resources(io(port, 8), irq(line)),
      ),
    ),
    // The id that Linux's virtio-mmio driver knows.
    ...board.virtio.map(({ base, size, gsi }, i) =>
      device(
        `VR${digits(i)}`,
        name('_HID', string('LNRO0005')),
        name('_UID', integer(i)),
        resources(memory32Fixed(base, size), activeHighInterrupt(gsi)),
      ),
    ),
  ];
  return Uint8Array.from(
    [
      name('\\_S5', packageOf(integer(board.sleep.s5), integer(0), integer(0), integer(0))),
      scope('\\_SB', ...system),
    ].flat(),
  );
}
