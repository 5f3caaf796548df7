import { describe, expect, it } from 'vitest';
import { GIB, MIB } from '../base/units.js';
import { testBoard } from '../testing/board.js';
import { makeBzImage, TestMemory } from '../testing/kernels.js';
import { buildAcpi, relocate } from './acpi/build.js';
import { ich9PirqRoutes } from './board.js';
import { placeBios } from './bios.js';
import { checksum, viewOf } from './bytes.js';
import { cmosContent } from './cmos.js';
import { FW_CFG_KEY, fwCfgItems, type FwCfgItem } from './fw-cfg/items.js';
import { kernelItems } from './fw-cfg/kernel-items.js';
import { e820, firmwareMemoryMap, hvmMemoryMap, multibootMemoryMap, pcMemoryMap } from './memory-map.js';
import { placeTables } from './place-tables.js';
import { smbiosTable } from './smbios/smbios.js';

const smbios = smbiosTable({
  cpus: 1,
  cpuSignature: 0x661,
  cpuFeatures: 0,
  cpuBrand: 'test',
  longMode: true,
  mhz: 1000,
  ram: [{ start: 0, size: 512 * MIB }],
  uuid: new Uint8Array(16),
  product: 'Q35',
  version: '0',
});

describe('memory map', () => {
  const reserved = [{ start: 0xb000_0000, size: 256 * MIB }];

  it('splits RAM at the hole and reserves what the PC reserves', () => {
    const map = pcMemoryMap({ ramSize: 4 * GIB, lowRamLimit: 2 * GIB, reserved });
    expect(map.map(({ start, size, kind }) => [start, size, kind])).toEqual([
      [0, 639 * 1024, 'ram'],
      [639 * 1024, 1024, 'reserved'],
      [0xe_0000, 0x2_0000, 'reserved'],
      [MIB, 2047 * MIB, 'ram'],
      [0xb000_0000, 256 * MIB, 'reserved'],
      [4 * GIB, 2 * GIB, 'ram'],
    ]);
  });

  it('has the layout of each protocol', () => {
    const map = pcMemoryMap({ ramSize: 16 * MIB, lowRamLimit: GIB });
    const entry = viewOf(e820(map));
    expect([entry.byteLength, entry.getUint32(16, true), entry.getUint32(36, true)]).toEqual([80, 1, 2]);
    expect(hvmMemoryMap(map).length).toBe(96);
    const multiboot = viewOf(multibootMemoryMap(map));
    expect([multiboot.getUint32(0, true), multiboot.getBigUint64(24 + 4, true)]).toEqual([20, 639n * 1024n]);
  });

  it('too little memory is one line', () => {
    expect(() => pcMemoryMap({ ramSize: 65536, lowRamLimit: GIB })).toThrow(/^a PC needs at least 1 MiB of memory/);
  });
});

describe('interrupt routes of an ICH9', () => {
  it('turn by slot up to 24 and are fixed from 25 on', () => {
    expect(ich9PirqRoutes[0]).toEqual([4, 5, 6, 7]);
    expect(ich9PirqRoutes[3]).toEqual([7, 4, 5, 6]);
    expect(ich9PirqRoutes[31]).toEqual([0, 1, 2, 3]);
  });
});

