/** Guests without an operating system, or that are one of another kind. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { MIB } from '../../base/units.js';
import { startMachine } from '../../testing/machine-process.js';
import { describeWith, requireGuest } from '../../testing/tools.js';
import type { PcBoot } from './build.js';

const seabios = await requireGuest('seabios');
const invaders = await requireGuest('grub-invaders');

const start = (boot: PcBoot): ReturnType<typeof startMachine> => {
  const config = { cpu: 'x86-64-v2', memory: 64 * MIB, boot, disks: [], debugExit: false } as const;
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
    while (!machine.output['serial']?.includes('No bootable device'))
      await new Promise((resolve) => setTimeout(resolve, 50));
    const log = machine.output['debug'];
    expect(log).toMatch(/Running on QEMU|RamSize|e820 map has/);
    expect(log).toContain('Machine UUID');
    await machine.stop();
  });
});
