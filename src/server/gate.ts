/** Lets so many do something at a time; the others wait, and those whom they belong to take turns. */
import { ApiError } from '../api/errors.js';

interface Waiting {
  readonly begin: () => void;
}

export class Gate {
  private readonly queues = new Map<object, Waiting[]>();
  private inside = 0;
  private count = 0;

  /** `slots`: at a time. `most`: of those who wait. */
  constructor(
    private readonly slots: number,
    private readonly most = Infinity,
  ) {}

  /** How many wait. */
  get waiting(): number {
    return this.count;
  }

  /** Whoever comes now has to wait. */
  get isFull(): boolean {
    return this.inside >= this.slots;
  }

  /**
   * Resolves when it is one's turn, to what ends it (again and again does no harm). Rejected with what the signal is aborted with, and
   * with an ApiError (`busy`) where too many wait.
   */
  enter(owner: object, signal?: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (!this.isFull) {
        resolve(this.admit());
        return;
      }
      if (this.count >= this.most) throw new ApiError('busy', 'the server has too much to do: try again soon');
      const queue = this.queues.get(owner) ?? [];
      this.queues.set(owner, queue);
      const aborted = (): void => {
        queue.splice(queue.indexOf(waiting), 1);
        this.left(owner, queue);
        reject(signal?.reason as Error);
      };
      const waiting: Waiting = {
        begin: () => {
          signal?.removeEventListener('abort', aborted);
          resolve(this.admit());
        },
      };
      queue.push(waiting);
      this.count++;
      signal?.addEventListener('abort', aborted, { once: true });
    });
  }

  private left(owner: object, queue: readonly Waiting[]): void {
    this.count--;
    if (queue.length === 0) this.queues.delete(owner);
  }

  private admit(): () => void {
    this.inside++;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.inside--;
      this.next();
    };
  }

  private next(): void {
    const [first] = this.queues;
    if (!first) return;
    const [owner, queue] = first;
    const waiting = queue.shift();
    // Whoever had a turn stands behind all others.
    this.queues.delete(owner);
    if (queue.length > 0) this.queues.set(owner, queue);
    this.count--;
    waiting?.begin();
  }
}
