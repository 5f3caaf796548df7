/** What `--boot`, `--pflash` and `--bios` say, as the machine's description. */
import * as fs from 'node:fs';
import type { Command } from 'commander';
import { HostError, UsageError } from '../base/errors.js';
import { cacheRoot, findBootRom, findFirmware, type ToolOptions } from '../guests/index.js';
import { readWholeFile, reasonOf } from '../host/node/read-file.js';
import { NIC_MODELS } from '../iface/net-config.js';
import { checkFlashSize } from '../machine/pc/flash.js';
import { BOOT_LETTERS, type BootLetter } from '../machine/pc/boot-order.js';
import type { BiosImage } from '../machine/common/board.js';
import {
  DEFAULT_FIRMWARE,
  type BootConfig,
  type FirmwareConfig,
  type FlashConfig,
  type NetRomConfig,
} from '../vmm/firmware-config.js';
import { splitCommas } from './parse.js';
import { interruptibleProgress } from './progress-line.js';

export interface BootOptions {
  readonly bios?: string;
  readonly pflash?: readonly string[];
  readonly boot?: string;
}

export const BOOT_HELP = `
Firmware is a file, or a name: --bios seabios, and --bios ovmf[,vars=FILE]. FILE keeps OVMF's
variables and is made if it is not there; without it they are kept in the machine and its
snapshots. --pflash gives flash chips by themselves, the one with the code first:
  --pflash OVMF_CODE.fd,readonly --pflash my_VARS.fd

--boot is an order of letters (a floppies, c disks, d CDs, n network), or words:
  order=dc               what to try, in this order
  once=d                 the order of the first start, until the guest resets the machine
  menu=on                offer a menu, for splash-time=MS milliseconds
  strict=on              nothing but what order= names`;

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function addBootOptions(command: Command): Command {
  return command
    .option('--bios <file|name>', 'firmware: seabios, ovmf, or a BIOS image; it is handed --kernel, if there is one')
    .option('--pflash <file[,readonly]>', 'a flash chip with firmware, or with its variables', collect)
    .option('--boot <order|words>', 'what the firmware boots from; see below');
}

function parseOrder(text: string): BootLetter[] {
  const letters = Array.from(text).map((letter) => {
    const known = BOOT_LETTERS.find((one) => one === letter);
    if (known === undefined)
      throw new UsageError(`--boot does not know the letter "${letter}"; there are ${BOOT_LETTERS.join(', ')}`);
    return known;
  });
  if (letters.length === 0) throw new UsageError('--boot names nothing to boot from');
  if (new Set(letters).size < letters.length) throw new UsageError(`--boot ${text} names something twice`);
  return letters;
}

function parseSwitch(key: string, value: string): boolean {
  if (value === 'on' || value === 'off') return value === 'on';
  throw new UsageError(`--boot ${key}=${value} is neither on nor off`);
}

function parseMilliseconds(value: string): number {
  if (!/^\d+$/.test(value) || Number(value) > 0xffff)
    throw new UsageError(`--boot splash-time=${value} is not a number of milliseconds up to 65535`);
  return Number(value);
}

/** `dc`, or `order=dc,once=d,menu=on,splash-time=3000,strict=on`. */
export function parseBoot(text: string): BootConfig {
  const boot: { -readonly [K in keyof BootConfig]: BootConfig[K] } = { ...DEFAULT_FIRMWARE.boot };
  for (const [i, word] of splitCommas(text).entries()) {
    const [, key, value] = /^([a-z-]+)=(.*)$/.exec(word) ?? [undefined, undefined, word];
    if (key === 'order' || (key === undefined && i === 0)) boot.order = parseOrder(value);
    else if (key === 'once') boot.once = parseOrder(value);
    else if (key === 'menu') boot.menu = parseSwitch(key, value);
    else if (key === 'strict') boot.strict = parseSwitch(key, value);
    else if (key === 'splash-time') boot.menuWait = parseMilliseconds(value);
    else throw new UsageError(`--boot does not know "${word}"; there are order, once, menu, splash-time, strict`);
  }
  if (boot.strict && boot.order.length === 0) throw new UsageError('--boot strict=on needs order=');
  return boot;
}

export function parseFlash(text: string): FlashConfig {
  const [path, ...words] = splitCommas(text);
  if (path === '') throw new UsageError(`--pflash ${text} names no file`);
  for (const word of words)
    if (word !== 'readonly') throw new UsageError(`--pflash does not know "${word}"; there is readonly`);
  return { path, readOnly: words.includes('readonly'), volatile: false };
}

export interface ConfiguredFirmware {
  readonly bios: BiosImage | undefined;
  readonly config: FirmwareConfig | undefined;
  /** The image's file, beside which others of the same firmware may be. */
  readonly file: string | undefined;
}

