import { Command, Option } from 'commander';
import { UsageError } from '../base/errors.js';
import { GIB, KIB, MIB } from '../base/units.js';
import type { ImageFormat } from '../block/open.js';
import { interruptibleProgress } from './progress-line.js';
import { readableSize } from './readable-size.js';
import {
  checkDisk,
  compareDisks,
  convertDisk,
  createDisk,
  describeDisk,
  type DiskInfo,
} from '../runtime/node/disk-tools.js';
import { isAddress } from '../runtime/node/http-images.js';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: KIB, M: MIB, G: GIB, T: KIB * GIB, P: MIB * GIB };

/** Bytes, as in `10G`, `512M`; a number alone is bytes. NaN: it is none. */
function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGTP]?)(?:i?B)?$/i.exec(text);
  return match ? Number(match[1]) * UNITS[match[2].toUpperCase()] : NaN;
}

/** A size of a disk. Whole sectors, rounded up. */
export function parseDiskSize(text: string): number {
  const size = Math.ceil(parseBytes(text) / 512) * 512;
  if (!(size > 0 && size <= Number.MAX_SAFE_INTEGER))
    throw new UsageError(`${text} is not a size of a disk; write it as 10G or 512M`);
  return size;
}

/** A size of clusters, of which only some can be. */
function parseClusterSize(text: string): number {
  const size = parseBytes(text);
  if (!Number.isInteger(size)) throw new UsageError(`${text} is not a size of clusters; write it as 64K or 2M`);
  return size;
}

/** Bits of a reference count, of which only some can be. */
function parseRefcountBits(text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`${text} is not a number of bits; write it as 16`);
  return Number(text);
}

const format = (flag: string, text: string, choices: readonly string[]): Option =>
  new Option(`${flag} <format>`, text).choices([...choices]);
const ANY = ['auto', 'raw', 'qcow2'];
const NEW = ['qcow2', 'raw'];

/** `vitrine disk`: images of disks. */
export function diskCommand(): Command {
  const command = new Command('disk')
    .helpCommand(false)
    .description('make, look at, check, copy and compare images of disks')
    .addHelpText(
      'after',
      `
Images are raw (the disk byte by byte) or qcow2 (QEMU's format: as large as what was written,
on top of another image if need be). An image that a machine uses can be looked at with info
only.

Examples:
  vitrine disk create disk.qcow2 10G
  vitrine disk create mine.qcow2 --backing debian.raw   keeps what differs from debian.raw
  vitrine disk check disk.qcow2                         exit code 0: sound; 2: damaged; 3: leaks
  vitrine disk convert disk.qcow2 disk.img --to raw`,
    );
  command
    .command('create')
    .description('make an image')
    .argument('<file>', 'a file that is not there yet')
    .argument('[size]', '10G, 512M; with --backing, as large as that unless given', parseDiskSize)
    .addOption(format('--format', 'what to make', NEW).default('qcow2'))
    .option('--backing <file>', 'what the image stands on; a relative name begins where the image is')
    .addOption(format('--backing-format', 'what that is', ANY).default('auto'))
    .option('--cluster-size <size>', 'a power of two from 512 to 2M', parseClusterSize)
    .option('--refcount-bits <n>', 'bits of a reference count: 1 to 64', parseRefcountBits)
    .action(create);
  command
    .command('info')
    .description('say what an image is')
    .argument('<file>')
    .option('--json', 'as JSON')
    .action(info);
  command
    .command('check')
    .description('look for damage in a qcow2 image')
    .argument('<file>')
    .option('--repair', 'count references anew, which heals what a crash of other programs leaves')
    .option('--json', 'as JSON')
    .action(check);
  command
    .command('convert')
    .description('copy a disk into a new image')
    .argument('<from>')
    .argument('<to>', 'a file that is not there yet')
    .addOption(format('--from', 'what the source is', ANY).default('auto'))
    .addOption(format('--to', 'what to make', NEW).default('qcow2'))
    .option('--snapshot <name>', "one of the source's internal snapshots")
    .action(convert);
  command
    .command('compare')
    .description('compare the contents of two disks; exit code 1 when they differ')
    .argument('<a>')
    .argument('<b>')
    .action(compare);
  return command;
}

interface CreateOptions {
  readonly format: 'raw' | 'qcow2';
  readonly backing?: string;
  readonly backingFormat: ImageFormat;
  readonly clusterSize?: number;
  readonly refcountBits?: number;
}

