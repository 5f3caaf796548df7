/** Machines begin one after the other, a few at a time, and only where there is memory for them. */
import { availableParallelism } from 'node:os';
import { ApiError } from '../api/errors.js';
import { Gate } from './gate.js';

/** At a time: more would not be there sooner. */
const AT_ONCE = Math.max(4, 2 * availableParallelism());
const MOST_WAITING = 1000;
/** Milliseconds after which the next may begin, though one does not get on: some never do. */
const TURN = 30_000;
/** MiB that the host keeps. */
const RESERVE = 256;

export interface Beginning {
  /** Whose it is: owners take turns. */
  readonly owner: object;
  /** MiB that it may come to take. */
  readonly memory: number;
  readonly signal: AbortSignal;
  /** It has to wait. */
  readonly waits: () => void;
}

export class StartLine {
  private readonly gate: Gate;
  /** MiB of those that begin, which have not taken it yet. */
  private promised = 0;

  /** `available`: MiB that the host has left; undefined: nobody knows. */
  constructor(
    private readonly available: () => number | undefined,
    atOnce = AT_ONCE,
    most = MOST_WAITING,
  ) {
    this.gate = new Gate(atOnce, most);
  }

  /** Rejected with an ApiError (`busy`) where there is no memory for it, or too many wait. */
  async begin<T>({ owner, memory, signal, waits }: Beginning, start: () => Promise<T>): Promise<T> {
    if (this.gate.isFull) waits();
    const leave = await this.gate.enter(owner, signal);
    const timer = setTimeout(leave, TURN);
    try {
      const left = (this.available() ?? Infinity) - this.promised - RESERVE;
      if (left < memory)
        throw new ApiError('busy', `the server has no ${memory} MiB of memory left for that: try again later`);
      this.promised += memory;
      try {
        return await start();
      } finally {
        this.promised -= memory;
      }
    } finally {
      clearTimeout(timer);
      leave();
    }
  }
}
