import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { descriptor } from '../../arch/x86/boot-state.js';
import { GIB, gpa, MIB } from '../../base/units.js';
import { makeBzImage, makeElf, TestMemory } from '../../testing/kernels.js';
import { pcMemoryMap } from '../memory-map.js';
import { loadKernel, type LoadedKernel } from './load-kernel.js';
import type { KernelRequest } from './request.js';

const initrd = { name: 'initrd.img', data: new Uint8Array(5000).fill(0x42) };

function request(kernel: Uint8Array, more: Partial<KernelRequest> = {}): KernelRequest {
  return {
    name: 'boot/kernel',
    kernel,
    commandLine: 'console=ttyS0',
    modules: [],
    memoryMap: pcMemoryMap({ ramSize: 64 * MIB, lowRamLimit: 2 * GIB }),
    longMode: true,
    vgaText: true,
    gunzip: (data) => gunzipSync(data),
    ...more,
  };
}

const load = (kernel: Uint8Array, more: Partial<KernelRequest> = {}): LoadedKernel & { memory: TestMemory } => {
  const memory = new TestMemory();
  return { ...loadKernel(memory, request(kernel, more)), memory };
};

describe('bzImage (Documentation/arch/x86/boot.rst)', () => {
  it('by the 64-bit entry: long mode, identity map, zero page in RSI', () => {
    const seed = new Uint8Array(32).fill(7);
    const options = { modules: [initrd], acpiRsdp: gpa(0xe_0000), randomSeed: seed };
    const { boot, memory, description } = load(makeBzImage(), options);
    expect(description).toBe('Linux bzImage');
    expect(boot.rip).toBe(0x10_0200n);
    expect(memory.bytes(MIB, 4)).toEqual(Uint8Array.of(0x90, 0x90, 0x90, 0x90));
    expect([boot.cr0, boot.cr4, boot.efer]).toEqual([0x8000_0011n, 0x20n, 0x500n]);

    const zero = Number(boot.gpr?.rsi);
    const { view } = memory;
    expect(view.getUint32(zero + 0x202, true)).toBe(0x5372_6448);
    expect(view.getUint8(zero + 0x210)).toBe(0xff);
    expect(memory.cstring(view.getUint32(zero + 0x228, true))).toBe('console=ttyS0');
    expect(view.getBigUint64(zero + 0x70, true)).toBe(0xe_0000n);
    const at = view.getUint32(zero + 0x218, true);
    expect(view.getUint32(zero + 0x21c, true)).toBe(5000);
    expect(at % 4096).toBe(0);
    expect(memory.bytes(at, 5000)).toEqual(initrd.data);
    // e820: conventional memory, EBDA, BIOS area, the rest.
    expect(view.getUint8(zero + 0x1e8)).toBe(4);
    expect(view.getBigUint64(zero + 0x2d0 + 60, true)).toBe(BigInt(MIB));
    expect(view.getBigUint64(zero + 0x2d0 + 68, true)).toBe(BigInt(63 * MIB));
    const setupData = Number(view.getBigUint64(zero + 0x250, true));
    expect([view.getUint32(setupData + 8, true), view.getUint32(setupData + 12, true)]).toEqual([9, 32]);
    expect(memory.bytes(setupData + 16, 32)).toEqual(seed);
  });

  it('its page tables map any address below 4 GiB to itself', () => {
    const { boot, memory } = load(makeBzImage());
    const entry = (table: number, index: number): number => Number(memory.view.getBigUint64(table + index * 8, true));
    for (const address of [0, 0x10_0200, 0x1234_5678, 0xfee0_0020, 0xffff_ffff]) {
      const pdpt = entry(Number(boot.cr3), 0);
      const directory = entry(pdpt & ~0xfff, Math.floor(address / GIB));
      const leaf = entry(directory & ~0xfff, Math.floor((address % GIB) / (2 * MIB)));
      expect([pdpt & 3, directory & 3, leaf & 0x83]).toEqual([3, 3, 0x83]);
      expect(Math.floor(leaf / 4096) * 4096 + (address % (2 * MIB))).toBe(address);
    }
  });

  it('its GDT holds the segments that are loaded', () => {
    for (const has64BitEntry of [true, false]) {
      const { boot, memory } = load(makeBzImage({ has64BitEntry }));
      const base = Number(boot.gdtr?.base);
      for (const segment of [boot.segments?.cs, boot.segments?.ds]) {
        if (segment === undefined) throw new Error('no segment');
        expect(memory.view.getBigUint64(base + segment.selector, true)).toBe(descriptor(segment));
      }
    }
  });

  it('by the 32-bit entry when the kernel is 32-bit', () => {
    for (const longMode of [true, false]) {
      const { boot } = load(makeBzImage({ has64BitEntry: false }), { longMode });
      expect(boot.rip).toBe(0x10_0000n);
      expect([boot.cr0, boot.efer]).toEqual([0x11n, 0n]);
      expect(boot.segments?.cs?.attributes).toBe(0xc09b);
    }
  });

  it('keeps the initrd below the kernel’s limit', () => {
    const { boot, memory } = load(makeBzImage({ initrdMax: 32 * MIB - 1 }), { modules: [initrd] });
    const at = memory.view.getUint32(Number(boot.gpr?.rsi) + 0x218, true);
    expect(at + 5000).toBeLessThanOrEqual(32 * MIB);
    expect(at).toBeGreaterThan(30 * MIB);
  });

  it('unpacks gzip', () => {
    expect(load(gzipSync(makeBzImage())).boot.rip).toBe(0x10_0200n);
  });

  it.each<[string, Uint8Array, Partial<KernelRequest>, RegExp]>([
    ['truncated', makeBzImage().subarray(0, 3000), {}, /^boot\/kernel is truncated/],
    ['truncated in its header', makeBzImage().subarray(0, 0x210), {}, /^boot\/kernel is truncated/],
    ['too old', makeBzImage({ version: 0x201 }), {}, /^boot\/kernel is too old/],
    ['memory too small', makeBzImage({ initSize: 63 * MIB }), {}, /memory is too small: boot\/kernel needs 79 MiB/],
    [
      'initrd too large',
      makeBzImage(),
      { modules: [{ name: 'big', data: new Uint8Array(50 * MIB) }] },
      /^the initrd big is too large: 50 MiB/,
    ],
    ['64-bit', makeBzImage(), { longMode: false }, /^boot\/kernel is a 64-bit kernel, and the CPU model a 32-bit one/],
    ['initrd empty', makeBzImage(), { modules: [{ name: 'none', data: new Uint8Array() }] }, /^none is empty$/],
    ['two initrds', makeBzImage(), { modules: [initrd, initrd] }, /takes one initrd, 2 were given/],
    ['long command line', makeBzImage(), { commandLine: 'x'.repeat(2048) }, /too long: 2048 bytes, at most 2047/],
  ])('%s: one clear line', (_, kernel, more, message) => {
    expect(() => load(kernel, more)).toThrow(message);
  });
});

