import { describe, expect, it } from 'vitest';
import { noise } from '../../testing/noise.js';
import { FakeNames } from './fake-names.js';

const A = 1;
const AAAA = 28;

function question(name: string, type: number, id = 0x1234): Uint8Array {
  const labels = name === '' ? [] : name.split('.');
  const text = labels.map((label) => String.fromCharCode(label.length) + label).join('') + '\0';
  return new Uint8Array(
    Buffer.concat([
      Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
      Buffer.from(text, 'latin1'),
      Buffer.from([0, type, 0, 1]),
    ]),
  );
}

describe('made-up names', () => {
  it('gives each name an address of its own, and knows it again', () => {
    const names = new FakeNames();
    const answer = names.answer(question('Example.org', A));
    expect(Buffer.from(answer ?? []).toString('hex')).toBe(
      '123481800001000100000000' +
        '074578616d706c65036f726700' +
        '00010001' +
        'c00c00010001' +
        '0000003c0004' +
        'c6120001',
    );
    expect(names.nameOf('198.18.0.1')).toBe('example.org');
    expect(names.addressOf('other.org')).toEqual(Uint8Array.of(198, 18, 0, 2));
    expect(names.addressOf('EXAMPLE.org.')).toEqual(Uint8Array.of(198, 18, 0, 1));
    expect(names.nameOf('198.18.0.3')).toBeUndefined();
  });

  it('has no other records, and no names of addresses', () => {
    const names = new FakeNames();
    const six = names.answer(question('example.org', AAAA)) ?? new Uint8Array(12);
    expect([six[3] & 15, six[5], six[7]]).toEqual([0, 1, 0]);
    const reverse = names.answer(question('1.0.18.198.in-addr.arpa', 12)) ?? new Uint8Array(12);
    expect([reverse[3] & 15, reverse[7]]).toEqual([3, 0]);
  });

  it('forgets the names of long ago rather than growing', () => {
    const names = new FakeNames();
    for (let i = 0; i < 65_540; i++) names.addressOf(`n${i}`);
    expect(names.nameOf('198.18.0.1')).toBe('n65534');
    expect(names.nameOf('198.18.0.8')).toBe('n7');
  });

  it('takes whatever comes', () => {
    const names = new FakeNames();
    const next = noise(3);
    for (let round = 0; round < 5000; round++) {
      const message = question('example.org', next() % 300);
      for (let i = next() % 6; i > 0; i--) message[next() % message.length] = next();
      const answer = names.answer(message.subarray(0, next() % 40 === 0 ? next() % message.length : undefined));
      if (answer) expect(answer[2] & 0x80).toBe(0x80);
    }
  });
});
