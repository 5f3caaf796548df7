import { describe, expect, it } from 'vitest';
import { parseClock, parseCpuCount, parseGdb, parseMachine, parseMemory, parseModule } from './parse.js';

describe('--memory', () => {
  it.each([
    ['512M', 512 * 2 ** 20],
    ['2G', 2 ** 31],
    ['1.5g', 1.5 * 2 ** 30],
    ['256', 256 * 2 ** 20],
    ['2048K', 2 ** 21],
    ['64MiB', 2 ** 26],
    ['64MB', 2 ** 26],
  ])('%s', (text, size) => {
    expect(parseMemory(text)).toBe(size);
  });
  it.each([
    ['', 'is not a size of memory'],
    ['lots', 'is not a size of memory'],
    ['-1G', 'is not a size of memory'],
    ['1P', 'is not a size of memory'],
    ['1e9', 'is not a size of memory'],
    ['0', 'is too small: a PC has at least 1M'],
    ['640K', 'is too small'],
    ['1.0001M', 'is not a whole number of pages'],
    ['99999999999999999999G', 'is more than any machine has'],
  ])('refuses "%s"', (text, message) => {
    expect(() => parseMemory(text)).toThrow(message);
  });
});

describe('--module', () => {
  it('takes all behind the first comma as words', () => {
    expect(parseModule('initrd')).toEqual({ path: 'initrd', words: undefined });
    expect(parseModule('vmlinuz,console=hvc0,115200 quiet')).toEqual({
      path: 'vmlinuz',
      words: 'console=hvc0,115200 quiet',
    });
    expect(parseModule('a,,b,words')).toEqual({ path: 'a,b', words: 'words' });
    expect(parseModule('a,,,words')).toEqual({ path: 'a,', words: 'words' });
    expect(() => parseModule(',x')).toThrow('names no file');
  });
});

describe('--gdb', () => {
  it('takes a port, and a host', () => {
    expect(parseGdb('tcp:1234')).toEqual({ host: '127.0.0.1', port: 1234 });
    expect(parseGdb('tcp::1234')).toEqual({ host: '127.0.0.1', port: 1234 });
    expect(parseGdb('tcp:0.0.0.0:1')).toEqual({ host: '0.0.0.0', port: 1 });
    expect(parseGdb('tcp:[::1]:1')).toEqual({ host: '::1', port: 1 });
  });
  it.each(['1234', 'tcp:', 'tcp:x', 'tcp:70000', 'udp:1'])('refuses %s', (text) => {
    expect(() => parseGdb(text)).toThrow('is no address; write it as tcp:1234');
  });
});

describe('choices', () => {
  it('are checked', () => {
    expect(parseClock('virtual')).toBe('virtual');
    expect(() => parseClock('x')).toThrow('unknown clock "x"; there are host and virtual');
    expect(() => parseMachine('q35')).toThrow('unknown machine "q35"; there are pc, microvm');
    expect(() => parseCpuCount('0')).toThrow('--smp 0 is not a number of CPUs');
    expect(() => parseCpuCount('two')).toThrow('is not a number of CPUs');
    expect(() => parseCpuCount('17')).toThrow('--smp 17: a machine has 16 CPUs at most');
    expect(parseCpuCount('2')).toBe(2);
  });
});
