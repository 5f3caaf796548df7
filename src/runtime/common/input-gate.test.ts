import { expect, it } from 'vitest';
import { InputGate } from './input-gate.js';

it('a machine that does not look gets no more input, but what was pressed is released', () => {
  let taken = 0;
  const gate = new InputGate(() => taken);
  const key = (code: string, down: boolean): boolean => gate.admit({ kind: 'key', code, down });
  expect([key('KeyA', true), key('KeyB', true), key('KeyB', false)]).toEqual([true, true, true]);
  let admitted = 0;
  for (let i = 0; i < 10_000; i++) if (gate.admit({ kind: 'point', x: i, y: 0, buttons: 0 })) admitted++;
  expect(admitted).toBeLessThan(300);
  expect([key('KeyC', true), key('KeyC', false), key('KeyA', false), key('KeyA', false)]).toEqual([
    false,
    false,
    true,
    false,
  ]);
  taken = admitted + 4;
  expect(key('KeyC', true)).toBe(true);
});
