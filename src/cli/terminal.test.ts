/** The terminal, on a real one: a pseudo terminal that a Python script watches. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { onTerminal, type TerminalStep, type Watched } from '../testing/on-terminal.js';
import { describeWith, requireTool } from '../testing/tools.js';

const python = await requireTool('python3');
const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-terminal-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes ">", then back what comes in at COM1; "q" ends with exit code 1. Code at FF00h, to which the reset vector jumps. */
function echo(): string {
  const rom = new Uint8Array(0x1_0000);
  const code = [
    // Eight bits a character.
    ...[0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, 0xba, 0xf8, 0x03, 0xb0, 0x3e, 0xee],
    ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xec, 0xee, 0x3c, 0x71, 0x75, 0xef],
    ...[0xb0, 0x00, 0xe6, 0xf4, 0xf4],
  ];
  rom.set(code, 0xff00);
  rom.set([0xe9, 0x0d, 0xff], 0xfff0);
  const file = path.join(folder, 'echo.bin');
  writeFileSync(file, rom);
  return file;
}

const watchCommand = (steps: readonly TerminalStep[], ...args: readonly string[]): Promise<Watched> =>
  onTerminal(python, steps, [process.execPath, program, ...args]);

const watch = (steps: readonly TerminalStep[], ...args: readonly string[]): Promise<Watched> =>
  watchCommand(steps, 'run', '--bios', echo(), '--memory', '16M', '--debug-exit', ...args);

const COOKED = ['ECHO', 'ICANON', 'ISIG'];

describeWith([python], 'vitrine top on a terminal', () => {
  it.each(['q', '\x03'])('shows a table again and again, and leaves the screen as it was: %j', async (key) => {
    const { code, seen, modes } = await watchCommand(
      [
        ['expect', 'EXITS/S  MEMORY'],
        ['mode', null],
        ['expect', 'EXITS/S  MEMORY'],
        ['send', key],
      ],
      'top',
    );
    expect(modes).toEqual([COOKED, [], COOKED]);
    expect(seen.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true);
    expect(seen.endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
    expect(code).toBe(0);
  });
});

describeWith([python], 'the terminal', () => {
  it('is raw while the machine runs; Ctrl-C goes to the guest; Ctrl-A x quits', async () => {
    const { code, seen, modes } = await watch([
      ['expect', '>'],
      ['mode', null],
      ['send', 'abc\x03d'],
      ['expect', 'abc\x03d'],
      ['send', '\x01h'],
      ['expect', 'Ctrl-A x    quit\r\n'],
      ['send', '\x01ae'],
      ['expect', '\x01e'],
      ['send', '\x01x'],
    ]);
    expect(modes).toEqual([COOKED, [], COOKED]);
    expect(seen).toMatch(/\r\nvitrine: stopped by Ctrl-A x\r\n$/);
    expect(code).toBe(1);
  });

  it('is given back when the machine ends by itself', async () => {
    const { code, seen, modes } = await watch([
      ['expect', '>'],
      ['send', 'q'],
    ]);
    expect(modes).toEqual([COOKED, COOKED]);
    expect(seen).toMatch(/vitrine: the guest ended with exit code 1\r\n$/);
    expect(code).toBe(1);
  });

  it.each([
    ['SIGTERM', 15],
    ['SIGHUP', 1],
    ['SIGINT', 2],
  ])('is given back after %s', async (name, number) => {
    const { code, seen, modes } = await watch([
      ['expect', '>'],
      ['mode', null],
      ['signal', number],
    ]);
    expect(modes).toEqual([COOKED, [], COOKED]);
    expect(seen).toContain(`vitrine: stopped by ${name}`);
    expect(code).toBe(128 + number);
  });

  it('may go away: the machine is saved all the same', async () => {
    const file = path.join(folder, 'hung-up');
    const steps: readonly TerminalStep[] = [
      ['expect', '>'],
      ['hangup', null],
    ];
    expect((await watch(steps, '--save-on-exit', file)).code).toBe(129);
    expect(statSync(file).size).toBeGreaterThan(0);
  });

  it('shows the screen on Ctrl-A s', async () => {
    const { seen } = await watch([
      ['expect', '>'],
      ['send', '\x01sok'],
      ['expect', 'ok'],
      ['send', 'q'],
    ]);
    // 25 empty rows of the text screen that nobody has written to.
    expect(seen).toMatch(/(\r\n){25}/);
  });

  it('saves on exit, and the machine goes on where it was', async () => {
    const file = path.join(folder, 'saved');
    const first = await watch(
      [
        ['expect', '>'],
        ['send', 'a'],
        ['expect', 'a'],
        ['send', '\x01x'],
      ],
      ...['--save-on-exit', file],
    );
    expect(first.seen).toContain(`vitrine: stopped by Ctrl-A x, saved to ${file}`);
    expect(first.code).toBe(0);
    const steps: readonly TerminalStep[] = [
      ['raw', null],
      ['send', 'b'],
      ['expect', 'b'],
      ['send', 'q'],
    ];
    const second = await watchCommand(steps, 'resume', file);
    // It does not start again: no ">".
    expect(second.seen).toMatch(/^(accelerator .*\r\n)?bq\r\nvitrine: the guest ended with exit code 1\r\n$/);
  });
});
