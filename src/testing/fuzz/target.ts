/** What is fuzzed: a part of the product that reads what a guest, a client or an image says. */
import { RandomSource } from '../random-source.js';

/** One run of a target from a fresh state. Everything in it follows from its seed. */
export interface FuzzSession {
  /** Gives the target one input more. Throws when something happens that must not, whatever the input. */
  step(): void | Promise<void>;
  /** Behind the last input: what must hold then. Gives back what the session holds. */
  end?(): void;
}

export interface FuzzTarget {
  readonly name: string;
  /** How many inputs of all are its, against those of the others. */
  readonly share: number;
  /** Inputs of a session. */
  readonly length: number;
  /** Anything that has to be ready before the first session. */
  readonly prepare?: () => Promise<void>;
  readonly start: (random: RandomSource, seed: number) => FuzzSession;
}

/** What one session came to. */
export interface SessionReport {
  readonly inputs: number;
  /** What the slowest input took, milliseconds, and which it was. */
  readonly slowest: number;
  readonly slowestInput: number;
}

/** What a session threw, with what is needed to see it again. */
export class FuzzFailure extends Error {
  constructor(
    readonly target: string,
    readonly seed: number,
    readonly input: number,
    cause: unknown,
  ) {
    super(`${target}, seed ${seed}, input ${input}: ${cause instanceof Error ? (cause.stack ?? '') : String(cause)}`, {
      cause,
    });
  }
}

/** Runs one session. `before` is told the number of each input, and -1 behind the last. */
export async function runSession(
  target: FuzzTarget,
  seed: number,
  before?: (input: number) => void,
): Promise<SessionReport> {
  let input = 0;
  let slowest = 0;
  let slowestInput = 0;
  try {
    const session = target.start(new RandomSource(seed), seed);
    let time = performance.now();
    for (; input < target.length; input++) {
      before?.(input);
      const working = session.step();
      if (working) await working;
      const now = performance.now();
      if (now - time > slowest) [slowest, slowestInput] = [now - time, input];
      time = now;
    }
    before?.(-1);
    session.end?.();
  } catch (error) {
    throw new FuzzFailure(target.name, seed, input, error);
  }
  return { inputs: input, slowest, slowestInput };
}

/** As much of a target as fits a test: so many inputs, from the first seeds on. */
export async function fuzz(target: FuzzTarget, inputs: number): Promise<void> {
  await target.prepare?.();
  for (let seed = 1; seed <= Math.ceil(inputs / target.length); seed++) await runSession(target, seed);
}

/** Throws where a promise is not kept. */
export function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}
