import { nanoseconds } from '../../base/units.js';
import type { Clock, Timer } from '../../iface/clock.js';
import { array, bool, int, nullable, struct, u32, type Infer } from '../../snapshot/schema.js';
import { CAUSE, CAUSES, REG, type RegisterFile } from './registers.js';

/** Nanoseconds of a unit of ITR and of the delays RDTR, RADV, TIDV, TADV (1.024 µs). */
const ITR_UNIT = 256;
const DELAY_UNIT = 1024;

/** Interrupts that wait for others to join them: a delay that begins anew with each packet, and one that does not. */
const DELAYS = [
  { relative: REG.RDTR, absolute: REG.RADV, cause: CAUSE.RXT0 },
  { relative: REG.TIDV, absolute: REG.TADV, cause: CAUSE.TXDW },
] as const;
export const RECEIVE = 0;
export const TRANSMIT = 1;
type Direction = typeof RECEIVE | typeof TRANSMIT;

export const interruptsSchema = struct({
  causes: u32,
  mask: u32,
  asserted: bool,
  /** When the next interrupt may be; and when delayed ones are due: receive and transmit, relative and absolute. */
  throttle: nullable(int),
  delays: array(nullable(int), { length: 4 }),
});

/** Interrupt causes, mask, throttling and delays: SDM §3.2.7 and registers ICR, ITR, ICS, IMS, IMC. */
export class Interrupts {
  causes = 0;
  mask = 0;
  private asserted = false;
  private readonly throttle: Timer;
  /** Of each direction: relative, absolute. */
  private readonly timers: readonly Timer[];

  constructor(
    private readonly registers: RegisterFile,
    private readonly clock: Clock,
    private readonly line: (asserted: boolean) => void,
  ) {
    this.throttle = clock.createTimer(() => this.update());
    this.timers = DELAYS.flatMap(({ cause }, direction) =>
      [0, 1].map(() =>
        clock.createTimer(() => {
          this.cancelDelays(direction);
          this.raise(cause);
        }),
      ),
    );
  }

  raise(causes: number): void {
    this.causes = (this.causes | (causes & CAUSES)) >>> 0;
    this.update();
  }

  /** Something was received or sent that software is to be told of, maybe a little later. */
  raiseLater(direction: Direction): void {
    const { relative, absolute, cause } = DELAYS[direction];
    const delay = this.registers.get(relative);
    const [first, last] = this.timers.slice(2 * direction);
    if (delay === 0) {
      this.cancelDelays(direction);
      this.raise(cause);
      return;
    }
    const now = this.clock.now();
    first.arm(nanoseconds(now + delay * DELAY_UNIT));
    const limit = this.registers.get(absolute);
    if (limit > 0 && last.deadline === undefined) last.arm(nanoseconds(now + limit * DELAY_UNIT));
  }

  /** What is delayed is told of at once. */
  expedite(direction: Direction): void {
    if (this.timers.slice(2 * direction, 2 * direction + 2).every(({ deadline }) => deadline === undefined)) return;
    this.cancelDelays(direction);
    this.raise(DELAYS[direction].cause);
  }

  private cancelDelays(direction: number): void {
    this.timers[2 * direction].cancel();
    this.timers[2 * direction + 1].cancel();
  }

  /** Reading clears. */
  readCauses(): number {
    const { causes } = this;
    this.causes = 0;
    this.update();
    return causes;
  }

  clear(causes: number): void {
    this.causes = (this.causes & ~causes) >>> 0;
    this.update();
  }

  setMask(mask: number): void {
    this.mask = (mask & CAUSES) >>> 0;
    this.update();
  }

  private update(): void {
    if ((this.causes & this.mask) === 0) {
      if (this.asserted) this.line(false);
      this.asserted = false;
      return;
    }
    if (this.asserted || this.throttle.deadline !== undefined) return;
    this.asserted = true;
    const interval = this.registers.get(REG.ITR);
    if (interval > 0) this.throttle.arm(nanoseconds(this.clock.now() + interval * ITR_UNIT));
    this.line(true);
  }

  reset(): void {
    this.throttle.cancel();
    for (const timer of this.timers) timer.cancel();
    this.causes = 0;
    this.mask = 0;
    this.update();
  }

  save(): Infer<typeof interruptsSchema> {
    const { causes, mask, asserted } = this;
    const due = ({ deadline }: Timer): number | null => deadline ?? null;
    return { causes, mask, asserted, throttle: due(this.throttle), delays: this.timers.map(due) };
  }

  restore({ causes, mask, asserted, throttle, delays }: Infer<typeof interruptsSchema>): void {
    this.causes = causes;
    this.mask = mask;
    const set = (timer: Timer, deadline: number | null): void => {
      if (deadline === null) timer.cancel();
      else timer.arm(nanoseconds(deadline));
    };
    set(this.throttle, throttle);
    this.timers.forEach((timer, i) => set(timer, delays[i]));
    // The line itself comes back with the PCI function.
    this.asserted = asserted;
  }
}
