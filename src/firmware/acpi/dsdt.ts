/** The namespace of a PC with an ICH9: what the DSDT says of a board. */
import type { BoardDescription } from '../board.js';
import {
  and,
  arg,
  byteField,
  call,
  createDwordField,
  device,
  dwordField,
  eisaId,
  equal,
  ifThen,
  integer,
  local,
  method,
  name,
  not,
  notify,
  nowhere,
  operationRegion,
  or,
  otherwise,
  packageOf,
  path,
  REGION,
  returnValue,
  scope,
  store,
  string,
  uuid,
  type Aml,
} from './aml.js';
import {
  busWindow,
  dmaChannel,
  io,
  ioWindow,
  irq,
  levelInterrupts,
  memory32Fixed,
  memoryWindow,
  memoryWindow64,
  resourceTemplate,
} from './resources.js';

const LINKS = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'] as const;

/** ISA interrupts that PCI links may be routed to. */
const LINK_INTERRUPTS = [5, 10, 11];

/** PIRQ[n]_ROUT, ICH9 datasheet (316972) §13.1.17: bit 7 disables the route, bits 3:0 name the interrupt. */
const ROUTE_DISABLED = 0x80;

const pnpDevice = (at: string, hid: string, ...rest: readonly Aml[]): Aml =>
  device(at, name('_HID', eisaId(hid)), ...rest);

const resources = (...descriptors: readonly Aml[]): Aml => name('_CRS', resourceTemplate(...descriptors));

/** PCI interrupt link of PIRQ `letter` (§6.2.13): its register is a field of the LPC bridge. */
function linkDevice(letter: string, uid: number): Aml {
  const register = path(`\\_SB.PCI0.LPC.PRQ${letter}`);
  return pnpDevice(
    `LNK${letter}`,
    'PNP0C0F',
    name('_UID', integer(uid)),
    name('_PRS', resourceTemplate(levelInterrupts(...LINK_INTERRUPTS))),
    method(
      '_STA',
      0,
      false,
      ifThen(and(register, integer(ROUTE_DISABLED), nowhere), returnValue(integer(0x9))),
      returnValue(integer(0xb)),
    ),
    method('_DIS', 0, false, or(register, integer(ROUTE_DISABLED), register)),
    name('BUF0', resourceTemplate(levelInterrupts(0))),
    createDwordField(path('BUF0'), 5, 'INT0'),
    method(
      '_CRS',
      0,
      false,
      and(register, integer(0xf), path('INT0')),
      ifThen(and(register, integer(ROUTE_DISABLED), nowhere), store(integer(0), path('INT0'))),
      returnValue(path('BUF0')),
    ),
    method('_SRS', 1, true, createDwordField(arg(0), 5, 'INT1'), store(path('INT1'), register)),
  );
}

/** _PRT and its two tables (§6.2.13): links while the 8259s rule, global interrupts with the I/O APIC. */
function routing(board: BoardDescription): Aml[] {
  const entry = (slot: number, pin: number, source: Aml, index: number): Aml =>
    packageOf(integer(slot * 0x1_0000 + 0xffff), integer(pin), source, integer(index));
  const table = (source: (pirq: number) => readonly [Aml, number]): Aml[] =>
    board.pci.routes.flatMap((pins, slot) => pins.map((pirq, pin) => entry(slot, pin, ...source(pirq))));
  const byLink = table((pirq) => [path(`LNK${LINKS[pirq]}`), 0]);
  const byGsi = table((pirq) => [integer(0), board.pci.firstPirqGsi + pirq]);
  return [
    name('PRTP', packageOf(...byLink)),
    name('PRTA', packageOf(...byGsi)),
    method('_PRT', 0, false, ifThen(path('\\PICF'), returnValue(path('PRTA'))), returnValue(path('PRTP'))),
  ];
}