describe('tables without firmware', () => {
  it('are found where guests search, on 16-byte boundaries', () => {
    const memory = new TestMemory(MIB);
    memory.ram.fill(0);
    const rsdp = placeTables(memory, buildAcpi(testBoard), smbios);
    const find = (signature: string, from: number): number => {
      for (let at = from; at < MIB; at += 16)
        if (String.fromCharCode(...memory.ram.subarray(at, at + signature.length)) === signature) return at;
      return -1;
    };
    expect(find('RSD PTR ', 0xe_0000)).toBe(rsdp);
    expect(find('_SM_', 0xf_0000)).toBe(0xf_0000);
    const anchor = find('_SM3_', 0xf_0000);
    expect(memory.bytes(Number(memory.view.getBigUint64(anchor + 16, true)), smbios.bytes.length)).toEqual(
      smbios.bytes,
    );
    const xsdt = Number(memory.view.getBigUint64(rsdp + 24, true));
    expect(String.fromCharCode(...memory.bytes(xsdt, 4))).toBe('XSDT');
    // BIOS data area: first UART, extended area and conventional memory.
    expect([0x400, 0x40e, 0x413].map((at) => memory.view.getUint16(at, true))).toEqual([0x3f8, 0x9fc0, 639]);
    expect(memory.view.getUint8(0x9_fc00)).toBe(1);
  });
});

describe('a BIOS image', () => {
  it('ends at 4 GiB, and its last 128 KiB at 1 MiB', () => {
    expect(placeBios(new Uint8Array(256 * 1024).fill(0xf4), 'bios')).toEqual({
      high: { start: 0xfffc_0000, offset: 0, size: 0x4_0000 },
      low: { start: 0xe_0000, offset: 0x2_0000, size: 0x2_0000 },
    });
    expect(placeBios(new Uint8Array(64 * 1024).fill(0xf4), 'bios').low).toEqual({
      start: 0xf_0000,
      offset: 0,
      size: 0x1_0000,
    });
  });

  it.each([
    [0, /^bios is empty$/],
    [1000, /^bios is not a BIOS image, or is truncated/],
    [32 * MIB, /larger than 16 MiB/],
    [64 * 1024, /truncated: there is no code at its end/],
  ])('of %i bytes: one clear line', (size, message) => {
    expect(() => placeBios(new Uint8Array(size), 'bios')).toThrow(message);
  });
});

describe('CMOS', () => {
  it('holds the sizes of memory in the units of its fields', () => {
    const bytes = cmosContent({ lowRam: 2 * GIB, highRam: 3 * GIB, cpus: 4, mouse: true });
    const word = (at: number): number => (bytes.get(at) ?? 0) | ((bytes.get(at + 1) ?? 0) << 8);
    expect([word(0x15), word(0x17), word(0x30), word(0x34)]).toEqual([
      640,
      0xffff,
      0xffff,
      (2 * GIB - 16 * MIB) / 65536,
    ]);
    expect(word(0x5b) * 65536).toBe(3 * GIB);
    expect(bytes.get(0x5f)).toBe(3);
    const small = cmosContent({ lowRam: 8 * MIB, highRam: 0, cpus: 1, mouse: false });
    expect([small.get(0x18), small.get(0x34)]).toEqual([(7 * 1024) >> 8, 0]);
    for (const value of bytes.values()) expect(value & 0xff).toBe(value);
  });
});

