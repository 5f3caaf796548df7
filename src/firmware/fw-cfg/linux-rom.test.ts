import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeWith, requireTool } from '../../testing/tools.js';
import { viewOf } from '../bytes.js';
import { linuxRom } from './linux-rom.js';

const copies = [
  { key: 0x11, address: 0x10_0000, length: 0x12_3456 },
  { key: 0x18, address: 0x1_0000, length: 0x4000 },
];

describe('the option ROM for Linux', () => {
  const image = linuxRom(copies, 0x1_0000);
  const view = viewOf(image);
  const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

  it('has the headers that a BIOS looks for (Plug and Play BIOS 1.0A §3)', () => {
    expect([view.getUint16(0, true), image.length]).toEqual([0xaa55, view.getUint8(2) * 512]);
    expect(sum(image)).toBe(0);
    const pnp = view.getUint16(0x1a, true);
    expect(String.fromCharCode(...image.subarray(pnp, pnp + 4))).toBe('$PnP');
    expect(sum(image.subarray(pnp, pnp + 32))).toBe(0);
    const product = view.getUint16(pnp + 0x10, true);
    expect(String.fromCharCode(...image.subarray(product, product + 12))).toBe('Linux kernel');
  });

  it('has a big-endian DMA structure for each copy', () => {
    const control = (0x11 << 16) | 0x0a;
    let at = 0;
    while (view.getUint32(at) !== control) at++;
    expect(view.getUint32(at + 4)).toBe(0x12_3456);
    expect(view.getBigUint64(at + 8)).toBe(0x10_0000n);
    expect(view.getUint32(at + 16)).toBe((0x18 << 16) | 0x0a);
  });
});

const ndisasm = await requireTool('ndisasm', 'nasm');
describeWith([ndisasm], 'the option ROM’s code against nasm', () => {
  it('is what its comments say', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vitrine-rom-'));
    try {
      const image = linuxRom(copies, 0x1_0000);
      await writeFile(join(folder, 'rom'), image);
      const { stdout } = await ndisasm.run(['-b', '16', '-o', '0x40', '-e', '0x40', join(folder, 'rom')]);
      const lines = stdout.split('\n').map((line) => ({ at: line.slice(0, 8), code: line.slice(28) }));
      const code = lines.map((line) => line.code);
      const end = code.indexOf('int 0x18');
      // Addresses that depend on the table's place are looked at below.
      const shapes = code.slice(0, end + 1).map((line) => line.replace(/^(jnz|mov si,).*/, '$1'));
      expect(shapes).toEqual([
        ...['cli', 'cld', 'xor ax,ax', 'mov ss,ax', 'mov sp,0x7c00', 'mov es,ax', 'push cs', 'pop ds'],
        ...['mov si,', 'mov bp,0x2'],
        ...['mov di,0x7c00', 'mov cx,0x8', 'rep movsw', 'mov dx,0x514', 'xor eax,eax', 'out dx,eax', 'mov dl,0x18'],
        ...['mov eax,0x7c0000', 'out dx,eax', 'mov eax,[es:0x7c00]', 'test eax,0x1000000'],
        ...['jnz', 'test eax,eax', 'jnz', 'dec bp'],
        ...['jnz', 'mov ax,0x1000', 'mov ds,ax', 'mov es,ax', 'mov fs,ax', 'mov gs,ax'],
        ...['mov ss,ax', 'mov sp,0xfff0', 'jmp 0x1020:0x0', 'sti', 'int 0x18'],
      ]);
      const jumps = code.filter((line) => line.startsWith('jnz')).map((line) => Number(/0x\w+/.exec(line)?.[0]));
      const target = (index: number): string =>
        lines[lines.findIndex(({ at }) => Number(`0x${at}`) === jumps[index])].code;
      expect([target(0), target(1), target(2)]).toEqual(['sti', 'mov eax,[es:0x7c00]', 'mov di,0x7c00']);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
