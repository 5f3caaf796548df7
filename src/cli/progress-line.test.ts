import { describe, expect, it } from 'vitest';
import { progressLine } from './progress-line.js';

function capture(terminal?: { columns: number }): ReturnType<typeof progressLine> & { written: () => string } {
  let text = '';
  const write = (chunk: string | Uint8Array): boolean => {
    text += String(chunk);
    return true;
  };
  return { ...progressLine({ write, ...(terminal && { isTTY: true, ...terminal }) }), written: () => text };
}

describe('progress', () => {
  it('is one line per step in a file', () => {
    const { progress, done, written } = capture();
    progress({ text: 'reading' });
    progress({ text: 'reading', fraction: 0.5 });
    progress({ text: 'unpacking' });
    done();
    expect(written()).toBe('reading\nunpacking\n');
  });
  it('rewrites its line on a terminal and removes it', () => {
    const { progress, done, written } = capture({ columns: 80 });
    progress({ text: 'reading', fraction: 0.123 });
    progress({ text: 'reading', fraction: 0.124 });
    progress({ text: 'reading', fraction: 1 });
    done();
    done();
    expect(written()).toBe('\r\x1b[Kreading 12 %\r\x1b[Kreading 100 %\r\x1b[K');
  });
  it('never wraps', () => {
    const { progress, written } = capture({ columns: 12 });
    progress({ text: 'a text that is too long', fraction: 0.5 });
    expect(written()).toBe('\r\x1b[Ka tex… 50 %');
  });
});