describe('PVH (hvm_start_info version 1)', () => {
  it.each([32, 64] as const)('%i-bit ELF: entry from the note, start info in EBX', (bits) => {
    const image = makeElf({ bits, load: 16 * MIB, virtual: 0x8100_0000, pvh: 0x100_0040 });
    const { boot, memory, description } = load(image, { modules: [initrd], acpiRsdp: gpa(0xe_0000) });
    expect(description).toBe('PVH kernel');
    expect([boot.rip, boot.cr0, boot.efer]).toEqual([0x100_0040n, 0x11n, 0n]);
    const { view } = memory;
    const info = Number(boot.gpr?.rbx);
    expect(view.getUint32(info, true)).toBe(0x336ec578);
    expect([4, 12].map((at) => view.getUint32(info + at, true))).toEqual([1, 1]);
    const [modules, commandLine, rsdp, map] = [16, 24, 32, 40].map((at) => Number(view.getBigUint64(info + at, true)));
    expect(memory.cstring(commandLine)).toBe('console=ttyS0');
    expect(rsdp).toBe(0xe_0000);
    const at = Number(view.getBigUint64(modules, true));
    expect(Number(view.getBigUint64(modules + 8, true))).toBe(5000);
    expect(memory.bytes(at, 5000)).toEqual(initrd.data);
    expect(view.getUint32(info + 48, true)).toBe(4);
    expect(Number(view.getBigUint64(map + 3 * 24, true))).toBe(MIB);
    // Memory that the file does not fill is cleared, also after a reset.
    expect(memory.bytes(16 * MIB + 256, 8192 - 256).every((byte) => byte === 0)).toBe(true);
  });

  it('small structures keep clear of a kernel that lies low', () => {
    const { boot } = load(makeElf({ load: 0x1000, memorySize: 0x1_0000, pvh: 0x1000 }));
    expect(Number(boot.gpr?.rbx)).toBeGreaterThanOrEqual(0x1_1000);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['no PVH entry', makeElf(), /^boot\/kernel is a 64-bit ELF file with neither a PVH entry nor a multiboot header/],
    [
      'AArch64',
      makeElf({ machine: 183 }),
      /^boot\/kernel is for another architecture \(AArch64\), this machine is x86$/,
    ],
    ['RISC-V', makeElf({ machine: 243 }), /another architecture \(RISC-V\)/],
    ['truncated', makeElf({ pvh: MIB }).subarray(0, 4200), /^boot\/kernel is truncated/],
    ['beyond memory', makeElf({ pvh: MIB, load: 60 * MIB, memorySize: 8 * MIB }), /memory is too small: .* \(68 MiB\)/],
    ['over the BIOS area', makeElf({ pvh: MIB, load: 0xe_0000 }), /wants memory at 0xe0000 that is not free RAM/],
    ['above 4 GiB', makeElf({ pvh: MIB, load: 4 * GIB }), /wants to be loaded above 4 GiB/],
  ])('%s: one clear line', (_, kernel, message) => {
    expect(() => load(kernel)).toThrow(message);
  });
});

