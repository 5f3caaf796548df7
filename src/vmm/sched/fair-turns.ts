/** Machines that take turns on one thread: each gets of its time what its shares say, and one that wakes does not wait for those that compute. */
import { DEFAULT_SHARES } from './settings.js';

export interface TurnTaker {
  /** Runs a slice. Milliseconds for which it has nothing to do then, unless it is called; undefined: it has ended. */
  takeTurn(): number | undefined;
  /** There is something for it, whatever it waits for. */
  readonly isCalled: boolean;
  readonly shares: number;
}

/** Milliseconds of a turn that count at most: what holds the thread for longer, such as a save, is not the guest's doing. */
const MOST = 50;

interface Place<T> {
  readonly taker: T;
  /** Until then it has nothing to do, unless it is called. */
  due: number;
  /** It had something to do when it was last looked at. */
  wants: boolean;
  /** Milliseconds that it has had, by shares. */
  used: number;
}

export class FairTurns<T extends TurnTaker> {
  private readonly places = new Set<Place<T>>();
  /** What whoever had the last turn had used before it. Who comes back has used as much: what one did not want is not saved up. */
  private least = 0;

  /** `now`: milliseconds since some time. */
  constructor(private readonly now: () => number) {}

  add(taker: T): void {
    this.places.add({ taker, due: 0, wants: false, used: 0 });
  }

  /** Gives a turn to the one that has used least of those that have something to do. Who has ended by it, if anybody; a number: none has anything to do for so many milliseconds. */
  next(): { readonly ended: T | undefined } | number {
    const begun = this.now();
    let [chosen, rest]: [Place<T> | undefined, number] = [undefined, Infinity];
    for (const place of this.places) {
      if (place.due > begun && !place.taker.isCalled) {
        place.wants = false;
        rest = Math.min(rest, place.due - begun);
        continue;
      }
      if (!place.wants) place.used = Math.max(place.used, this.least);
      place.wants = true;
      if (!chosen || place.used < chosen.used) chosen = place;
    }
    return chosen ? { ended: this.give(chosen, begun) } : rest;
  }

  private give(place: Place<T>, begun: number): T | undefined {
    this.least = place.used;
    const { taker } = place;
    const { shares } = taker;
    const rest = taker.takeTurn();
    if (rest === undefined) {
      this.places.delete(place);
      return taker;
    }
    const now = this.now();
    place.used += (Math.min(now - begun, MOST) * DEFAULT_SHARES) / shares;
    place.due = rest === 0 ? 0 : now + rest;
    return undefined;
  }
}
