import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { chooseDisplay, parseVnc } from './vnc-options.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-vnc-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('--vnc', () => {
  it.each([
    [':1', { address: { host: '127.0.0.1', port: 5901 } }],
    ['[::1]:5999', { address: { host: '::1', port: 5999 } }],
    ['0.0.0.0:0,password=a,,b', { address: { host: '0.0.0.0', port: 5900 }, password: 'a,b' }],
    [':2,websocket', { address: { host: '127.0.0.1', port: 5902 }, webSocket: { host: '127.0.0.1', port: 5702 } }],
    [':2,websocket=8080', { address: { host: '127.0.0.1', port: 5902 }, webSocket: { host: '127.0.0.1', port: 8080 } }],
    [':6100,websocket', { address: { host: '127.0.0.1', port: 6100 }, webSocket: { host: '127.0.0.1', port: 6101 } }],
    [':auto,websocket', { address: { host: '127.0.0.1', port: 0 }, webSocket: { host: '127.0.0.1', port: 0 } }],
  ])('%s', (text, expected) => {
    expect(parseVnc(text)).toEqual(expected);
  });

  it.each([
    ['1', /is no display/],
    [':70000', /is no display/],
    [':65535,websocket', /no port comes after 65535/],
    [':1,password=', /is empty/],
    [':1,password=123456789', /too long/],
    [':1,password=a\u0007', /no VNC client/],
    [':1,frobnicate', /does not know "frobnicate"/],
    [':1,password-file=/nonexistent', /nonexistent/],
    [':1,password=a,password-file=/nonexistent', /a password twice/],
    [':1,websocket,websocket=8080', /websocket twice/],
  ])('%s is refused', (text, message) => {
    expect(() => parseVnc(text)).toThrow(message);
  });

  it('reads a password from the first line of a file', () => {
    const file = path.join(folder, 'secret');
    writeFileSync(file, 'tröt\nmore\n', 'latin1');
    expect(parseVnc(`:1,password-file=${file}`).password).toBe('tröt');
  });

  it('goes with --display', () => {
    expect(chooseDisplay(undefined, undefined)).toBeUndefined();
    expect(chooseDisplay('none', undefined)).toBeUndefined();
    expect(chooseDisplay('vnc', undefined)?.address.port).toBe(5900);
    expect(chooseDisplay('vnc', ':3')?.address.port).toBe(5903);
    expect(() => chooseDisplay('none', ':1')).toThrow(/contradict/);
    expect(() => chooseDisplay('gtk', undefined)).toThrow(/unknown display/);
  });
});