function create(file: string, size: number | undefined, options: CreateOptions): void {
  const { backing, backingFormat, clusterSize, refcountBits } = options;
  if (options.format === 'raw' && (backing !== undefined || clusterSize !== undefined || refcountBits !== undefined))
    throw new UsageError('a raw image has no backing file, no clusters and no reference counts');
  if (backing === undefined && backingFormat !== 'auto')
    throw new UsageError(`--backing-format ${backingFormat} needs --backing: there is nothing that would have it`);
  createDisk({
    file,
    format: options.format,
    size,
    backing: backing === undefined ? undefined : { file: backing, format: backingFormat },
    clusterSize,
    refcountBits,
  });
}

function describe({ file, format, size, allocated, backingFile, backingFormat, qcow2 }: DiskInfo): string[] {
  const lines = [
    `file       ${file}`,
    `format     ${format}${qcow2 ? `, version ${qcow2.version}` : ''}`,
    `size       ${readableSize(size)} (${size} bytes)`,
  ];
  if (allocated > 0) lines.push(`on disk    ${readableSize(allocated)}`);
  if (backingFile !== undefined) lines.push(`backing    ${backingFile} (${backingFormat ?? 'auto'})`);
  if (!qcow2) return lines;
  lines.push(
    `clusters   ${readableSize(qcow2.clusterSize)}, counts of ${qcow2.refcountBits} bits, ${qcow2.compression}`,
  );
  const marks = [
    qcow2.dirty && 'dirty (repaired at the next use)',
    qcow2.corrupt && 'corrupt (check --repair)',
    qcow2.lazyRefcounts && 'lazy refcounts',
    qcow2.extendedL2 && 'subclusters',
    qcow2.bitmaps > 0 && `${qcow2.bitmaps} bitmaps`,
  ].filter((mark) => mark !== false);
  if (marks.length > 0) lines.push(`marks      ${marks.join(', ')}`);
  for (const [i, { id, name, seconds, diskSize, vmState }] of qcow2.snapshots.entries())
    lines.push(
      `${i === 0 ? 'snapshots' : '         '}  ${id} ${name}, ${new Date(seconds * 1000).toISOString()}, ` +
        `${readableSize(diskSize)}${vmState > 0 ? ` and ${readableSize(vmState)} of a machine` : ''}`,
    );
  return lines;
}

function info(file: string, { json = false }: { readonly json?: boolean }): void {
  const found = describeDisk(file);
  console.log(json ? JSON.stringify(found, null, 2) : describe(found).join('\n'));
}

/** Exit codes of `check`, as qemu-img has them. */
const EXIT = { DAMAGED: 2, LEAKS: 3 } as const;

function check(file: string, { json = false, repair = false }: { readonly json?: boolean; repair?: boolean }): void {
  const result = checkDisk(file, repair);
  const { leaks, errors, messages, allocated, compressed, total, end } = result;
  if (json) console.log(JSON.stringify({ file, repaired: repair, ...result }, null, 2));
  else {
    for (const message of messages) console.log(message);
    const share = ((allocated / total) * 100).toFixed(1);
    console.log(
      `${allocated} of ${total} clusters in use (${share} %), ${compressed} compressed, ${readableSize(end)}`,
    );
    const found = `${errors} errors, ${leaks} clusters lost`;
    console.log(errors + leaks === 0 ? 'no errors' : repair ? `${found}: all mended` : found);
  }
  if (repair) return;
  if (errors > 0) process.exitCode = EXIT.DAMAGED;
  else if (leaks > 0) process.exitCode = EXIT.LEAKS;
}

interface ConvertOptions {
  readonly from: ImageFormat;
  readonly to: 'raw' | 'qcow2';
  readonly snapshot?: string;
}

async function convert(source: string, target: string, { from, to, snapshot }: ConvertOptions): Promise<void> {
  // Who waits for a server hears of no signal meanwhile: then the host ends the process, whatever it leaves.
  const done = isAddress(source) ? undefined : interruptibleProgress().done;
  try {
    await convertDisk({ file: source, format: from, snapshot }, { file: target, format: to });
  } finally {
    done?.();
  }
}

async function compare(a: string, b: string): Promise<void> {
  const at = await compareDisks({ file: a, format: 'auto' }, { file: b, format: 'auto' });
  console.log(at === undefined ? 'the disks are the same' : `the disks differ from byte ${at} on`);
  if (at !== undefined) process.exitCode = 1;
}
