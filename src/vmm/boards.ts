/** The boards that there are, by their names. */
import { assertNever } from '../base/assert.js';
import { UsageError } from '../base/errors.js';
import type { BoardBuilder } from '../machine/common/board.js';
import { MicroVmBuilder } from '../machine/microvm/build.js';
import { PcBuilder } from '../machine/pc/build.js';
import type { PcBootOptions } from '../machine/pc/boot-order.js';
import type { PcFlash } from '../machine/pc/flash.js';
import { DEFAULT_DISPLAY, DEFAULT_MACHINE, type MachineConfig } from './config.js';

export type MachineBuilder = BoardBuilder<PcBootOptions>;

/** Throws a one-line error when there can be no such machine. `tscHz`: ticks of the time-stamp counter per second. */
export function createBuilder(config: MachineConfig, flash: readonly PcFlash[], tscHz: number): MachineBuilder {
  const {
    machine = DEFAULT_MACHINE,
    cpu,
    cpus = 1,
    memory: ramSize,
    boot,
    debugExit,
    display = DEFAULT_DISPLAY,
  } = config;
  const { vga, rom, input } = display;
  switch (machine) {
    case 'pc':
      return new PcBuilder({
        cpu,
        cpus,
        ramSize,
        debugExit,
        boot,
        display: { vga, rom: rom ?? undefined, input },
        flash,
        tscHz,
      });
    case 'microvm':
      if (boot.bios || flash.length > 0) throw new UsageError('the machine microvm has no firmware: give it a kernel');
      if (vga !== 'none' && vga !== 'virtio')
        throw new UsageError('the machine microvm has no VGA: --vga virtio is a virtio GPU there, --vga none nothing');
      return new MicroVmBuilder({
        cpu,
        cpus,
        ramSize,
        debugExit,
        kernel: boot.kernel,
        gpu: vga === 'virtio',
        input,
        tscHz,
      });
    default:
      return assertNever(machine);
  }
}