describe('multiboot (specification 0.6.96)', () => {
  const modules = [
    { name: 'dir/first', data: new Uint8Array(100).fill(1), arguments: 'a b' },
    { name: 'second', data: new Uint8Array(5000).fill(2) },
  ];

  it('ELF: information in EBX with memory, command line, modules, map and name', () => {
    const { boot, memory, description } = load(makeElf({ bits: 32, multiboot: 7, entry: MIB + 0x20 }), { modules });
    expect(description).toBe('multiboot kernel');
    expect([boot.rip, boot.gpr?.rax]).toEqual([0x10_0020n, 0x2bad_b002n]);
    const { view } = memory;
    const info = Number(boot.gpr?.rbx);
    const field = (at: number): number => view.getUint32(info + at, true);
    expect([field(4), field(8)]).toEqual([639, 63 * 1024]);
    expect(memory.cstring(field(16))).toBe('kernel console=ttyS0');
    expect(field(20)).toBe(2);
    const words = [0, 1, 2, 3, 4, 5, 6].map((i) => view.getUint32(field(24) + 4 * i, true));
    expect(words[1] - words[0]).toBe(100);
    expect([memory.cstring(words[2]), memory.cstring(words[6])]).toEqual(['first a b', 'second']);
    expect(words[4] % 4096).toBe(0);
    expect(memory.bytes(words[4], 5000)).toEqual(modules[1].data);
    expect(field(44)).toBe(4 * 24);
    expect(view.getUint32(field(48), true)).toBe(20);
    expect(memory.cstring(field(64))).toBe('Vitrine');
    // EGA text, 80 × 25.
    expect([view.getUint8(info + 109), field(100), field(104)]).toEqual([2, 80, 25]);
  });

  it('the entry of a kernel linked high is where its segment lies', () => {
    const image = makeElf({ bits: 32, multiboot: 0, virtual: 0xc010_0000, entry: 0xc010_0040 });
    expect(load(image).boot.rip).toBe(0x10_0040n);
  });

  it('addresses in the header: load, end, bss and entry (§3.1.3)', () => {
    const image = new Uint8Array(1000).fill(0x5a);
    const view = new DataView(image.buffer);
    const flags = 0x1_0000;
    // The header stands at 64 in the file; the text starts 32 bytes before it.
    const header = [0x1bad_b002, flags, (-0x1bad_b002 - flags) >>> 0];
    header.push(0x20_0020, 0x20_0000, 0x20_0100, 0x20_0400, 0x20_0030);
    header.forEach((word, i) => view.setUint32(64 + 4 * i, word, true));
    const { boot, memory } = load(image);
    expect(boot.rip).toBe(0x20_0030n);
    expect(memory.bytes(0x20_0000, 256)).toEqual(image.slice(32, 32 + 256));
    expect(memory.bytes(0x20_0100, 0x300).every((byte) => byte === 0)).toBe(true);
    view.setUint32(64 + 20, 0x20_1000, true);
    expect(() => load(image)).toThrow(/^boot\/kernel is truncated/);
  });

  it('comes before PVH when a kernel has both, gzip’ed or not', () => {
    const both = makeElf({ bits: 32, multiboot: 3, pvh: MIB });
    expect(load(both).description).toBe('multiboot kernel');
    expect(load(gzipSync(both)).description).toBe('multiboot kernel');
  });

  it('refuses features that it does not know', () => {
    expect(() => load(makeElf({ bits: 32, multiboot: 0x100 }))).toThrow(/wants multiboot features .* \(flags 0x100\)/);
  });
});

