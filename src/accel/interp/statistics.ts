/** What a CPU has done and how, for people: `--stats`. */
import { NEXT, REGION_EXIT, STATISTIC } from '../../cpu/x86/state-layout.js';
import { cpuOrigin, LAYOUT } from '../../memory/layout.js';
import type { StateView } from './state.js';

interface Translated {
  /** What was translated so far, as lines of text. */
  describe(): readonly string[];
  nameOf(handler: number): string | undefined;
}

/** Instructions that are named, at most. */
const SHOWN = 12;
const MOST_HANDLERS = 8192;

/** A number with its digits in groups. */
export const grouped = (value: bigint | number): string => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');

const share = (part: bigint, whole: bigint): string =>
  whole === 0n ? '0 %' : `${(Number((part * 1000n) / whole) / 10).toFixed(1)} %`;

/** Why the interpreter had to go on after translated code. */
const REASONS: readonly { readonly name: string; readonly exits: readonly number[] }[] = [
  { name: 'code that is not translated', exits: [REGION_EXIT.GOTO, REGION_EXIT.CONTINUE] },
  { name: 'a jump to where nothing is known', exits: [NEXT.JUMP] },
  { name: 'an instruction', exits: [REGION_EXIT.INTERPRET] },
  { name: 'an event or a change of mode', exits: [0, NEXT.ATTENTION, NEXT.JUMP_ATTENTION] },
  { name: 'an exception', exits: [NEXT.FAULT] },
  { name: 'the end of the time slice', exits: [REGION_EXIT.REFUSED] },
];

/** Which instructions translated code left to the interpreter, most frequent first. */
function leftToInterpreter(view: DataView, counters: number, translator: Translated): [string, number][] {
  const times = new Map<string, number>();
  for (let handler = 0; handler < MOST_HANDLERS; handler++) {
    const count = view.getUint32(counters + handler * 4, true);
    if (count === 0) continue;
    const name = translator.nameOf(handler) ?? 'ends of what was decoded';
    times.set(name, (times.get(name) ?? 0) + count);
  }
  return [...times].sort(([, a], [, b]) => b - a);
}

/** Lines that say how many instructions were executed, and by what. */
export function describeWork(
  view: DataView,
  cpu: number,
  state: StateView,
  translator: Translated | undefined,
): string[] {
  const retired = state.u64('RETIRED');
  const lines = [`instructions            ${grouped(retired)}`];
  if (translator === undefined) return lines;
  const statistic = (name: keyof typeof STATISTIC): bigint => state.u64('STATISTICS', STATISTIC[name]);
  const [translated, regions] = [statistic('TRANSLATED'), statistic('REGIONS')];
  lines.push(
    `  in translated code    ${grouped(translated)}, ${share(translated, retired)}`,
    `regions entered         ${grouped(regions)}, ${grouped(regions === 0n ? 0n : translated / regions)} instructions each`,
    `  from the interpreter  ${grouped(statistic('CHAINS'))}, which went on because of`,
    ...REASONS.map(({ name, exits }) => {
      const times = exits.reduce((sum, exit) => sum + state.u64('EXITS', exit), 0n);
      return `    ${name.padEnd(33)} ${grouped(times)}, ${share(times, statistic('CHAINS'))}`;
    }),
    ...translator.describe(),
  );
  const left = leftToInterpreter(view, LAYOUT.FALLBACK_COUNTERS + cpuOrigin(cpu), translator);
  const all = left.reduce((sum, [, count]) => sum + count, 0);
  if (all > 0) {
    const named = left.slice(0, SHOWN).map(([name, count]) => `${name} ${share(BigInt(count), BigInt(all))}`);
    lines.push(`left to the interpreter ${named.join(', ')}`);
  }
  return lines;
}
