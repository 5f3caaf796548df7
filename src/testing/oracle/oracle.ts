/** The oracle: makes cases, runs them on both sides, compares, and reduces what differs to its essentials. */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { CASE, CASE_SIZE, FX, GPR_PLACE, WINDOW_SIZE } from './case-format.js';
import { compareCase, type Difference } from './compare.js';
import { generateCase } from './generate.js';
import { random } from './random.js';
import { distribute } from './rows.js';
import type { EnvironmentKind } from './segments.js';
import { vendorChoice } from './vendor.js';

/** Runs cases and returns them with their results: NativeRunner, GuestRunner. */
export interface Runner {
  run(input: Uint8Array): Uint8Array;
}

export interface OracleOptions {
  readonly native: Runner;
  readonly guest: Runner;
  readonly rows: readonly Instruction[];
  readonly cases: number;
  readonly seed: number;
  /** Environments to run in; absent: all. */
  readonly kinds?: readonly EnvironmentKind[];
  /** Instructions stand between others, see block.ts. */
  readonly inBlocks?: boolean;
  /** Failures to reduce and keep; the rest are counted. */
  readonly keep: number;
  readonly onProgress?: (done: number) => void;
}

export interface Failure {
  readonly row: Instruction;
  /** Seed of the batch and number in it. */
  readonly seed: number;
  readonly index: number;
  readonly input: Buffer;
  readonly differences: readonly Difference[];
}

export interface OracleReport {
  readonly cases: number;
  /** Cases by how they ended: vector 3 is INT3, the regular end. */
  readonly traps: ReadonlyMap<number, number>;
  /** Differences by makers' choice, by reason. */
  readonly vendor: ReadonlyMap<string, number>;
  /** Failed cases by the name of their row. */
  readonly failed: ReadonlyMap<string, number>;
  readonly failures: readonly Failure[];
}

const BATCH = 8192;

function count<K>(map: Map<K, number>, key: K): number {
  const now = (map.get(key) ?? 0) + 1;
  map.set(key, now);
  return now;
}

export function runOracle(options: OracleOptions): OracleReport {
  const { native, guest, seed, cases } = options;
  const traps = new Map<number, number>();
  const vendor = new Map<string, number>();
  const failed = new Map<string, number>();
  const failures: Failure[] = [];
  const order = distribute(options.rows, cases, options.kinds);
  for (let first = 0, batch = 0; first < order.length; first += BATCH, batch++) {
    const batchSeed = seed + batch;
    const r = random(batchSeed);
    // Every batch takes rows from all over the table.
    const tasks = Array.from({ length: Math.min(BATCH, order.length - first) }, (_, i) =>
      order.at(((first + i) * 7919) % order.length),
    ).filter((task) => task !== undefined);
    const input = Buffer.alloc(tasks.length * CASE_SIZE);
    tasks.forEach(({ row, kind }, i) => generateCase(r, row, slice(input, i), kind, options.inBlocks));
    const ours = Buffer.from(guest.run(input).buffer);
    const theirs = Buffer.from(native.run(input).buffer);
    tasks.forEach(({ row }, index) => {
      const [a, b] = [slice(theirs, index), slice(ours, index)];
      count(traps, Number(a.readBigUInt64LE(CASE.TRAP)));
      const all = compareCase(row, slice(input, index), a, b);
      const differences = all.filter((difference) => {
        const choice = vendorChoice(row, difference, a, b);
        if (choice !== undefined) count(vendor, choice.reason);
        return choice === undefined;
      });
      if (differences.length === 0) return;
      const times = count(failed, row.name);
      if (times > 2 || failures.length >= options.keep) return;
      const reduced = reduce(
        options,
        row,
        Buffer.from(slice(input, index)),
        [a, b].map((results) => results.readBigUInt64LE(CASE.TRAP)),
      );
      failures.push({ row, seed: batchSeed, index, ...reduced });
    });
    options.onProgress?.(first + tasks.length);
  }
  return { cases: order.length, traps, vendor, failed, failures };
}

function slice(buffer: Buffer, index: number): Buffer {
  return buffer.subarray(index * CASE_SIZE, (index + 1) * CASE_SIZE);
}

/** Differences of a case that ends with the vectors `traps` (native, guest). */
function differencesOf(
  options: OracleOptions,
  row: Instruction,
  input: Buffer,
  traps: readonly bigint[],
): Difference[] {
  let native: Buffer;
  let guest: Buffer;
  try {
    native = Buffer.from(options.native.run(input));
    guest = Buffer.from(options.guest.run(input));
  } catch {
    // A change can make a case that does not end, which is another one.
    return [];
  }
  if ([native, guest].some((results, side) => results.readBigUInt64LE(CASE.TRAP) !== traps[side])) return [];
  return compareCase(row, input, native, guest).filter((d) => vendorChoice(row, d, native, guest) === undefined);
}

