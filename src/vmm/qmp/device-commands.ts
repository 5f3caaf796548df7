/** Commands about cards and disks. */
import type { DiskInfo, MediumInfo, PciFunctionInfo } from '../inspect.js';
import { query, type QmpCommand } from './command.js';
import type { Json } from './json-text.js';
import { arrayOf, BOOL, INT, object, oneOf, STR } from './types.js';

const REGION = object({
  bar: INT,
  type: STR,
  address: INT,
  size: INT,
  'prefetch?': BOOL,
  'mem_type_64?': BOOL,
});
const FUNCTION = object({
  bus: INT,
  slot: INT,
  function: INT,
  class_info: object({ 'desc?': STR, class: INT }),
  id: object({ device: INT, vendor: INT, 'subsystem?': INT, 'subsystem-vendor?': INT }),
  'irq?': INT,
  irq_pin: INT,
  qdev_id: STR,
  regions: arrayOf(REGION),
});
const IMAGE = object({ filename: STR, format: STR, 'virtual-size': INT });
const INSERTED = object({
  file: STR,
  'node-name?': STR,
  ro: BOOL,
  drv: STR,
  'backing_file?': STR,
  backing_file_depth: INT,
  encrypted: BOOL,
  detect_zeroes: oneOf('off'),
  bps: INT,
  bps_rd: INT,
  bps_wr: INT,
  iops: INT,
  iops_rd: INT,
  iops_wr: INT,
  image: IMAGE,
  cache: object({ writeback: BOOL, direct: BOOL, 'no-flush': BOOL }),
  write_threshold: INT,
});
const DISK = object({
  device: STR,
  'qdev?': STR,
  type: STR,
  removable: BOOL,
  locked: BOOL,
  'tray_open?': BOOL,
  'inserted?': INSERTED,
});

/** Sub-classes as people know them: PCI Code and ID Assignment Specification 1.11, §1. */
const CLASSES: Readonly<Record<number, string>> = {
  0x0100: 'SCSI controller',
  0x0101: 'IDE controller',
  0x0106: 'SATA controller',
  0x0200: 'Ethernet controller',
  0x0300: 'VGA controller',
  0x0380: 'Display controller',
  0x0600: 'Host bridge',
  0x0601: 'ISA bridge',
  0x0780: 'Communication controller',
  0x0c05: 'SMBus',
};

const NOT_DECODED = -1;

function describeFunction(card: PciFunctionInfo): Json {
  const description = CLASSES[card.classCode] as string | undefined;
  return {
    bus: 0,
    slot: card.slot,
    function: card.function,
    class_info: { class: card.classCode, ...(description !== undefined && { desc: description }) },
    id: {
      vendor: card.vendor,
      device: card.device,
      'subsystem-vendor': card.subsystemVendor,
      subsystem: card.subsystem,
    },
    ...(card.interruptPin > 0 && { irq: card.interruptLine }),
    irq_pin: card.interruptPin,
    qdev_id: card.name,
    regions: card.regions.map(({ bar, kind, size, prefetchable, is64Bit, address }) => ({
      bar,
      type: kind,
      address: address ?? NOT_DECODED,
      size,
      ...(kind === 'memory' && { prefetch: prefetchable, mem_type_64: is64Bit }),
    })),
  };
}

function describeMedium({ path, format, readOnly, size, cache, backing }: MediumInfo, node?: string): Json {
  const unlimited = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
  return {
    file: path,
    ...(node !== undefined && { 'node-name': node }),
    ro: readOnly,
    drv: format,
    ...(backing.length > 0 && { backing_file: backing[0] }),
    backing_file_depth: backing.length,
    encrypted: false,
    detect_zeroes: 'off',
    ...unlimited,
    image: { filename: path, format, 'virtual-size': size },
    cache: { writeback: true, direct: cache === 'none', 'no-flush': false },
    write_threshold: 0,
  };
}

const describeDisk = ({ id, removable, tray, medium, node }: DiskInfo): Json => ({
  // Disks that were plugged have no name but their card's.
  device: node === undefined ? id : '',
  ...(node !== undefined && { qdev: `/machine/peripheral/${id}` }),
  type: 'unknown',
  removable,
  locked: tray?.locked ?? false,
  ...(tray && { tray_open: tray.open }),
  ...(medium && { inserted: describeMedium(medium, node) }),
});

export const DEVICE_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  'query-pci': query(arrayOf(object({ bus: INT, devices: arrayOf(FUNCTION) })), async (machine) => [
    { bus: 0, devices: (await machine.inspect()).pci.map(describeFunction) },
  ]),
  'query-named-block-nodes': {
    ...query(arrayOf(INSERTED), async (machine) =>
      (await machine.inspect()).nodes.map(({ name, medium }) => describeMedium(medium, name)),
    ),
    arguments: object({ 'flat?': BOOL }),
  },
  'query-block': query(arrayOf(DISK), async (machine) => (await machine.inspect()).disks.map(describeDisk)),
};
