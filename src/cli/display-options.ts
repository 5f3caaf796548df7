/** Options of `vitrine run` for the machine's screen. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { readWholeFile } from '../host/node/read-file.js';
import { INPUT_KINDS } from '../machine/pc/display-kinds.js';
import { DEFAULT_MACHINE, type DisplayConfig, type MachineKind } from '../vmm/config.js';

export interface DisplayOptions {
  readonly vga?: string;
  readonly vgaRom?: string;
  readonly input?: string;
}

export function addDisplayOptions(command: Command): Command {
  return command
    .option(
      '--vga <kind>',
      'the display adapter: std (VGA and Bochs modes), virtio (a virtio GPU besides) or none; std unless the machine is a microvm, which has no VGA',
    )
    .option('--vga-rom <file>', 'the video BIOS; otherwise that of SeaBIOS, if it is installed')
    .option(
      '--input <kind>',
      'keyboard and pointer: ps2, or virtio (a keyboard and a tablet) besides; a microvm has those of virtio alone',
    );
}

/** Adapters, with the file names that their video BIOS has at SeaBIOS. */
const ADAPTERS = { std: 'vgabios-stdvga.bin', virtio: 'vgabios-virtio.bin', none: undefined } as const;

/** Where distributions put SeaBIOS. */
const FOLDERS = ['/usr/share/seabios', '/usr/share/vgabios', '/usr/share/qemu', '/usr/local/share/qemu'];
/** PCI 3.0 §6.3.1.1: the first bytes of an expansion ROM. */
const ROM_SIGNATURE = [0x55, 0xaa] as const;
const MOST_ROM = 0x10_0000;

/** What a machine has when nothing else is asked for. */
const DEFAULTS = { pc: { vga: 'std', input: 'ps2' }, microvm: { vga: 'none', input: undefined } } as const;

/** What was asked for; `bios` is the BIOS image that will look for a video BIOS, if there is one. */
export function configureDisplay(
  options: DisplayOptions,
  bios: string | undefined,
  machine: MachineKind = DEFAULT_MACHINE,
): DisplayConfig {
  const { vgaRom } = options;
  if (machine === 'microvm' && options.input === 'ps2')
    throw new UsageError('the machine microvm has no PS/2 keyboard and mouse; --input virtio gives it others');
  const vga = options.vga ?? DEFAULTS[machine].vga;
  // Who sees a screen can also type.
  const input = options.input ?? DEFAULTS[machine].input ?? (vga === 'none' ? 'ps2' : 'virtio');
  if (!isAdapter(vga))
    throw new UsageError(`unknown display adapter "${vga}"; there are ${Object.keys(ADAPTERS).join(', ')}`);
  if (!isOneOf(input, INPUT_KINDS))
    throw new UsageError(`unknown kind of input "${input}"; there are ${INPUT_KINDS.join(', ')}`);
  if (vgaRom !== undefined) {
    if (vga === 'none') throw new UsageError('--vga-rom needs a display adapter, and --vga none takes it away');
    return { vga, rom: readRom(vgaRom), input };
  }
  const file = bios === undefined ? undefined : find(ADAPTERS[vga], bios);
  return { vga, rom: file === undefined ? null : readRom(file), input };
}

const isAdapter = (name: string): name is keyof typeof ADAPTERS => Object.hasOwn(ADAPTERS, name);

const isOneOf = <T extends string>(name: string, all: readonly T[]): name is T => all.some((one) => one === name);

function find(name: string | undefined, bios: string): string | undefined {
  if (name === undefined) return undefined;
  return [path.dirname(bios), ...FOLDERS].map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
}

function readRom(file: string): Uint8Array {
  const rom = readWholeFile(file, 'video BIOS');
  if (rom.length > MOST_ROM || ROM_SIGNATURE.some((byte, i) => rom[i] !== byte))
    throw new UsageError(`${file} is no video BIOS: an expansion ROM begins with the bytes 55 aa`);
  return rom;
}
