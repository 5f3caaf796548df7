/**
 * What a snapshot holds of a machine: a section for its description, for what it boots, for RAM, for each CPU and for each
 * part of the board, each with the version of its own shape.
 */
import { HostError } from '../base/errors.js';
import { PAGE_SIZE } from '../base/units.js';
import type { SnapshotReader, SnapshotWriter } from '../snapshot/container.js';
import {
  array,
  bytes,
  int,
  nullable,
  range,
  SchemaError,
  str,
  struct,
  u64,
  type Infer,
  type Plain,
} from '../snapshot/schema.js';
import { SnapshotError } from '../snapshot/snapshot-error.js';
import type { BlockBackend } from '../iface/block.js';
import type { CpuidWords, Vcpu, Vm } from '../iface/vcpu.js';
import { DEFAULT_TSC_HZ, type Board } from '../machine/common/board.js';
import { cpuidSchema } from '../machine/common/cpu-features.js';
import {
  configSchema,
  DEFAULT_DISK_CACHE,
  DEFAULT_DISPLAY,
  DEFAULT_MACHINE,
  restoreBoot,
  saveBoot,
  type MachineConfig,
} from './config.js';
import { saveFirmware } from './firmware-config.js';
import { assert } from '../base/assert.js';
import type { BootKernel, BootSource } from '../machine/common/board.js';
import { restoreSharing, saveSharing } from './sharing-config.js';
import { restoreNetworks, saveNetworks } from './net-config.js';
import { NOTHING_PLUGGED, restorePlugged, savePlugged } from './plugged-config.js';
import type { MachineClock } from './machine-clock.js';
import { virtualTimeSchema, type VirtualTimeState } from './virtual-time.js';

/** Versions of sections that are not a device's. */
const VERSION = { machine: 8, boot: 1, ram: 1, cpu: 1, writes: 1 } as const;

/** Parts that all machines have, and the version of the description by which they came. */
const SINCE: Readonly<Record<string, number | undefined>> = { 'pci-hotplug': 6 };

/** Bytes that a disk may have taken and a snapshot gives back: what a file cannot claim without having it. */
const MAX_WRITES = 2 ** 32;

const machineSchema = struct({
  /** The Vitrine that wrote it, for people. */
  writer: str,
  config: configSchema,
  uuid: bytes(16),
  /** Nanoseconds on the machine's clock. */
  time: int,
  /** Ticks of the guest's time-stamp counters per second. */
  tscHz: range(1, 1e12),
  /** Of a machine that is the same in every run. */
  virtual: nullable(struct({ time: virtualTimeSchema, entropy: u64 })),
  /** What the disks were when the machine was saved. */
  disks: array(str, { max: 192 }),
  /** What CPUID told the guest of features; nothing where that is not known. */
  cpuid: cpuidSchema,
});

/** A file that a machine stands on, or a drive that has none in it. */
export interface MachineImage {
  readonly name: string;
  readonly image: BlockBackend | undefined;
}

/** What a drive without a medium has for an identity. */
const identityOf = ({ image }: MachineImage): string => image?.identity ?? '';

/** The parts of a machine that are saved. */
interface Saveable {
  readonly config: MachineConfig;
  readonly board: Board;
  readonly clock: MachineClock;
  readonly cpus: readonly Vcpu[];
  readonly vm: Vm;
  readonly ram: Uint8Array;
  readonly farRam: readonly Uint8Array[];
  /** Files that must be the same when it goes on. */
  readonly images: readonly MachineImage[];
  readonly tscHz: number;
  /** What CPUID tells the guest of features. */
  readonly cpuid: readonly CpuidWords[];
}

/** What makes a machine the same in every run. */
export interface VirtualState {
  readonly time: VirtualTimeState;
  /** State of the random numbers. */
  readonly entropy: bigint;
}

export interface SaveRequest {
  readonly machine: Saveable;
  readonly uuid: Uint8Array;
  readonly version: string;
  readonly virtual: VirtualState | undefined;
  /** The name of a file in whatever folder the machine goes on. */
  readonly locate: (path: string) => string;
  readonly memory: MemoryForm;
}

