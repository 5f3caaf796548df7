/** Milliseconds. RFC 6298 §2 has a second for the first; this network is short, and so is what Linux takes as the least. */
const FIRST = 1000;
const SHORTEST = 200;
const LONGEST = 60_000;
/** Attempts until a connection is given up: some minutes. */
const ATTEMPTS = 10;

/** When to send again, RFC 6298. One time is measured at a time, and none of what was sent twice (Karn's algorithm). */
export class RetransmitTimer {
  private deadline: number | undefined;
  private timeout = FIRST;
  private smoothed: number | undefined;
  private variation = 0;
  private started = 0;
  private measuring = false;
  private attempts = 0;

  start(now: number): void {
    this.deadline = now + this.timeout;
    this.started = now;
    this.measuring = true;
  }

  /** Starts unless it runs. */
  ensure(now: number): void {
    if (this.deadline === undefined) this.start(now);
  }

  stop(): void {
    this.deadline = undefined;
    this.attempts = 0;
  }

  /** Something new was acknowledged; `more` is under way. */
  acknowledged(now: number, more: boolean): void {
    if (this.measuring) this.measure(now - this.started);
    this.measuring = false;
    this.attempts = 0;
    if (this.smoothed !== undefined)
      this.timeout = Math.min(LONGEST, Math.max(SHORTEST, this.smoothed + 4 * this.variation));
    this.deadline = undefined;
    if (more) this.start(now);
  }

  private measure(time: number): void {
    if (this.smoothed === undefined) {
      this.smoothed = time;
      this.variation = time / 2;
      return;
    }
    this.variation = 0.75 * this.variation + 0.25 * Math.abs(this.smoothed - time);
    this.smoothed = 0.875 * this.smoothed + 0.125 * time;
  }

  retransmitted(): void {
    this.measuring = false;
  }

  isDue(now: number): boolean {
    return this.deadline !== undefined && now >= this.deadline;
  }

  get isHopeless(): boolean {
    return this.attempts >= ATTEMPTS;
  }

  backOff(now: number): void {
    this.attempts++;
    this.timeout = Math.min(LONGEST, this.timeout * 2);
    this.deadline = now + this.timeout;
    this.measuring = false;
  }

  /** Attempts so far do not count. */
  alive(): void {
    this.attempts = 0;
  }

  waitFor(deadline: number): void {
    this.deadline = deadline;
  }
}
