import { describe, expect, it } from 'vitest';
import { EscapeKeys, type EscapeAction } from './escape-keys.js';

function type(...texts: readonly string[]): { guest: string; actions: EscapeAction[] } {
  const actions: EscapeAction[] = [];
  const keys = new EscapeKeys((action) => actions.push(action));
  const guest = texts.map((text) => Buffer.from(keys.filter(Buffer.from(text))).toString()).join('');
  return { guest, actions };
}

describe('Ctrl-A', () => {
  it('lets everything else pass, Ctrl-C too', () => {
    expect(type('ls\r\x03\x1aü')).toEqual({ guest: 'ls\r\x03\x1aü', actions: [] });
  });
  it('x quits, h and ? help, s shows the screen, p takes a picture', () => {
    expect(type('\x01p')).toEqual({ guest: '', actions: ['picture'] });
    expect(type('\x01x')).toEqual({ guest: '', actions: ['quit'] });
    expect(type('a\x01hb\x01?c\x01s')).toEqual({ guest: 'abc', actions: ['help', 'help', 'screen'] });
    expect(type('\x01X').actions).toEqual(['quit']);
  });
  it('a and Ctrl-A send one', () => {
    expect(type('\x01a', '\x01\x01')).toEqual({ guest: '\x01\x01', actions: [] });
  });
  it('and an unknown key is nothing', () => {
    expect(type('\x01q!')).toEqual({ guest: '!', actions: [] });
  });
  it('is remembered until the next key comes', () => {
    expect(type('\x01', 'x')).toEqual({ guest: '', actions: ['quit'] });
  });
});