/**
 * Where its memory goes: into the snapshot, compressed; likewise, but as it is, to be mapped (`SnapshotWriter.addMappedMemory`); or
 * nowhere, with what it boots: whoever restores the machine has both (`KeptApart`).
 */
export type MemoryForm = 'packed' | 'mappable' | 'apart';

/** What a snapshot does not hold. */
export interface KeptApart {
  /** What the machine boots, a kernel without a BIOS. Asked when it is needed, by a reset or a save. */
  readBoot(): BootSource;
  /** Fills memory that is all zeros. Nobody has written to it, nor will before that. */
  fillMemory(ram: Uint8Array, vm: Vm): void;
}

const isRecord = (value: Plain | undefined): value is { readonly [key: string]: Plain } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

const NOTHING = savePlugged(NOTHING_PLUGGED, (path) => path);

/** What older versions did not know is as it was with them; what is not as it was there is left for the schema to refuse. */
function upgradeMachine(value: Plain, from: number): Plain {
  if (!isRecord(value) || !isRecord(value['config'])) return value;
  const config = { cpus: 1, note: '', plugged: NOTHING, ...value['config'] };
  const plugged = withEach(config.plugged, 'nodes', { direct: false });
  const upgraded = { cpuid: [], ...value, config: { ...config, plugged } };
  return withDisks(from === 1 ? upgradeFirst(upgraded) : upgraded, { cache: DEFAULT_DISK_CACHE });
}

interface PlainFields {
  readonly [key: string]: Plain;
}

/** Whatever each of a list has not been told of itself. */
function withEach(value: Plain, list: string, added: PlainFields): Plain {
  if (!isRecord(value)) return value;
  const elements = value[list];
  if (!Array.isArray(elements)) return value;
  const upgraded = (elements as readonly Plain[]).map((one) => (isRecord(one) ? { ...added, ...one } : one));
  return { ...value, [list]: upgraded };
}

const withDisks = (value: Plain, added: PlainFields): Plain =>
  isRecord(value) && isRecord(value['config'])
    ? { ...value, config: withEach(value['config'], 'disks', added) }
    : value;

/** Version 1 knew raw images on virtio alone, and a VGA without a card. */
function upgradeFirst(value: Plain): Plain {
  if (!isRecord(value) || !isRecord(value['config'])) return value;
  const added = {
    format: 'raw',
    temporary: false,
    attach: 'virtio',
    media: 'disk',
    serial: null,
    internal: null,
    queues: 1,
  };
  const more = {
    display: { vga: 'isa', rom: null, input: 'ps2' },
    sharing: null,
    networks: [],
    firmware: saveFirmware(),
  };
  return withDisks({ ...value, tscHz: DEFAULT_TSC_HZ, config: { ...more, ...value['config'] } }, added);
}

/** Section of what was written to a disk and is thrown away otherwise. */
const writesName = (disk: number): string => `writes${disk}`;

/** Section of a piece of far memory. */
const farName = (piece: number): string => `ram.far${piece}`;

const cpuName = (index: number): string => `cpu${index}`;

const BOOT = 'boot';

/** A file with what a machine boots, and nothing else. */
export function writeBoot(writer: SnapshotWriter, boot: BootSource): void {
  writer.add(BOOT, VERSION.boot, saveBoot(boot));
  writer.finish();
}

/** What the machine of a snapshot boots, or `writeBoot` has written. */
export const readBoot = (snapshot: SnapshotReader, file: string): BootSource =>
  new Sections(snapshot, file).read({ name: BOOT, version: VERSION.boot, check: restoreBoot });

