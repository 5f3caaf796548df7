import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { LogFile } from './log-file.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-log-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'log');
const bytes = new TextEncoder().encode('new');

describe('a log', () => {
  it('that was not begun leaves everything as it was', () => {
    new LogFile(file, 'log').close();
    expect(existsSync(file)).toBe(false);
    writeFileSync(file, 'something old');
    new LogFile(file, 'log').close();
    expect(readFileSync(file, 'utf8')).toBe('something old');
  });

  it('replaces what was there', () => {
    writeFileSync(file, 'something old');
    const log = new LogFile(file, 'log');
    log.begin();
    log.write(bytes);
    log.write(bytes);
    log.close();
    expect(readFileSync(file, 'utf8')).toBe('newnew');
  });

  it.runIf(existsSync('/dev/full'))('on a full device fails in one line', () => {
    const log = new LogFile('/dev/full', 'log');
    expect(() => log.write(bytes)).toThrow('cannot write the log /dev/full: no space left on the device');
    log.close();
    expect(existsSync('/dev/full')).toBe(true);
  });

  it('in no folder fails in one line', () => {
    expect(() => new LogFile(path.join(folder, 'none', 'log'), 'log')).toThrow(
      /^cannot write the log .*: no such file$/,
    );
  });
});
