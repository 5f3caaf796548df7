import { describe, expect, it } from 'vitest';
import { FairTurns, type TurnTaker } from './fair-turns.js';

/** A clock, and machines whose slices take some of its time. */
class Stage {
  time = 0;
  /** Whose turns there were. */
  readonly order: string[] = [];
  readonly turns = new FairTurns<Actor>(() => this.time);

  actor(name: string, slice: number, shares = 1024): Actor {
    const actor = new Actor(this, name, slice, shares);
    this.turns.add(actor);
    return actor;
  }

  run(milliseconds: number): void {
    for (const end = this.time + milliseconds; this.time < end;) {
      const next = this.turns.next();
      if (typeof next === 'number') this.time = Math.min(end, this.time + next);
    }
  }
}

class Actor implements TurnTaker {
  isCalled = false;
  /** Milliseconds that it has had. */
  had = 0;
  /** What its next turns come to; always busy. */
  rest: number | undefined = 0;

  constructor(
    private readonly stage: Stage,
    readonly name: string,
    private readonly slice: number,
    readonly shares: number,
  ) {}

  takeTurn(): number | undefined {
    this.isCalled = false;
    this.stage.order.push(this.name);
    this.stage.time += this.slice;
    this.had += this.slice;
    return this.rest;
  }
}

describe('machines on one thread', () => {
  it('get the same of its time, however long their slices are', () => {
    const stage = new Stage();
    const [short, long] = [stage.actor('short', 0.5), stage.actor('long', 8)];
    stage.run(1000);
    expect(Math.abs(short.had - long.had)).toBeLessThanOrEqual(8);
  });

  it('get it by their shares', () => {
    const stage = new Stage();
    const [small, large] = [stage.actor('small', 2, 512), stage.actor('large', 2, 1536)];
    stage.run(1000);
    expect(large.had / small.had).toBeCloseTo(3, 1);
  });

  it('that are idle have their turn behind one of a busy one, as often as they are called', () => {
    const stage = new Stage();
    const idle = stage.actor('idle', 0.1);
    idle.rest = Infinity;
    stage.actor('busy', 4);
    stage.run(200);
    for (let call = 0; call < 100; call++) {
      stage.run(1 + (call % 7));
      idle.isCalled = true;
      stage.order.length = 0;
      while (idle.isCalled) stage.turns.next();
      expect(stage.order).toEqual(['idle']);
    }
  });

  it('do not save up what they did not want', () => {
    const stage = new Stage();
    const [late, busy] = [stage.actor('late', 2), stage.actor('busy', 2)];
    late.rest = 10_000;
    stage.run(10_000);
    late.rest = 0;
    busy.had = late.had = 0;
    stage.run(100);
    expect(Math.abs(late.had - busy.had)).toBeLessThanOrEqual(4);
  });

  it('that hold all others up, as for being saved, go on soon', () => {
    const stage = new Stage();
    const saved = stage.actor('saved', 5000);
    stage.actor('busy', 2);
    while (saved.had === 0) stage.turns.next();
    stage.order.length = 0;
    stage.run(100);
    expect(stage.order).toContain('saved');
  });

  it('sleep until one is due or called, and are gone when they have ended', () => {
    const stage = new Stage();
    const [first, second] = [stage.actor('first', 1), stage.actor('second', 1)];
    [first.rest, second.rest] = [30, 50];
    stage.turns.next();
    stage.turns.next();
    expect(stage.turns.next()).toBe(29);
    second.isCalled = true;
    second.rest = undefined;
    expect(stage.turns.next()).toEqual({ ended: second });
    expect(stage.turns.next()).toBe(28);
    first.isCalled = true;
    first.rest = undefined;
    expect(stage.turns.next()).toEqual({ ended: first });
    expect(stage.turns.next()).toBe(Infinity);
  });
});