/** The clock must stand still. */
export function saveMachine(writer: SnapshotWriter, request: SaveRequest): void {
  const { machine, uuid, version, virtual, locate, memory } = request;
  const { boot, firmware, plugged = NOTHING_PLUGGED, ...config } = machine.config;
  const located = <T extends { readonly path: string }>(one: T): T => ({ ...one, path: locate(one.path) });
  writer.add('machine', VERSION.machine, {
    writer: version,
    config: {
      machine: DEFAULT_MACHINE,
      cpus: 1,
      note: '',
      ...config,
      disks: config.disks.map((disk) => ({ queues: 1, cache: DEFAULT_DISK_CACHE, ...located(disk) })),
      display: { ...(config.display ?? DEFAULT_DISPLAY) },
      sharing: saveSharing(config.sharing),
      networks: saveNetworks(config.networks ?? []),
      plugged: savePlugged(plugged, locate),
      firmware: saveFirmware(firmware && { ...firmware, flash: firmware.flash.map(located) }),
    },
    uuid,
    time: machine.clock.now(),
    tscHz: machine.tscHz,
    virtual: virtual ? { time: { ...virtual.time }, entropy: virtual.entropy } : null,
    disks: machine.images.map(identityOf),
    cpuid: machine.cpuid.map((leaf) => ({ ...leaf })),
  });
  if (memory !== 'apart') writer.add(BOOT, VERSION.boot, saveBoot(boot));
  if (memory === 'mappable') writer.addMappedMemory('ram', VERSION.ram, machine.ram);
  if (memory === 'packed') writer.addMemory('ram', VERSION.ram, machine.ram);
  if (memory === 'apart' && machine.farRam.length > 0)
    throw new HostError('machines with so much memory that it takes KVM are saved to files');
  for (const [i, piece] of machine.farRam.entries()) {
    if (memory === 'mappable') writer.addMappedMemory(farName(i), VERSION.ram, piece);
    if (memory === 'packed') writer.addMemory(farName(i), VERSION.ram, piece);
  }
  for (const [i, { image }] of machine.images.entries()) {
    const written = image?.writes?.save();
    if (written) writer.addMemory(writesName(i), VERSION.writes, written);
  }
  for (const cpu of machine.cpus) writer.add(cpuName(cpu.index), VERSION.cpu, cpu.saveState());
  for (const part of machine.board.parts) writer.add(part.id, part.stateVersion, part.save());
  writer.finish();
}

export interface SavedMachine {
  /** Of the section that its description stands in. */
  readonly version: number;
  readonly config: MachineConfig;
  readonly uuid: Uint8Array;
  readonly time: number;
  readonly tscHz: number;
  readonly virtual: VirtualState | undefined;
  readonly disks: readonly string[];
  readonly cpuid: readonly CpuidWords[];
}

interface SectionRequest<T> {
  readonly name: string;
  readonly version: number;
  readonly check: (value: Plain) => T;
  readonly upgrade?: (value: Plain, from: number) => Plain;
}

/** Reads sections; what is wrong with one becomes one line. */
class Sections {
  constructor(
    private readonly snapshot: SnapshotReader,
    private readonly file: string,
  ) {}

  checkVersion(name: string, found: number, known: number): void {
    if (found > known)
      throw new SnapshotError(
        `the snapshot ${this.file} is of a newer version than this Vitrine reads ` +
          `(${name} has version ${found}; at most ${known})`,
      );
  }

  read<T>({ name, version, check, upgrade }: SectionRequest<T>): T {
    const found = this.snapshot.find(name);
    if (found === undefined) throw new SnapshotError(`the snapshot ${this.file} is damaged: there is no ${name}`);
    this.checkVersion(name, found.version, version);
    try {
      const old = found.version < version;
      if (old && upgrade === undefined) throw new SchemaError(`${name}: version ${found.version} cannot be read`);
      return check(old && upgrade ? upgrade(found.value, found.version) : found.value);
    } catch (cause) {
      // Whatever a device makes of a state that no device saved: the file is to blame.
      const reason = cause instanceof SchemaError ? cause.message : `${name} cannot be in the state that it has there`;
      throw new SnapshotError(`the snapshot ${this.file} is damaged: ${reason}`, { cause });
    }
  }
}

/** What a machine boots, read when it is asked for: by a reset. It is a kernel without a BIOS. */
function lateBoot(read: () => BootSource): BootSource {
  let value: BootSource | undefined;
  return {
    get kernel(): BootKernel {
      value ??= read();
      assert(value.kernel !== undefined, 'a machine that is started later has a kernel');
      return value.kernel;
    },
  };
}

/**
 * The description of the machine that a snapshot holds. `file` is how messages call it. `boot`: 'later' when what it boots, a kernel without
 * a BIOS, is to be read when it is needed; until then the snapshot stays open. Or what reads it from elsewhere, then.
 */