/** Simplifies the inputs of a case as long as the sides still differ. */
function reduce(
  options: OracleOptions,
  row: Instruction,
  input: Buffer,
  traps: readonly bigint[],
): { input: Buffer; differences: Difference[] } {
  let best = input;
  let differences = differencesOf(options, row, input, traps);
  // A change must not bring a difference of its own.
  const kind = ({ what }: Difference): string => what.replace(/\+.*/, '');
  const kinds = new Set(differences.map(kind));
  const attempt = (change: (copy: Buffer) => void): void => {
    const copy = Buffer.from(best);
    change(copy);
    if (copy.equals(best)) return;
    const found = differencesOf(options, row, copy, traps);
    if (found.length === 0 || !found.every((each) => kinds.has(kind(each)))) return;
    best = copy;
    differences = found;
  };
  attempt((copy) => copy.fill(0, CASE.FX + FX.XMM, CASE.FX + FX.XMM + 256));
  attempt((copy) => copy.fill(0, CASE.FX + FX.ST, CASE.FX + FX.ST + 128));
  attempt((copy) => copy.fill(0, CASE.WINDOW, CASE.WINDOW + WINDOW_SIZE));
  attempt((copy) => copy.writeUInt16LE(0x37f, CASE.FX + FX.FCW));
  attempt((copy) => copy.writeUInt16LE(0, CASE.FX + FX.FSW));
  attempt((copy) => copy.writeUInt32LE(0x1f80, CASE.FX + FX.MXCSR));
  attempt((copy) => copy.writeBigUInt64LE(0x202n, CASE.RFLAGS));
  for (let i = 0; i < 16; i++) {
    attempt((copy) => copy.writeBigUInt64LE(0n, CASE.GPR + 8 * i));
    attempt((copy) => copy.fill(0, CASE.FX + FX.XMM + 16 * i, CASE.FX + FX.XMM + 16 * i + 16));
  }
  for (let i = 0; i < 8; i++) attempt((copy) => copy.fill(0, CASE.FX + FX.ST + 16 * i, CASE.FX + FX.ST + 16 * i + 16));
  return { input: best, differences };
}

const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];

/** The instruction, with what was put around it. */
function codeOf(input: Buffer): string {
  const trimmed = (from: number, to: number): string => input.subarray(from, to).toString('hex');
  const lead = trimmed(CASE.LEAD, CASE.CODE).replace(/^(cc)+/, '');
  const end = CASE.CODE + input[CASE.LENGTH];
  const rest = trimmed(end, CASE.FX).replace(/(cc)+$/, '');
  return [lead, trimmed(CASE.CODE, end), rest].filter((part) => part !== '').join(' ');
}

/** A failure as text that holds all it takes to see it again. */
export function describeFailure(failure: Failure): string {
  const { row, input, differences } = failure;
  const code = codeOf(input);
  const parts = (['CS', 'SS', 'DS', 'ES'] as const).map(
    (name) => `${name.toLowerCase()}=${input.readUInt16LE(CASE[name]).toString(16)}`,
  );
  GPR_NAMES.forEach((name, n) => {
    const value = input.readBigUInt64LE(CASE.GPR + 8 * GPR_PLACE[n]);
    if (value !== 0n) parts.push(`${name}=${value.toString(16)}`);
  });
  const bytes = (name: string, at: number, size: number): void => {
    const value = input.subarray(at, at + size);
    if (value.some((byte) => byte !== 0)) parts.push(`${name}=${Buffer.from(value).reverse().toString('hex')}`);
  };
  bytes('flags', CASE.RFLAGS, 2);
  bytes('fcw', CASE.FX + FX.FCW, 2);
  bytes('fsw', CASE.FX + FX.FSW, 2);
  bytes('ftw', CASE.FX + FX.FTW, 1);
  bytes('mxcsr', CASE.FX + FX.MXCSR, 4);
  for (let i = 0; i < 8; i++) bytes(`st${i}`, CASE.FX + FX.ST + 16 * i, 10);
  for (let i = 0; i < 16; i++) bytes(`xmm${i}`, CASE.FX + FX.XMM + 16 * i, 16);
  const window = input.subarray(CASE.WINDOW, CASE.WINDOW + WINDOW_SIZE);
  const from = window.findIndex((byte) => byte !== 0);
  if (from >= 0) parts.push(`window+${from}=${window.subarray(from, from + 32).toString('hex')}…`);
  const wrong = differences.map(({ what, native, guest }) => `${what}: native ${native}, guest ${guest}`);
  return `${row.mnemonic} (${row.name}) ${code}, seed ${failure.seed} case ${failure.index}\n  in: ${parts.join(' ')}\n  ${wrong.slice(0, 8).join('\n  ')}`;
}
