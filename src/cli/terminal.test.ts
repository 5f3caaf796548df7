/** The terminal, on a real one: a pseudo terminal that a Python script watches. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
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

/** Runs a command on a pseudo terminal and carries out steps; answers in JSON. */
const WATCH = `
import fcntl, json, os, pty, select, subprocess, sys, termios, time
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
master, slave = pty.openpty()
def own():
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own)
seen = b''
def mode():
    flags = termios.tcgetattr(slave)[3]
    return [name for name in ('ECHO', 'ICANON', 'ISIG') if flags & getattr(termios, name)]
modes = [mode()]
def pump(wait):
    global seen
    if select.select([master], [], [], wait)[0]:
        seen += os.read(master, 65536)
        return True
    return False
end = time.time() + 12
at = 0
for kind, value in steps:
    if kind == 'expect':
        text = value.encode()
        while seen.find(text, at) < 0 and time.time() < end and child.poll() is None: pump(0.05)
        found = seen.find(text, at)
        if found < 0: break
        at = found + len(text)
    elif kind == 'send': os.write(master, value.encode())
    elif kind == 'signal': child.send_signal(value)
    elif kind == 'hangup':
        os.close(master)
        print(json.dumps({'code': child.wait(20), 'seen': '', 'modes': []}))
        sys.exit()
    elif kind == 'mode': modes.append(mode())
    elif kind == 'raw':
        while mode() and time.time() < end and child.poll() is None: pump(0.05)
while child.poll() is None and time.time() < end: pump(0.05)
while pump(0): pass
if child.poll() is None: child.kill()
modes.append(mode())
print(json.dumps({'code': child.wait(), 'seen': seen.decode('utf-8', 'replace'), 'modes': modes}))
`;

type Step =
  readonly ['expect' | 'send', string] | readonly ['signal', number] | readonly ['mode' | 'raw' | 'hangup', null];

interface Watched {
  readonly code: number;
  readonly seen: string;
  /** What the terminal did with input: at first, at each `mode` step, at the end. */
  readonly modes: readonly (readonly string[])[];
}

async function watchCommand(steps: readonly Step[], ...args: readonly string[]): Promise<Watched> {
  const { stdout } = await python.run(['-c', WATCH, JSON.stringify(steps), process.execPath, program, ...args]);
  return JSON.parse(stdout) as Watched;
}

const watch = (steps: readonly Step[], ...args: readonly string[]): Promise<Watched> =>
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
    const steps: readonly Step[] = [
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
    const steps: readonly Step[] = [
      ['raw', null],
      ['send', 'b'],
      ['expect', 'b'],
      ['send', 'q'],
    ];
    const { stdout } = await python.run([
      '-c',
      WATCH,
      JSON.stringify(steps),
      process.execPath,
      program,
      'resume',
      file,
    ]);
    const second = JSON.parse(stdout) as Watched;
    // It does not start again: no ">".
    expect(second.seen).toMatch(/^(accelerator .*\r\n)?bq\r\nvitrine: the guest ended with exit code 1\r\n$/);
  });
});