export function readMachine(
  snapshot: SnapshotReader,
  file: string,
  boot: 'now' | 'later' | (() => BootSource) = 'now',
): SavedMachine {
  const sections = new Sections(snapshot, file);
  const check = (value: Plain): Infer<typeof machineSchema> => machineSchema.check(value, 'machine');
  const saved = sections.read({ name: 'machine', version: VERSION.machine, check, upgrade: upgradeMachine });
  const read = typeof boot === 'function' ? boot : () => readBoot(snapshot, file);
  const source = boot === 'now' ? read() : lateBoot(read);
  const { uuid, time, tscHz, virtual, disks, cpuid } = saved;
  if (saved.config.memory % PAGE_SIZE !== 0 || time < 0)
    throw new SnapshotError(`the snapshot ${file} is damaged: there is no such machine`);
  const { sharing: savedSharing, networks, plugged: savedPlugged, ...rest } = saved.config;
  const sharing = restoreSharing(savedSharing);
  const plugged = restorePlugged(savedPlugged);
  const config = {
    ...{ ...rest, boot: source, networks: restoreNetworks(networks), plugged },
    ...(sharing && { sharing }),
  };
  const version = snapshot.find('machine')?.version ?? 0;
  return { version, config, uuid, time, tscHz, virtual: virtual ?? undefined, disks, cpuid };
}

/** Puts a new machine of that description, whose clock stands still, into the saved state. `apart`: what fills its memory. */
export function restoreParts(
  machine: Saveable,
  snapshot: SnapshotReader,
  {
    saved,
    file,
    apart,
  }: { readonly saved: SavedMachine; readonly file: string; readonly apart?: KeptApart | undefined },
): void {
  const sections = new Sections(snapshot, file);
  machine.images.forEach((image, i) => {
    if (identityOf(image) !== saved.disks[i])
      throw new SnapshotError(`the disk ${image.name} has changed since the machine was saved to ${file}`);
  });
  const known = new Set(['machine', BOOT, 'ram', 'ram.index', 'ram.map']);
  machine.images.forEach(({ image }, i) => {
    const name = writesName(i);
    const size = snapshot.memorySize(name);
    if (size === undefined) return;
    if (!image?.writes || size > MAX_WRITES) throw new SnapshotError(`the snapshot ${file} is damaged: ${name}`);
    known.add(name).add(`${name}.index`);
    const written = new Uint8Array(size);
    sections.checkVersion(name, snapshot.readMemory(name, written), VERSION.writes);
    image.writes.restore(written);
  });
  if (apart) apart.fillMemory(machine.ram, machine.vm);
  else sections.checkVersion('ram', snapshot.readMemory('ram', machine.ram), VERSION.ram);
  for (const [i, piece] of machine.farRam.entries()) {
    const name = farName(i);
    known.add(name).add(`${name}.index`).add(`${name}.map`);
    sections.checkVersion(name, snapshot.readMemory(name, piece), VERSION.ram);
  }
  machine.clock.set(saved.time);
  for (const part of machine.board.parts) {
    known.add(part.id);
    // What machines did not have then is as it is when power comes on.
    if (saved.version < (SINCE[part.id] ?? 0)) continue;
    sections.read({
      name: part.id,
      version: part.stateVersion,
      check: (value) => part.restore(part.stateSchema.check(value, part.id)),
      upgrade: (value, from) => {
        if (!part.upgrade) throw new SchemaError(`${part.id}: version ${from} cannot be read`);
        return part.upgrade(value, from);
      },
    });
  }
  // Last, because devices drive their lines as they are restored: the CPU looks at its interrupts anew.
  for (const cpu of machine.cpus) {
    known.add(cpuName(cpu.index));
    sections.read({
      name: cpuName(cpu.index),
      version: VERSION.cpu,
      check: (value) => cpu.restoreState(value),
    });
  }
  const unknown = snapshot.names.find((name) => !known.has(name));
  if (unknown !== undefined) throw new SnapshotError(`the snapshot ${file} is damaged: this machine has no ${unknown}`);
}
