import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testBoard } from '../../testing/board.js';
import { describeWith, requireTool } from '../../testing/tools.js';
import { viewOf } from '../bytes.js';
import { buildAcpi, relocate } from './build.js';

const BASE = 0xe_0040;

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
const text = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + length));

/** Walks the tables from the root pointer as a guest does. */
function walk(board = testBoard): { tables: Map<string, Uint8Array>; facsAt: number } {
  const acpi = buildAcpi(board);
  const memory = relocate(acpi.tables, BASE);
  const rsdp = relocate(acpi.rsdp, BASE);
  const at = (address: number): Uint8Array => {
    const offset = address - BASE;
    return memory.subarray(offset, offset + viewOf(memory).getUint32(offset + 4, true));
  };
  expect(text(rsdp, 0, 8)).toBe('RSD PTR ');
  expect(sum(rsdp.subarray(0, 20))).toBe(0);
  expect(sum(rsdp)).toBe(0);
  const xsdt = at(Number(viewOf(rsdp).getBigUint64(24, true)));
  const rsdt = at(viewOf(rsdp).getUint32(16, true));
  const tables = new Map<string, Uint8Array>([
    ['XSDT', xsdt],
    ['RSDT', rsdt],
  ]);
  const entries = (xsdt.length - 36) / 8;
  expect((rsdt.length - 36) / 4).toBe(entries);
  for (let i = 0; i < entries; i++) {
    const address = Number(viewOf(xsdt).getBigUint64(36 + 8 * i, true));
    expect(viewOf(rsdt).getUint32(36 + 4 * i, true)).toBe(address);
    tables.set(text(at(address), 0, 4), at(address));
  }
  const fadt = tables.get('FACP');
  if (fadt === undefined) throw new Error('no FADT');
  const view = viewOf(fadt);
  expect(Number(view.getBigUint64(140, true))).toBe(view.getUint32(40, true));
  tables.set('DSDT', at(view.getUint32(40, true)));
  const facsAt = view.getUint32(36, true);
  expect(text(at(facsAt), 0, 4)).toBe('FACS');
  return { tables, facsAt };
}

describe('ACPI tables', () => {
  it('are found from the root pointer, with right checksums', () => {
    const { tables, facsAt } = walk();
    expect([...tables.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'HPET', 'MCFG', 'RSDT', 'XSDT']);
    for (const [signature, bytes] of tables) {
      expect(text(bytes, 0, 4)).toBe(signature);
      expect(sum(bytes), signature).toBe(0);
    }
    expect(facsAt % 64).toBe(0);
  });

  it('leave out what the board lacks', () => {
    const { hpet: _hpet, ecam: _ecam, fwCfg: _fwCfg, ...rest } = testBoard;
    const { tables } = walk({ ...rest, mouse: false, vga: false });
    expect(tables.has('HPET')).toBe(false);
    expect(tables.has('MCFG')).toBe(false);
  });

  it('tell of no more buses than there are', () => {
    const { ecam } = testBoard;
    const { tables } = walk({ ...testBoard, ecam: { base: 0xb000_0000, size: ecam?.size ?? 0, buses: 3 } });
    const mcfg = viewOf(tables.get('MCFG') ?? new Uint8Array());
    expect(mcfg.getUint32(44, true)).toBe(0xb000_0000);
    expect([54, 55].map((at) => mcfg.getUint8(at))).toEqual([0, 2]);
  });

  it('tell the ports of an ICH9, and no SMI command', () => {
    const fadt = viewOf(walk().tables.get('FACP') ?? new Uint8Array());
    expect(fadt.getUint32(48, true)).toBe(0);
    expect([56, 64, 76, 80].map((at) => fadt.getUint32(at, true))).toEqual([0x600, 0x604, 0x608, 0x620]);
    expect(fadt.getUint16(46, true)).toBe(9);
    expect(Number(fadt.getBigUint64(120, true))).toBe(0xcf9);
  });
});

const iasl = await requireTool('iasl', 'acpica-tools');
const acpiexec = await requireTool('acpiexec', 'acpica-tools');
describeWith([iasl, acpiexec], 'ACPI tables against ACPICA', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'vitrine-acpi-'));
    for (const [signature, bytes] of walk().tables) await writeFile(join(folder, `${signature}.dat`), bytes);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('every table disassembles and compiles again, to the same AML', async () => {
    for (const signature of ['APIC', 'DSDT', 'FACP', 'HPET', 'MCFG', 'XSDT']) {
      await iasl.run(['-d', join(folder, `${signature}.dat`)]);
      // No optimisation: the bytes are compared.
      const again = join(folder, `${signature}-again`);
      const { stdout, stderr } = await iasl.run(['-oa', '-p', again, join(folder, `${signature}.dsl`)]);
      expect(stdout + stderr, signature).toMatch(/0 Errors, 0 Warnings/);
      const original = await readFile(join(folder, `${signature}.dat`));
      const compiled = await readFile(`${again}.aml`);
      // Headers differ: the compiler names itself and so changes the checksum.
      expect(compiled.subarray(36).equals(original.subarray(36)), signature).toBe(true);
    }
  });

  const execute = async (file: string, ...commands: string[]): Promise<string> =>
    (await acpiexec.run(['-b', commands.join(';'), join(folder, `${file}.dat`)])).stdout;

  it('routes interrupts by link before, by global interrupt after _PIC(1)', async () => {
    // Fewer slots, for the debugger's buffer.
    const few = { ...testBoard.pci, routes: testBoard.pci.routes.slice(0, 8) };
    const dsdt = walk({ ...testBoard, pci: few }).tables.get('DSDT') ?? new Uint8Array();
    await writeFile(join(folder, 'few.dat'), dsdt);
    const byLink = await execute('few', 'evaluate \\_PIC 0', 'evaluate \\_SB.PCI0._PRT');
    expect(byLink).toMatch(/Contains 32 Elements/);
    expect(byLink).toMatch(/LNKE/);
    const byGsi = await execute('few', 'evaluate \\_PIC 1', 'evaluate \\_SB.PCI0._PRT');
    expect(byGsi).not.toMatch(/LNKE/);
    // Slot 7, INTD#: PIRQG, GSI 22.
    expect(byGsi).toMatch(/= 000000000007FFFF\s+\[Integer\] = 0+3\s+\[Integer\] = 0+\s+\[Integer\] = 0+16/);
  });

  it('a link is enabled, set and disabled through the bridge’s registers', async () => {
    const state = await execute(
      'DSDT',
      'evaluate \\_SB.LNKA._DIS',
      'evaluate \\_SB.LNKA._STA',
      'evaluate \\_SB.LNKA._SRS (89 06 00 0D 01 0A 00 00 00 79 00)',
      'evaluate \\_SB.LNKA._STA',
      'evaluate \\_SB.LNKA._CRS',
    );
    expect(state).toMatch(/= 0+9[\s\S]*= 0+B/);
    expect(state).toMatch(/89 06 00 0D 01 0A 00 00 00 79/);
  });

  it('powers off with the sleep type of the board', async () => {
    expect(await execute('DSDT', 'evaluate \\_S5')).toMatch(/Contains 4 Elements:\s+\[Integer\] = 0+7\b/);
  });
});
