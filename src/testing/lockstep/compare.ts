/** Compares the state of two CPUs and memories. */
import { GPR_NAMES, type VcpuState } from '../../arch/x86/state.js';

/** At most so many places of memory are named. */
const SHOWN = 8;

const text = (value: unknown): string =>
  typeof value === 'bigint'
    ? value.toString(16)
    : value instanceof Uint8Array
      ? Buffer.from(value).toString('hex')
      : String(value);

/** Everything that differs, one line each; general registers by name. */
export function compareStates(a: VcpuState, b: VcpuState): string[] {
  const found: string[] = [];
  const walk = (path: string, x: unknown, y: unknown): void => {
    if (typeof x === 'object' && x !== null && typeof y === 'object' && y !== null && !(x instanceof Uint8Array)) {
      for (const key of Object.keys(x))
        walk(`${path}.${key}`, (x as Record<string, unknown>)[key], (y as Record<string, unknown>)[key]);
    } else if (text(x) !== text(y)) {
      const place = path.slice(1).replace(/^gpr\.(\d+)$/, (_, n: string) => GPR_NAMES[Number(n)]);
      found.push(`${place}: ${text(x)}, ${text(y)}`);
    }
  };
  walk('', a, b);
  return found;
}

export function compareMemory(a: Uint8Array, b: Uint8Array): string[] {
  if (Buffer.compare(a, b) === 0) return [];
  const found: string[] = [];
  for (let i = 0; i < a.length && found.length < SHOWN; i++)
    if (a[i] !== b[i]) found.push(`memory ${i.toString(16)}: ${text(a[i])}, ${text(b[i])}`);
  return found;
}