/** What was asked for; firmware that is asked for by name is found, or fetched with progress on stderr. */
export async function configureFirmware({ bios, pflash = [], boot }: BootOptions): Promise<ConfiguredFirmware> {
  const order = boot === undefined ? DEFAULT_FIRMWARE.boot : parseBoot(boot);
  const flash = pflash.map(parseFlash);
  for (const { path } of flash) checkFlash(path);
  if (bios !== undefined && flash.length > 0) throw new UsageError('give either --bios or --pflash');
  if (boot !== undefined && bios === undefined && flash.length === 0)
    throw new UsageError('--boot needs firmware: --bios seabios, for instance');
  // What takes its time at each start is there when it is asked for.
  const network = order.order.includes('n') || order.once?.includes('n') === true;
  const netRoms = network ? await bootRoms() : [];
  const config = (chips: readonly FlashConfig[]): FirmwareConfig | undefined =>
    boot === undefined && chips.length === 0 ? undefined : { boot: order, flash: chips, netRoms };
  if (bios === undefined) return { bios: undefined, config: config(flash), file: flash.at(0)?.path };
  const [name, ...words] = splitCommas(bios);
  if (name === 'ovmf') {
    const { code, variables } = await named('ovmf');
    return { bios: undefined, config: config(ovmfChips(code, variables, words)), file: code };
  }
  if (name !== 'seabios' && words.length === 0) return { bios: biosFile(bios), config: config([]), file: bios };
  // Commas belong to the name of a file.
  if (name !== 'seabios') return { bios: biosFile(bios), config: config([]), file: bios };
  if (words.length > 0) throw new UsageError(`--bios seabios does not know "${words[0]}"`);
  const { code } = await named('seabios');
  return { bios: biosFile(code), config: config([]), file: code };
}

const biosFile = (file: string): BiosImage => ({ name: file, image: readWholeFile(file, 'BIOS image') });

/** Files of iPXE, each for a BIOS and for UEFI, by model of network card. */
const BOOT_ROMS: Readonly<Record<string, string>> = { 'virtio-net': 'efi-virtio.rom', e1000: 'efi-e1000.rom' };

async function bootRoms(): Promise<NetRomConfig[]> {
  const roms: NetRomConfig[] = [];
  for (const model of NIC_MODELS) {
    const file = await fetching((options) => findBootRom(BOOT_ROMS[model], options));
    if (file !== undefined) roms.push({ model, image: readWholeFile(file, 'boot ROM') });
  }
  return roms;
}

/** Looks for something that may have to be fetched, with progress on stderr. */
async function fetching<T>(find: (options: ToolOptions) => Promise<T>): Promise<T> {
  const { progress, done } = interruptibleProgress();
  try {
    return await find({ cache: cacheRoot(), progress });
  } finally {
    done();
  }
}

async function named(name: 'seabios' | 'ovmf'): Promise<{ readonly code: string; readonly variables: string }> {
  return fetching((options) => findFirmware(name, options));
}

function ovmfChips(code: string, template: string, words: readonly string[]): FlashConfig[] {
  let variables: FlashConfig = { path: template, readOnly: false, volatile: true };
  for (const word of words) {
    const file = /^vars=(.+)$/.exec(word)?.[1];
    if (file === undefined) throw new UsageError(`--bios ovmf does not know "${word}"; there is vars=FILE`);
    makeVariables(file, template);
    checkFlash(file, sizeOf(template));
    variables = { path: file, readOnly: false, volatile: false };
  }
  return [{ path: code, readOnly: true, volatile: false }, variables];
}

/** Before it is opened, as disks are, whose sectors are smaller. `size`: the only one that will do. Throws a one-line error; what cannot be opened is told by who opens it. */
function checkFlash(file: string, size?: number): void {
  const bytes = sizeOf(file);
  if (bytes === undefined) return;
  checkFlashSize(file, bytes);
  // With a store of another size OVMF starts, and forgets what it is told.
  if (size !== undefined && bytes !== size)
    throw new UsageError(
      `${file} is no variable store of this firmware: it has ${bytes} bytes, and the firmware's have ${size}`,
    );
}

/** Undefined: it is no file, or cannot be looked at. */
function sizeOf(file: string): number | undefined {
  try {
    const there = fs.statSync(file);
    return there.isFile() ? there.size : undefined;
  } catch {
    return undefined;
  }
}

/** A store of variables that nobody has written to. One that is there stays. */
function makeVariables(file: string, template: string): void {
  if (fs.existsSync(file)) return;
  try {
    fs.copyFileSync(template, file, fs.constants.COPYFILE_EXCL);
    fs.chmodSync(file, 0o644);
  } catch (cause) {
    throw new HostError(`cannot make the variable store ${file}: ${reasonOf(cause)}`, { cause });
  }
}
