/** Commands on a pseudo terminal, which a Python script watches and types into. */
import type { RequiredTool } from './tools.js';

/** Runs a command on a pseudo terminal of 24 rows and 80 columns and carries out steps; answers in JSON. */
const WATCH = `
import fcntl, json, os, pty, select, struct, subprocess, sys, termios, time
limit, steps, command = float(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
master, slave = pty.openpty()
def size(rows, columns): fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
size(24, 80)
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
end = time.time() + limit
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
    elif kind == 'size': size(*value)
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

/** `size`: rows and columns; `raw`: waits until keys are passed on as they are; `mode`: notes what is done with input. */
export type TerminalStep =
  | readonly ['expect' | 'send', string]
  | readonly ['signal', number]
  | readonly ['size', readonly [number, number]]
  | readonly ['mode' | 'raw' | 'hangup', null];

export interface Watched {
  readonly code: number;
  readonly seen: string;
  /** What the terminal did with input: at first, at each `mode` step, at the end. */
  readonly modes: readonly (readonly string[])[];
}

/** Runs a command on a terminal to its end; it is killed after so many `seconds`. */
export async function onTerminal(
  python: RequiredTool,
  steps: readonly TerminalStep[],
  command: readonly string[],
  { seconds = 12, env }: { readonly seconds?: number; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Watched> {
  const args = ['-c', WATCH, String(seconds), JSON.stringify(steps), ...command];
  const { stdout, stderr } = await python.run(args, env ? { env } : {});
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Watched;
}