describe('fw_cfg items', () => {
  const acpi = buildAcpi(testBoard);
  const memoryMap = firmwareMemoryMap({ ramSize: 512 * MIB, lowRamLimit: 2 * GIB });
  const items = fwCfgItems({
    cpus: 2,
    ramSize: 512 * MIB,
    uuid: new Uint8Array(16),
    vga: true,
    memoryMap,
    acpi,
    smbios,
    bootOrder: ['/pci@i0cf8/scsi@4/disk@0,0', '/pci@i0cf8/ethernet@3'],
    bootMenuWait: 500,
  });
  const file = (list: readonly FwCfgItem[], name: string): Uint8Array => {
    const found = list.find((item) => 'file' in item && item.file === name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found.data;
  };
  const item = (list: readonly FwCfgItem[], key: number): Uint8Array => {
    const found = list.find((each) => 'key' in each && each.key === key);
    if (found === undefined) throw new Error(`no item ${key}`);
    return found.data;
  };

  it('tell RAM, CPUs, boot order and that there is no sleep state but S5', () => {
    expect(viewOf(item(items, FW_CFG_KEY.RAM_SIZE)).getBigUint64(0, true)).toBe(BigInt(512 * MIB));
    expect(item(items, FW_CFG_KEY.NB_CPUS)).toEqual(Uint8Array.of(2, 0));
    expect(file(items, 'etc/e820').length).toBe(20);
    expect(file(items, 'etc/system-states')).toEqual(Uint8Array.of(0x80, 0, 0, 1, 2, 0x80));
    expect(String.fromCharCode(...file(items, 'bootorder'))).toBe(
      '/pci@i0cf8/scsi@4/disk@0,0\n/pci@i0cf8/ethernet@3\0',
    );
  });

  it('the loader’s script gives the same tables as placing them directly', () => {
    const script = file(items, 'etc/table-loader');
    expect(script.length % 128).toBe(0);
    // A model of the firmware: allocate, add pointers, add checksums.
    const memory = new Map<string, { base: number; bytes: Uint8Array }>();
    const text = (at: number): string => String.fromCharCode(...script.subarray(at, script.indexOf(0, at)));
    const view = viewOf(script);
    const blob = (name: string): { base: number; bytes: Uint8Array } => {
      const found = memory.get(name);
      if (found === undefined) throw new Error(`${name} is not allocated`);
      return found;
    };
    for (let at = 0; at < script.length; at += 128) {
      const name = text(at + 4);
      switch (view.getUint32(at, true)) {
        case 1: {
          const fseg = view.getUint8(at + 64) === 2;
          memory.set(name, { base: fseg ? 0xf_5000 : 0x1ff0_0000, bytes: file(items, name).slice() });
          break;
        }
        case 2: {
          const { bytes } = blob(name);
          const source = blob(text(at + 60));
          const offset = view.getUint32(at + 116, true);
          const target = viewOf(bytes);
          if (view.getUint8(at + 120) === 4)
            target.setUint32(offset, target.getUint32(offset, true) + source.base, true);
          else target.setBigUint64(offset, target.getBigUint64(offset, true) + BigInt(source.base), true);
          break;
        }
        case 3: {
          const { bytes } = blob(name);
          const [offset, start, length] = [60, 64, 68].map((field) => view.getUint32(at + field, true));
          bytes[offset] += checksum(bytes.subarray(start, start + length));
          break;
        }
        default:
          throw new Error('an unknown command');
      }
    }
    expect(blob('etc/acpi/tables').bytes).toEqual(relocate(acpi.tables, 0x1ff0_0000));
    expect(blob('etc/acpi/rsdp').bytes).toEqual(relocate(acpi.rsdp, 0x1ff0_0000));
  });

  it('a kernel is split into setup, kernel, initrd and command line', () => {
    const kernel = makeBzImage();
    const initrd = { name: 'initrd', data: new Uint8Array(5000) };
    const list = kernelItems({ name: 'vmlinuz', kernel, initrd, commandLine: 'quiet', memoryMap });
    const number = (key: number): number => viewOf(item(list, key)).getUint32(0, true);
    const setup = viewOf(item(list, FW_CFG_KEY.SETUP_DATA));
    expect(setup.byteLength).toBe(3 * 512);
    expect(setup.getUint32(0x228, true)).toBe(number(FW_CFG_KEY.CMDLINE_ADDR));
    expect(setup.getUint32(0x218, true)).toBe(number(FW_CFG_KEY.INITRD_ADDR));
    expect(setup.getUint8(0x211) & 0x80).toBe(0x80);
    expect(item(list, FW_CFG_KEY.KERNEL_DATA)).toEqual(kernel.subarray(3 * 512));
    expect(number(FW_CFG_KEY.INITRD_ADDR) + 5000).toBeLessThanOrEqual(512 * MIB);
    expect(() => kernelItems({ name: 'x', kernel: new Uint8Array(9), commandLine: '', memoryMap })).toThrow(
      /^x is not a bzImage/,
    );
  });
});
