import { describe, expect, it } from 'vitest';
import { DhcpServer } from '../net/user/dhcp.js';
import { parseResolver, planNetwork } from '../net/user/plan.js';
import { configureNetworks, parseAllow, parseNet } from './net-options.js';

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

  it.each([
    ['dns=10.0.2.2', /dns=10.0.2.2 .* is that of host=/],
    ['host=10.0.2.15', /dhcpstart=10.0.2.15 .* is that of host=/],
    ['dhcpstart=10.0.2.3', /dhcpstart=10.0.2.3 .* is that of dns=/],
    ['dhcpstart=10.0.2.255', /is that of broadcasts/],
    ['host=10.0.2.0', /is the network's own/],
    ['net=10.1.0.0/29,dns=10.1.0.4', /dhcpstart=10.1.0.4 .* is that of dns=/],
  ])('%s is refused: each address is somebody’s', (words, message) => {
    expect(() => parseNet(`user,${words}`, 0)).toThrow(message);
  });

  it.each(['host=10.0.2.15,dhcpstart=10.0.2.16', 'net=10.1.0.0/29', 'net=10.0.0.0/4', 'dhcpstart=10.0.2.254'])(
    '%s is taken',
    (words) => {
      expect(parseNet(`user,${words}`, 0).network.kind).toBe('user');
    },
  );

  it.each([
    [`hostname=${'h'.repeat(256)}`, /hostname= is longer than DHCP can tell/],
    [`bootfile=${'é'.repeat(128)}`, /bootfile= is longer than DHCP can tell/],
    [`domain=${'d'.repeat(200)},hostname=${'h'.repeat(71)}`, /together longer/],
  ])('%s is refused', (words, message) => {
    expect(() => parseNet(`user,${words}`, 0)).toThrow(message);
  });

  it('takes as much text as an answer of DHCP holds, and all of it is there', () => {
    const texts = ['h'.repeat(10), 'd'.repeat(5), 'b'.repeat(255)];
    const { network } = parseNet(`user,hostname=${texts[0]},domain=${texts[1]},bootfile=${texts[2]}`, 0);
    if (network.kind !== 'user') throw new Error('not a network of its own');
    const request = new Uint8Array(300);
    request.set([1, 1, 6, 0]);
    request.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
    const answer = new DhcpServer(planNetwork(network), network, 1500).answer(request);
    const told = Buffer.from(answer ?? []).toString('latin1', 240);
    for (const text of texts) expect(told).toContain(text);
  });

  it.each([
    ['example.org', { host: 'example.org', port: 0 }],
    ['a_b.Example.org.:80', { host: 'a_b.Example.org.', port: 80 }],
    ['3com.com', { host: '3com.com', port: 0 }],
    ['192.0.2.7:443', { host: '192.0.2.7', port: 443 }],
    ['2001:db8::1', { host: '2001:db8::1', port: 0 }],
    ['[2001:db8::1]:80', { host: '2001:db8::1', port: 80 }],
  ])('allow=%s is taken', (text, expected) => {
    expect(parseAllow(text)).toEqual(expected);
  });

  it.each([
    '',
    'a b:80',
    '10.0.0.0/8',
    '*.example.org',
    '999.0.2.1:80',
    '[example.org]:80',
    'münchen.example',
    'a..b',
    '80',
  ])('allow=%s is refused, since nothing could be reached by it', (text) => {
    expect(() => parseAllow(text)).toThrow(/neither the name nor the address|not written as host:port/);
  });

  it('refuses port 0, which would be all ports', () => {
    expect(() => parseAllow('example.org:0')).toThrow(/0 is no port/);
  });

  it.each(['00:00:00:00:00:00', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '52:54:00:12:34', ''])(
    'mac=%s is refused',
    (text) => {
      expect(() => parseNet(`user,mac=${text}`, 0)).toThrow(/is not an address of a card/);
    },
  );

  it('writes a capture for each card, not one over the other', () => {
    const networks = (...net: string[]): unknown => configureNetworks({ net }, 'host', true);
    expect(() => networks('user,pcap=x', 'user,pcap=./x')).toThrow(/two cards cannot write one capture/);
    expect(() => networks('user,pcap=')).toThrow(/names no file/);
    expect(networks('user,pcap=x', 'user', 'user', 'user,pcap=y')).toHaveLength(4);
  });
});
