import { describe, expect, it } from 'vitest';
import { OutputBuffer } from './output-buffer.js';

interface Posted {
  readonly channel: string;
  readonly text: string;
}

function setUp(reader: (posted: number) => { written: number; patient: boolean }): {
  buffer: OutputBuffer;
  posted: Posted[];
  waits: () => number;
} {
  const posted: Posted[] = [];
  let total = 0;
  let waits = 0;
  let written = 0;
  const buffer = new OutputBuffer({
    post: (channel, bytes) => {
      posted.push({ channel, text: Buffer.from(bytes).toString() });
      total += bytes.length;
    },
    written: () => written,
    wait: () => {
      waits++;
      const state = reader(total);
      written = state.written;
      return state.patient;
    },
  });
  return { buffer, posted, waits: () => waits };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('output of a machine', () => {
  it('is collected until it is flushed', () => {
    const { buffer, posted } = setUp((total) => ({ written: total, patient: true }));
    const serial = buffer.sink('serial');
    for (const letter of 'hello\n') serial.write(bytes(letter));
    expect(posted).toEqual([]);
    buffer.flush();
    buffer.flush();
    expect(posted).toEqual([{ channel: 'serial', text: 'hello\n' }]);
  });
  it('keeps its order between devices', () => {
    const { buffer, posted } = setUp((total) => ({ written: total, patient: true }));
    buffer.sink('serial').write(bytes('a'));
    buffer.sink('debug').write(bytes('b'));
    buffer.sink('serial').write(bytes('c'));
    buffer.flush();
    expect(posted.map(({ channel, text }) => `${channel} ${text}`)).toEqual(['serial a', 'debug b', 'serial c']);
  });
  it('waits for a slow reader and loses nothing', () => {
    // Reads 100 KiB each time it is waited for.
    let read = 0;
    const { buffer, posted, waits } = setUp((total) => ({
      written: (read = Math.min(total, read + 102_400)),
      patient: true,
    }));
    const line = 'x'.repeat(999) + '\n';
    let most = 0;
    for (let i = 0; i < 5000; i++) {
      buffer.sink('serial').write(bytes(line));
      const length = posted.reduce((sum, { text }) => sum + text.length, 0);
      most = Math.max(most, length - read);
    }
    buffer.flush();
    expect(posted.reduce((sum, { text }) => sum + text.length, 0)).toBe(5_000_000);
    expect(waits()).toBeGreaterThan(10);
    expect(most).toBeLessThan(1.1 * 2 ** 20);
  });
  it('does not wait for ever once the machine is to end', () => {
    const { buffer, posted } = setUp(() => ({ written: 0, patient: false }));
    buffer.sink('serial').write(new Uint8Array(3 * 2 ** 20));
    buffer.flush();
    expect(posted.reduce((sum, { text }) => sum + text.length, 0)).toBe(3 * 2 ** 20);
  });
  it('tells whoever does not wait that its reader is behind', () => {
    const reader = { written: 0, patient: false };
    const { buffer } = setUp(() => reader);
    buffer.sink('serial').write(new Uint8Array(2 ** 20));
    expect(buffer.isBehind).toBe(false);
    buffer.sink('serial').write(new Uint8Array(2 ** 20));
    expect(buffer.isBehind).toBe(true);
    reader.written = 2 ** 21;
    buffer.sink('serial').write(bytes('x'));
    buffer.flush();
    expect(buffer.isBehind).toBe(false);
  });
});