describe('files that are no kernels', () => {
  const at = (offset: number, ...bytes: number[]): Uint8Array => {
    const file = new Uint8Array(40_000);
    file.set(bytes, offset);
    return file;
  };
  it.each<[string, Uint8Array, RegExp]>([
    ['empty', new Uint8Array(), /^boot\/kernel is empty$/],
    ['short', new Uint8Array(10), /^boot\/kernel is truncated, or not a kernel: it has only 10 bytes$/],
    ['zeros', new Uint8Array(4096), /^boot\/kernel is not a kernel/],
    ['arm64 Image', at(0x38, 0x41, 0x52, 0x4d, 0x64), /another architecture \(AArch64\)/],
    ['riscv Image', at(0x38, 0x52, 0x53, 0x43, 5), /another architecture \(RISC-V\)/],
    ['gzip’ed arm64 Image', gzipSync(at(0x38, 0x41, 0x52, 0x4d, 0x64)), /another architecture \(AArch64\)/],
    ['damaged gzip', gzipSync(makeBzImage()).subarray(0, 50), /damaged or truncated: it does not unpack with gzip/],
    ['xz', at(0, 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), /is compressed with xz/],
    ['a disk', at(510, 0x55, 0xaa), /is a boot sector or disk image/],
    ['a CD-ROM', at(0x8001, 0x43, 0x44, 0x30, 0x30, 0x31), /is a CD-ROM image/],
  ])('%s: one clear line', (_, file, message) => {
    let caught: unknown;
    try {
      load(file);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(Error);
    expect((caught as Error).name).toBe('UsageError');
    expect((caught as Error).message).toMatch(message);
    expect((caught as Error).message).not.toContain('\n');
  });

  it.each<[string, Uint8Array, from: number, to: number]>([
    ['an ELF file', makeElf({ bits: 64, pvh: MIB }), 4, 2068],
    ['a multiboot kernel', makeElf({ bits: 32, multiboot: 0x1_0003 }), 4096 + 12, 4096 + 32],
    ['a bzImage', makeBzImage(), 0x1f1, 0x264],
  ])('survives any damage to %s with at most a UsageError', (_, image, from, to) => {
    const memory = new TestMemory();
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let i = 0; i < 500; i++) {
      const damaged = image.slice();
      for (let n = 0; n < 4; n++) damaged[from + random(to - from)] = random(256);
      try {
        loadKernel(memory, request(damaged, { modules: [initrd] }));
      } catch (error) {
        expect((error as Error).name, String(error)).toBe('UsageError');
      }
    }
  });
});