/** _OSC (§6.2.11, PCI Firmware 3.3 §4.5): the guest may take over native hot-plug, SHPC, PME, AER and the PCIe capability. */
function operatingSystemCapabilities(): Aml {
  const GRANTED = 0x1f;
  const WRONG_UUID = 1 << 2;
  const WRONG_REVISION = 1 << 3;
  const MASKED = 1 << 4;
  const mark = (bit: number): Aml => or(path('CDW1'), integer(bit), path('CDW1'));
  return method(
    '_OSC',
    4,
    true,
    createDwordField(arg(3), 0, 'CDW1'),
    ifThen(
      equal(arg(0), uuid('33db4d5b-1ff7-401c-9657-7441c03dd766')),
      createDwordField(arg(3), 8, 'CDW3'),
      and(path('CDW3'), integer(GRANTED), local(0)),
      ifThen(not(equal(arg(1), integer(1))), mark(WRONG_REVISION)),
      ifThen(not(equal(path('CDW3'), local(0))), mark(MASKED)),
      store(local(0), path('CDW3')),
    ),
    otherwise(mark(WRONG_UUID)),
    returnValue(arg(3)),
  );
}

/** The LPC bridge with what hangs on it. */
function lpcBridge(board: BoardDescription): Aml {
  const registers = (letters: readonly string[]): [string, number][] => letters.map((letter) => [`PRQ${letter}`, 8]);
  const terms: Aml[] = [
    name('_ADR', integer(board.pci.lpcSlot * 0x1_0000)),
    operationRegion('PIRQ', REGION.PCI_CONFIG, 0x60, 0xc),
    byteField('PIRQ', [...registers(LINKS.slice(0, 4)), ['', 32], ...registers(LINKS.slice(4))]),
    pnpDevice('PIC', 'PNP0000', resources(io(0x20, 2), io(0xa0, 2), irq(2))),
    pnpDevice('TIMR', 'PNP0100', resources(io(0x40, 4), irq(0))),
    pnpDevice('RTC', 'PNP0B00', resources(io(0x70, 2), irq(8))),
  ];
  if (board.keyboard) terms.push(pnpDevice('KBD', 'PNP0303', resources(io(0x60, 1), io(0x64, 1), irq(1))));
  if (board.mouse) terms.push(pnpDevice('MOU', 'PNP0F13', resources(irq(12))));
  if (board.floppy)
    terms.push(pnpDevice('FDC0', 'PNP0700', resources(io(0x3f2, 4), io(0x3f7, 1), irq(6), dmaChannel(2))));
  board.serial.forEach(({ port, irq: line }, i) =>
    terms.push(pnpDevice(`COM${i + 1}`, 'PNP0501', name('_UID', integer(i + 1)), resources(io(port, 8), irq(line)))),
  );
  return device('LPC', ...terms);
}

/** The host bridge's windows. The configuration ports 0xcf8 … 0xcff are its own. */
function hostBridgeResources(board: BoardDescription): Aml {
  const { mmio32, mmio64 } = board.pci;
  return resources(
    busWindow(0, board.ecam?.buses ?? 256),
    io(0xcf8, 8),
    ioWindow(0, 0xcf8),
    ioWindow(0xd00, 0x1_0000),
    ...(board.vga ? [memoryWindow(0xa_0000, 0xc_0000, true)] : []),
    ...mmio32.map(({ start, end }) => memoryWindow(start, end)),
    ...(mmio64 ? [memoryWindow64(mmio64.start, mmio64.end)] : []),
  );
}

/** Values of Notify, §5.6.6: something came, something shall go. */
const NOTIFY = { DEVICE_CHECK: 1, EJECT_REQUEST: 3 } as const;

/** The device of a slot: three hexadecimal digits make the name. */
const slotName = (slot: number): string => `S${(slot * 8).toString(16).toUpperCase().padStart(3, '0')}`;

