import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { chooseIo, readVariables } from './program-options.js';
import { parsePublish, parseVolume, readVolumes } from './volume-options.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-options-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('variables', () => {
  it('come from words, from files, and from those that are set here', () => {
    const file = path.join(folder, 'env');
    writeFileSync(file, '# a comment\r\n\n  A=from the file\nB=b=c\r\nPATH\nNOT_SET_ANYWHERE\n');
    expect(readVariables({ env: ['A=said', 'EMPTY=', 'HOME', 'NOT_SET_ANYWHERE'], envFile: [file] })).toEqual({
      A: 'said',
      B: 'b=c',
      EMPTY: '',
      HOME: process.env['HOME'],
      PATH: process.env['PATH'],
    });
    expect(readVariables({})).toEqual({});
  });

  it.each([['=x'], ['a b=c'], [''], ['A=\0']])('cannot be %j', (text) => {
    expect(() => readVariables({ env: [text] })).toThrow(/is not NAME=VALUE/);
  });

  it('of a file are told of with its name', () => {
    const file = path.join(folder, 'bad');
    writeFileSync(file, 'a name=1\n');
    expect(() => readVariables({ envFile: [file] })).toThrow(`"a name=1" in ${file} is not NAME=VALUE`);
    expect(() => readVariables({ envFile: [`${file}.not`] })).toThrow(/no such file$/);
  });
});

describe('-i and -t', () => {
  const [terminal, pipe] = [{ isTTY: true }, {}];
  it.each([
    [{}, terminal, terminal, { tty: true, input: true }],
    [{}, terminal, pipe, { tty: false, input: true }],
    [{}, pipe, terminal, { tty: false, input: true }],
    [{ interactive: true }, terminal, terminal, { tty: false, input: true }],
    [{ tty: true }, pipe, pipe, { tty: true, input: false }],
    [{ tty: true, interactive: true }, terminal, pipe, { tty: true, input: true }],
  ])('%j with %j and %j', (options, stdin, stdout, io) => {
    expect(chooseIo(options, stdin, stdout)).toEqual(io);
  });

  it('need a terminal together', () => {
    expect(() => chooseIo({ tty: true, interactive: true }, pipe, terminal)).toThrow(/leave -t away/);
  });
});

describe('--volume', () => {
  it('is a folder and its place', () => {
    expect(parseVolume(`${folder}:/data/`)).toEqual({ path: folder, at: '/data', readOnly: false });
    expect(parseVolume(`${folder}:/a/../b:ro`)).toEqual({ path: folder, at: '/b', readOnly: true });
    expect(readVolumes({ volume: [`${folder}:/a/b/c`, `${folder}:/a`] }).map(({ at }) => at)).toEqual(['/a', '/a/b/c']);
  });

  it.each([
    [folder, /is not FOLDER:PLACE/],
    [`${folder}:data`, /is not FOLDER:PLACE/],
    [`${folder}:/data:rx`, /is not FOLDER:PLACE/],
    [`${folder}:/..`, /cannot be the guest's root/],
    [`${folder}/not:/data`, /there is no folder/],
    [`${process.execPath}:/data`, /is no folder; only folders are shared/],
  ])('is not %s', (text, message) => {
    expect(() => parseVolume(text)).toThrow(message);
  });

  it('is at one place once', () => {
    expect(() => readVolumes({ volume: [`${folder}:/a`, `${folder}:/a/`] })).toThrow(
      "two folders are to be the guest's /a",
    );
  });
});

describe('--publish', () => {
  it.each([
    ['80', '127.0.0.1', 0, 80],
    ['8080:80', '127.0.0.1', 8080, 80],
    [':80/tcp', '127.0.0.1', 0, 80],
    ['0.0.0.0:8080:80', '0.0.0.0', 8080, 80],
    ['[::1]:8080:80', '::1', 8080, 80],
    ['127.0.0.2::80', '127.0.0.2', 0, 80],
  ])('%s', (text, hostAddress, hostPort, guestPort) => {
    expect(parsePublish(text)).toEqual({ hostAddress, hostPort, guestPort });
  });

  it.each([
    ['80/udp', /hostfwd=udp/],
    ['80/sctp', /no protocol sctp/],
    ['0', /0 is no port/],
    ['8080:0', /0 is no port/],
    ['70000:80', /70000 is no port/],
    ['x:80', /x is no port/],
    ['nowhere:1:80', /nowhere is no address/],
    ['', /is not GUEST/],
  ])('is not %j', (text, message) => {
    expect(() => parsePublish(text)).toThrow(message);
  });
});
