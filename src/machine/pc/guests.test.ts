/** Guests without an operating system, or that are one of another kind. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { MIB } from '../../base/units.js';
import { startMachine } from '../../testing/machine-process.js';
import { describeWith, requireGuest } from '../../testing/tools.js';
import type { BootSource } from '../common/board.js';

const seabios = await requireGuest('seabios');
const invaders = await requireGuest('grub-invaders');
const xen = await requireGuest('xen');
const linux = await requireGuest('amd64');

const start = (boot: BootSource, memory = 64 * MIB): ReturnType<typeof startMachine> => {
  const config = { cpu: 'x86-64-v2', memory, boot, disks: [], debugExit: false } as const;
  return startMachine({ kind: 'create', config: { ...config, noReboot: true, clock: 'host' } });
};

describeWith([invaders], 'a multiboot kernel', () => {
  it('draws its screen: GRUB Invaders', async () => {
    const name = 'invaders.exec';
    const data = readFileSync(invaders.files[name]);
    const machine = await start({ kernel: { name, data, commandLine: '', modules: [] } });
    // Five rows of invaders, and the ship below.
    const rows = await machine.screenWith(/(-\*-[^]*){20}\/ \\/);
    expect(rows).toHaveLength(25);
    await machine.stop();
  });
});

describeWith([seabios], 'a BIOS', () => {
  it('runs from reset to "No bootable device": SeaBIOS', async () => {
    const name = 'bios-256k.bin';
    const machine = await start({ bios: { name, image: readFileSync(seabios.files[name]) } });
    await machine.serialWith(/No bootable device/);
    const log = machine.output['debug'];
    expect(log).toMatch(/Running on QEMU|RamSize|e820 map has/);
    expect(log).toContain('Machine UUID');
    await machine.stop();
  });
});

describeWith([xen, linux], 'Xen', () => {
  it('prints its banner, finds its memory and unpacks dom0', async () => {
    const { vmlinuz } = linux.files;
    const dom0 = { name: vmlinuz, data: readFileSync(vmlinuz), arguments: 'console=hvc0' };
    const data = readFileSync(xen.files['xen.gz']);
    const commandLine = 'console=com1 com1=115200,8n1';
    const machine = await start({ kernel: { name: 'xen.gz', data, commandLine, modules: [dom0] } }, 512 * MIB);
    await machine.serialWith(/^\(XEN\) Xen version 4\.17/m);
    await machine.serialWith(/^\(XEN\) System RAM: 511MB/m);
    await machine.serialWith(/^\(XEN\) PHYSICAL MEMORY ARRANGEMENT/m);
    await machine.stop();
  });
});
