import { describe, expect, it } from 'vitest';
import { parseResolver } from '../net/user/plan.js';
import { parseNet } from './net-options.js';

describe('--net', () => {
  it.each(['192.0.2.1', '192.0.2.1:5353', '2001:db8::1', '[2001:db8::1]:53', '::ffff:192.0.2.1'])(
    'resolver=%s is taken',
    (text) => {
      expect(parseNet(`user,resolver=${text}`, 0).network).toMatchObject({ resolver: text });
    },
  );

  it.each([
    '',
    'example.org',
    '192.0.2.1:0',
    '192.0.2.1:65536',
    '999.0.2.1',
    '999.0.2.1:53',
    '[::1',
    '[::1]',
    '::1]:53',
  ])('resolver=%s is refused', (text) => {
    expect(() => parseNet(`user,resolver=${text}`, 0)).toThrow(/not written as address or address:port/);
  });

  it('tells the address and the port of a name server', () => {
    expect(parseResolver('192.0.2.1')).toEqual({ address: '192.0.2.1', port: 53 });
    expect(parseResolver('192.0.2.1:5353')).toEqual({ address: '192.0.2.1', port: 5353 });
    expect(parseResolver('[2001:db8::1]:54')).toEqual({ address: '2001:db8::1', port: 54 });
  });
});