/** Slots whose cards come and go, §6.3: each has a method to eject, and PCNT tells the drivers of what has happened. */
function hotplugSlots({ hotplug }: BoardDescription): Aml[] {
  if (!hotplug || hotplug.slots.length === 0) return [];
  const tell = (slot: number): Aml[] => {
    const bit = integer(2 ** slot);
    return [
      ifThen(and(local(0), bit, nowhere), notify(path(slotName(slot)), NOTIFY.DEVICE_CHECK)),
      ifThen(and(local(1), bit, nowhere), notify(path(slotName(slot)), NOTIFY.EJECT_REQUEST)),
    ];
  };
  return [
    operationRegion('PCST', REGION.SYSTEM_IO, hotplug.base, 12),
    dwordField('PCST', [
      ['PCIU', 32],
      ['PCID', 32],
      ['B0EJ', 32],
    ]),
    pnpDevice('PHPR', 'PNP0A06', name('_UID', string('PCI hot-plug')), resources(io(hotplug.base, hotplug.size))),
    ...hotplug.slots.map((slot) =>
      device(
        slotName(slot),
        name('_ADR', integer(slot * 0x1_0000)),
        name('_SUN', integer(slot)),
        method('_EJ0', 1, true, store(integer(2 ** slot), path('B0EJ'))),
      ),
    ),
    method(
      'PCNT',
      0,
      true,
      store(path('PCIU'), local(0)),
      store(path('PCID'), local(1)),
      ...hotplug.slots.flatMap(tell),
    ),
  ];
}

/** The event of §5.6.4.1 by which the guest learns of it. */
function hotplugEvent({ hotplug }: BoardDescription): Aml[] {
  if (!hotplug || hotplug.slots.length === 0) return [];
  const digits = hotplug.event.toString(16).toUpperCase().padStart(2, '0');
  return [scope('\\_GPE', method(`_E${digits}`, 0, false, call('\\_SB.PCI0.PCNT')))];
}

function hostBridge(board: BoardDescription): Aml {
  return device(
    'PCI0',
    name('_HID', eisaId('PNP0A08')),
    name('_CID', eisaId('PNP0A03')),
    name('_UID', integer(0)),
    name('_SEG', integer(0)),
    name('_BBN', integer(0)),
    hostBridgeResources(board),
    operatingSystemCapabilities(),
    ...routing(board),
    lpcBridge(board),
    ...hotplugSlots(board),
  );
}

/** Processor devices: three hexadecimal digits of the number make the name. */
const processor = (uid: number): Aml =>
  device(
    `C${uid.toString(16).toUpperCase().padStart(3, '0')}`,
    name('_HID', string('ACPI0007')),
    name('_UID', integer(uid)),
  );

/** Everything behind the DSDT's header. */
export function dsdtBody(board: BoardDescription): Uint8Array {
  const reserved: Aml[] = [io(board.pm.base, board.pm.size)];
  if (board.ecam) reserved.push(memory32Fixed(board.ecam.base, board.ecam.size));
  const system: Aml[] = [
    ...LINKS.map((letter, i) => linkDevice(letter, i)),
    hostBridge(board),
    pnpDevice('RES0', 'PNP0C02', name('_UID', integer(0)), resources(...reserved)),
    ...board.cpus.map((_, uid) => processor(uid)),
  ];
  if (board.hpet)
    system.push(
      pnpDevice('HPET', 'PNP0103', name('_UID', integer(0)), resources(memory32Fixed(board.hpet.base, 0x400, false))),
    );
  if (board.fwCfg !== undefined)
    // A Linux driver looks for this id; the status hides the device where nobody asks for it.
    system.push(
      device('FWCF', name('_HID', string('QEMU0002')), name('_STA', integer(0xb)), resources(io(board.fwCfg, 12))),
    );
  return Uint8Array.from(
    [
      name('\\PICF', integer(0)),
      method('\\_PIC', 1, false, store(arg(0), path('\\PICF'))),
      // Soft off is the one sleep state there is.
      name('\\_S5', packageOf(integer(board.pm.s5), integer(0), integer(0), integer(0))),
      scope('\\_SB', ...system),
      ...hotplugEvent(board),
    ].flat(),
  );
}
