/**
 * The firmware configuration device of QEMU, by which SeaBIOS, OVMF and Linux's qemu_fw_cfg learn about the machine.
 * After "QEMU Firmware Configuration (fw_cfg) Device", docs/specs/fw_cfg.rst of QEMU 8.2.
 */
import { assert } from '../../../base/assert.js';
import { gpa } from '../../../base/units.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Dma } from '../../../iface/guest-memory.js';
import { array, bytes, int, struct, u16, u32, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';

/** Selector keys with a fixed meaning. Numbers are little-endian. */
export const FW_CFG = {
  SIGNATURE: 0x0000,
  ID: 0x0001,
  UUID: 0x0002,
  /** u64: bytes of RAM. */
  RAM_SIZE: 0x0003,
  NOGRAPHIC: 0x0004,
  /** u16: CPUs present at boot. */
  NB_CPUS: 0x0005,
  /** u32 each, but for the data: the Linux kernel for the firmware's boot ROM. */
  KERNEL_ADDR: 0x0007,
  KERNEL_SIZE: 0x0008,
  KERNEL_CMDLINE: 0x0009,
  INITRD_ADDR: 0x000a,
  INITRD_SIZE: 0x000b,
  BOOT_DEVICE: 0x000c,
  NUMA: 0x000d,
  BOOT_MENU: 0x000e,
  /** u16: the highest APIC id that the firmware must be ready for, plus one. */
  MAX_CPUS: 0x000f,
  KERNEL_ENTRY: 0x0010,
  KERNEL_DATA: 0x0011,
  INITRD_DATA: 0x0012,
  CMDLINE_ADDR: 0x0013,
  CMDLINE_SIZE: 0x0014,
  CMDLINE_DATA: 0x0015,
  SETUP_ADDR: 0x0016,
  SETUP_SIZE: 0x0017,
  SETUP_DATA: 0x0018,
  FILE_DIR: 0x0019,
  FILE_FIRST: 0x0020,
  /** Bit 15: items of one architecture. On x86: */
  ACPI_TABLES: 0x8000,
  SMBIOS_ENTRIES: 0x8001,
  IRQ0_OVERRIDE: 0x8002,
  HPET: 0x8004,
} as const;

/** Bit 14 of a selector asked for the write channel, which QEMU dropped. */
const WRITE_CHANNEL = 0x4000;
/** Feature bits of FW_CFG.ID. */
const FEATURE = { TRADITIONAL: 1 << 0, DMA: 1 << 1 } as const;
/** Control field of the DMA structure; the selector is in bits 31:16. */
const CONTROL = { ERROR: 1 << 0, READ: 1 << 1, SKIP: 1 << 2, SELECT: 1 << 3, WRITE: 1 << 4 } as const;
/** What the DMA address register reads as: "QEMU CFG". */
const DMA_SIGNATURE = [0x51454d55, 0x20434647] as const;
const FILE_NAME_SIZE = 56;
const FILE_ENTRY_SIZE = 64;
const CHUNK = 0x1_0000;

const stateSchema = struct({
  selected: u16,
  offset: int,
  /** High half of the DMA address, which waits for the low one. */
  dmaHigh: u32,
  /** Contents of the items that the guest can write. */
  written: array(struct({ key: u16, data: bytes() }), { max: 256 }),
});
type State = Infer<typeof stateSchema>;

interface Item {
  readonly data: Uint8Array;
  readonly writable: boolean;
  readonly onWrite: (() => void) | undefined;
}

/** What a file may allow the guest, besides reading it. */
export interface FileOptions {
  /** The guest may write it, by DMA only. The bytes given are the ones written to. */
  readonly writable?: boolean;
  /** Called after each write. */
  readonly onWrite?: () => void;
}

export class FwCfg implements Snapshotable<State> {
  readonly id = 'fw-cfg';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;

  private readonly items = new Map<number, Item>();
  private readonly files: { name: string; key: number; size: number }[] = [];
  private selected: number = FW_CFG.SIGNATURE;
  private offset = 0;
  private dmaHigh = 0;
  /** Adds what nobody has looked at yet. */
  private late: (() => void) | undefined;

  /** Two ports at 0x510: a 16-bit write selects, bytes read are data. */
  readonly ports: IoHandler;
  /** Eight ports at 0x514: the DMA address, big-endian, high half first. */
  readonly dmaPorts: IoHandler;

  constructor(private readonly dma: Dma) {
    this.add(FW_CFG.SIGNATURE, Uint8Array.of(0x51, 0x45, 0x4d, 0x55));
    this.addU32(FW_CFG.ID, FEATURE.TRADITIONAL | FEATURE.DMA);
    this.buildDirectory();
    this.ports = {
      widest: 2,
      read: (_offset, size) => (size === 1 ? this.readByte() : this.readByte() | (this.readByte() << 8)),
      write: (_offset, size, value) => {
        // A byte would be data, and writing data this way is a thing of the past.
        if (size === 2) this.select(value);
      },
      peek: () => this.chosen?.data[this.offset] ?? 0,
    };
    const signature = (offset: number, size: number): number => {
      let value = 0;
      for (let i = size - 1; i >= 0; i--) {
        const at = offset + i;
        value = value * 256 + ((DMA_SIGNATURE[at >> 2] >>> (24 - 8 * (at & 3))) & 0xff);
      }
      return value;
    };
    this.dmaPorts = {
      read: signature,
      peek: signature,
      write: (offset, size, value) => {
        if (size !== 4) return;
        if (offset === 0) this.dmaHigh = swap32(value);
        else this.transfer(this.dmaHigh * 2 ** 32 + swap32(value));
      },
    };
  }

  /** `add` is called before the guest looks at an item for the first time, and adds some that take time to make: many guests never look. */
  addLate(add: () => void): void {
    this.late = add;
  }

  /** The item that the guest has chosen. */
  private get chosen(): Item | undefined {
    this.complete();
    return this.items.get(this.selected);
  }

  private complete(): void {
    const { late } = this;
    this.late = undefined;
    late?.();
  }

  /** Adds or replaces an item. The bytes are used as they are, not copied. */
  add(key: number, data: Uint8Array, options: FileOptions = {}): void {
    this.items.set(key, { data, writable: options.writable ?? false, onWrite: options.onWrite });
  }

  addU16(key: number, value: number): void {
    this.add(key, Uint8Array.of(value & 0xff, value >> 8));
  }

  addU32(key: number, value: number): void {
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, value, true);
    this.add(key, data);
  }

  addU64(key: number, value: bigint): void {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, value, true);
    this.add(key, data);
  }

  /** Adds text in ASCII with a NUL behind it. */
  addText(key: number, text: string): void {
    this.add(key, ascii(text, text.length + 1));
  }

  /** Adds a file to the directory, or replaces it, and returns its key. `name` is ASCII, at most 55 characters. */
  addFile(name: string, data: Uint8Array, options: FileOptions = {}): number {
    assert(name.length > 0 && name.length < FILE_NAME_SIZE, `the name of the fw_cfg file ${name} does not fit`);
    let file = this.files.find((one) => one.name === name);
    if (!file) {
      file = { name, key: FW_CFG.FILE_FIRST + this.files.length, size: 0 };
      this.files.push(file);
    }
    file.size = data.length;
    this.add(file.key, data, options);
    this.buildDirectory();
    return file.key;
  }

  private buildDirectory(): void {
    const data = new Uint8Array(4 + this.files.length * FILE_ENTRY_SIZE);
    const view = new DataView(data.buffer);
    view.setUint32(0, this.files.length);
    for (const [i, { name, key, size }] of this.files.entries()) {
      const at = 4 + i * FILE_ENTRY_SIZE;
      view.setUint32(at, size);
      view.setUint16(at + 4, key);
      data.set(ascii(name, FILE_NAME_SIZE), at + 8);
    }
    this.add(FW_CFG.FILE_DIR, data);
  }

  private select(key: number): void {
    this.selected = key & ~WRITE_CHANNEL;
    this.offset = 0;
  }

  /** Beyond an item, and of one that is not there, zeros are read. */
  private readByte(): number {
    const data = this.chosen?.data;
    if (!data || this.offset >= data.length) return 0;
    return data[this.offset++];
  }

  /** Carries out the DMA structure at an address: control, length (u32), address (u64), all big-endian. */
  private transfer(at: number): void {
    this.dmaHigh = 0;
    const header = new Uint8Array(16);
    const structure = gpa(at);
    if (!this.dma.read(structure, header)) return;
    const view = new DataView(header.buffer);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const address = Number(view.getBigUint64(8));
    if (control & CONTROL.SELECT) this.select(control >>> 16);
    const good =
      control & CONTROL.READ
        ? this.readOut(address, length)
        : control & CONTROL.WRITE
          ? this.writeIn(address, length)
          : control & CONTROL.SKIP
            ? this.skip(length)
            : true;
    // Cleared when done: the guest waits for that.
    const result = new Uint8Array(4);
    if (!good) result[3] = CONTROL.ERROR;
    this.dma.write(structure, result);
  }

  private skip(length: number): boolean {
    const size = this.chosen?.data.length ?? 0;
    this.offset = Math.min(size, this.offset + length);
    return true;
  }

  private readOut(address: number, length: number): boolean {
    const data = this.chosen?.data ?? new Uint8Array(0);
    const available = Math.min(length, data.length - this.offset);
    const from = this.offset;
    this.offset += available;
    if (available > 0 && !this.dma.write(gpa(address), data.subarray(from, from + available))) return false;
    // The rest is zeros, in pieces: the length is the guest's, and can be anything.
    const zeros = new Uint8Array(Math.min(CHUNK, length - available));
    for (let done = available; done < length; done += CHUNK)
      if (!this.dma.write(gpa(address + done), zeros.subarray(0, Math.min(CHUNK, length - done)))) return false;
    return true;
  }

  private writeIn(address: number, length: number): boolean {
    const item = this.chosen;
    if (!item?.writable || this.offset + length > item.data.length) return false;
    if (!this.dma.read(gpa(address), item.data.subarray(this.offset, this.offset + length))) return false;
    this.offset += length;
    item.onWrite?.();
    return true;
  }

  save(): State {
    const written = [...this.items].filter(([, item]) => item.writable);
    return {
      selected: this.selected,
      offset: this.offset,
      dmaHigh: this.dmaHigh,
      written: written.map(([key, { data }]) => ({ key, data: data.slice() })),
    };
  }

  /** The items themselves are the machine's, which must have added the same ones. */
  restore(state: State): void {
    this.selected = state.selected;
    this.offset = Math.max(0, state.offset);
    this.dmaHigh = state.dmaHigh;
    if (state.written.length > 0) this.complete();
    for (const { key, data } of state.written) {
      const item = this.items.get(key);
      if (item?.writable && item.data.length === data.length) item.data.set(data);
    }
  }
}

/** Text in `size` bytes, with zeros behind it. */
function ascii(text: string, size: number): Uint8Array {
  const data = new Uint8Array(size);
  for (let i = 0; i < text.length; i++) data[i] = text.charCodeAt(i);
  return data;
}

const swap32 = (value: number): number =>
  (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
