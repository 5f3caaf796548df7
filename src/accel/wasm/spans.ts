/** Numbers from 0 up to a limit that are given out many in a row. */
export class Spans {
  /** What is free, in order: the first number, and how many. */
  private free: { first: number; count: number }[] = [];
  /** How many are free. */
  left = 0;

  constructor(private readonly limit: number) {
    this.giveBackAll();
  }

  /** The first of `count` numbers; undefined when there are not so many in a row. */
  take(count: number): number | undefined {
    if (count === 0) return 0;
    const at = this.free.findIndex((span) => span.count >= count);
    if (at < 0) return undefined;
    const span = this.free[at];
    const { first } = span;
    span.first += count;
    span.count -= count;
    if (span.count === 0) this.free.splice(at, 1);
    this.left -= count;
    return first;
  }

  giveBack(first: number, count: number): void {
    if (count === 0) return;
    this.left += count;
    const found = this.free.findIndex((span) => span.first > first);
    const at = found < 0 ? this.free.length : found;
    this.free.splice(at, 0, { first, count });
    this.join(at);
    if (at > 0) this.join(at - 1);
  }

  /** Makes one of two that lie side by side. */
  private join(at: number): void {
    const [span, next] = this.free.slice(at, at + 2);
    if (at + 1 >= this.free.length || span.first + span.count !== next.first) return;
    span.count += next.count;
    this.free.splice(at + 1, 1);
  }

  giveBackAll(): void {
    this.free = [{ first: 0, count: this.limit }];
    this.left = this.limit;
  }
}
