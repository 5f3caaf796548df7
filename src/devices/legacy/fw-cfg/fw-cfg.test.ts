import { beforeEach, describe, expect, it } from 'vitest';
import { gpa } from '../../../base/units.js';
import { FakeMemory } from '../../../host/fake/memory.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { FW_CFG, FwCfg } from './fw-cfg.js';

const text = (bytes: Iterable<number>): string => String.fromCharCode(...bytes);
const bytes = (string: string): Uint8Array => Uint8Array.from(string, (c) => c.charCodeAt(0));

describe('fw_cfg', () => {
  let memory: FakeMemory;
  let cfg: FwCfg;
  beforeEach(() => {
    memory = new FakeMemory();
    cfg = new FwCfg(memory);
  });
  const read = (key: number, length: number): number[] => {
    cfg.ports.write(0, 2, key);
    return Array.from({ length }, () => cfg.ports.read(1, 1));
  };
  /** Runs a DMA structure at 0x1000 and returns its control field afterwards. */
  const dma = (control: number, length: number, address: number): number => {
    const view = new DataView(memory.bytes.buffer);
    view.setUint32(0x1000, control);
    view.setUint32(0x1004, length);
    view.setBigUint64(0x1008, BigInt(address));
    cfg.dmaPorts.write(0, 4, 0);
    cfg.dmaPorts.write(4, 4, 0x0010_0000);
    return view.getUint32(0x1000);
  };

  it('shows its signature, its features and that it can do DMA', () => {
    expect(text(read(FW_CFG.SIGNATURE, 4))).toBe('QEMU');
    expect(read(FW_CFG.ID, 4)).toEqual([3, 0, 0, 0]);
    expect([cfg.dmaPorts.read(0, 4), cfg.dmaPorts.read(4, 4)]).toEqual([0x554d_4551, 0x4746_4320]);
    expect(cfg.dmaPorts.read(2, 2)).toBe(0x554d);
  });

  it('gives items byte by byte, zeros beyond them and for unknown keys', () => {
    cfg.addU16(FW_CFG.NB_CPUS, 2);
    cfg.addU64(FW_CFG.RAM_SIZE, 0x1_2000_0000n);
    cfg.addText(FW_CFG.CMDLINE_DATA, 'quiet');
    expect(read(FW_CFG.NB_CPUS, 4)).toEqual([2, 0, 0, 0]);
    expect(read(FW_CFG.RAM_SIZE, 8)).toEqual([0, 0, 0, 0x20, 1, 0, 0, 0]);
    expect(text(read(FW_CFG.CMDLINE_DATA, 6))).toBe('quiet\0');
    expect(read(0x7777, 2)).toEqual([0, 0]);
    cfg.ports.write(0, 2, FW_CFG.NB_CPUS);
    cfg.ports.write(0, 1, 0xff);
    expect(cfg.ports.read(1, 1)).toBe(2);
  });

  it('has what takes time made when the guest looks, once', () => {
    let made = 0;
    cfg.addLate(() => {
      made++;
      cfg.addFile('opt/late', bytes('late'));
    });
    expect(cfg.save().written).toEqual([]);
    expect(made).toBe(0);
    expect(read(FW_CFG.FILE_DIR, 4)).toEqual([0, 0, 0, 1]);
    expect(text(read(FW_CFG.FILE_FIRST, 4))).toBe('late');
    expect(made).toBe(1);
  });

  it('lists files in the directory', () => {
    const first = cfg.addFile('etc/e820', bytes('1234'));
    cfg.addFile('opt/x', bytes('12'));
    cfg.addFile('etc/e820', bytes('12345'));
    const directory = Uint8Array.from(read(FW_CFG.FILE_DIR, 4 + 2 * 64));
    const view = new DataView(directory.buffer);
    expect([view.getUint32(0), view.getUint32(4), view.getUint16(8)]).toEqual([2, 5, first]);
    expect(text(directory.subarray(12, 21))).toBe('etc/e820\0');
    expect(text(read(view.getUint16(4 + 64 + 4), 2))).toBe('12');
  });

  it('reads by DMA, with select and skip, zeros beyond the end', () => {
    const key = cfg.addFile('f', bytes('abcdefgh'));
    memory.bytes.fill(0xee, 0x2000, 0x2020);
    expect(dma((key << 16) | 0x0a, 3, 0x2000)).toBe(0);
    expect(dma(0x04, 2, 0)).toBe(0);
    expect(dma(0x02, 8, 0x2003)).toBe(0);
    expect(text(memory.bytes.subarray(0x2000, 0x200c))).toBe('abcfgh\0\0\0\0\0\xee');
    expect(dma(0x04, 0xffff_ffff, 0)).toBe(0);
    expect(dma((key << 16) | 0x08, 0, 0)).toBe(0);
    expect(cfg.ports.read(1, 1)).toBe(0x61);
  });

  it('writes only what is writable, and tells', () => {
    let told = 0;
    const data = new Uint8Array(4);
    const open = cfg.addFile('open', data, { writable: true, onWrite: () => told++ });
    const closed = cfg.addFile('closed', new Uint8Array(4));
    memory.write(gpa(0x2000), bytes('wxyz'));
    expect(dma((open << 16) | 0x18, 4, 0x2000)).toBe(0);
    expect([text(data), told]).toEqual(['wxyz', 1]);
    expect(dma((open << 16) | 0x18, 5, 0x2000)).toBe(1);
    expect(dma((closed << 16) | 0x18, 4, 0x2000)).toBe(1);
  });

  it('survives addresses that are not there', () => {
    expect(dma(0x02, 0xffff_ffff, 0xffff_0000)).toBe(1);
    cfg.dmaPorts.write(0, 4, 0xffff_ffff);
    cfg.dmaPorts.write(4, 4, 0xffff_ffff);
    cfg.dmaPorts.write(4, 2, 0);
  });
});

snapshotSuite('fw_cfg', {
  create() {
    const cfg = new FwCfg(new FakeMemory());
    cfg.addFile('etc/vmcoreinfo', new Uint8Array(4), { writable: true });
    cfg.addText(FW_CFG.CMDLINE_DATA, 'console=ttyS0');
    return cfg;
  },
  change(cfg) {
    cfg.ports.write(0, 2, FW_CFG.CMDLINE_DATA);
    cfg.ports.read(1, 1);
    cfg.restore({ ...cfg.save(), written: [{ key: FW_CFG.FILE_FIRST, data: Uint8Array.of(1, 2, 3, 4) }] });
    cfg.dmaPorts.write(0, 4, 0x0100_0000);
  },
  observe: (cfg) => Array.from({ length: 4 }, () => cfg.ports.read(1, 1)),
});
