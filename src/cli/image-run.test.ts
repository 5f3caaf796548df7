/** `vitrine run` with images, by the guest's agent: in an image without a shell, with pipes, folders, ports, and on a terminal. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { freePort } from '../testing/oci-images.js';
import { onTerminal } from '../testing/on-terminal.js';
import { describeWith, quickBoot, requireFile, requireGuest, requireTool } from '../testing/tools.js';

const [amd64, busybox, python] = await Promise.all([
  requireGuest('amd64'),
  requireFile('/bin/busybox', 'busybox-static'),
  requireTool('python3'),
]);
const quick = await quickBoot();
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-run-'));
const root = path.join(folder, 'root');
const env = {
  XDG_CACHE_HOME: path.join(folder, 'cache'),
  XDG_RUNTIME_DIR: path.join(folder, 'runtime'),
  COLOUR: 'blue',
};
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** Runs the program of the folder's image. Ends with the test at the latest. */
function start(args: readonly string[]): {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<{ code: number | null; out: Buffer; err: string }>;
} {
  const child = spawn(process.execPath, [main, 'run', root, '--memory', '256', ...args], {
    env: { ...process.env, ...env },
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.on('error', () => {});
  const ended = new Promise<{ code: number | null; out: Buffer; err: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, out: Buffer.concat(out), err })),
  );
  return { child, ended };
}

/** The same, fast, with an input. */
function run(args: readonly string[], input = new Uint8Array(0)): ReturnType<typeof start>['ended'] {
  const { child, ended } = start([...quick, ...args]);
  child.stdin.end(input);
  return ended;
}

/** What a server at a port answers, once there is one. `givenUp`: whether to look no more. */
async function answerOf(port: number, text: string, givenUp: () => boolean): Promise<string> {
  while (!givenUp()) {
    const answer = await new Promise<string>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
      socket.on('data', (bytes) => {
        resolve(bytes.toString());
        socket.destroy();
      });
      socket.setTimeout(100_000, () => {
        resolve('no answer');
        socket.destroy();
      });
      socket.on('error', () => resolve(''));
      socket.on('close', () => resolve(''));
    });
    if (answer !== '') return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return 'given up';
}

describeWith([amd64, busybox, python], 'vitrine run FOLDER', () => {
  beforeAll(() => {
    // One program and nothing else, as many images have it: no shell, no /etc.
    fs.mkdirSync(path.join(root, 'bin'), { recursive: true });
    fs.copyFileSync(busybox.path, path.join(root, 'bin/busybox'));
    for (const at of ['vitrine', 'runtime'])
      fs.mkdirSync(path.join(folder, at === 'vitrine' ? 'cache/vitrine' : at), { recursive: true, mode: 0o700 });
    fs.mkdirSync(path.join(cacheRoot(), 'guests'), { recursive: true });
    fs.symlinkSync(path.join(cacheRoot(), 'guests'), path.join(folder, 'cache/vitrine/guests'));
  });

  it('pipes what it is given, and shares folders', async () => {
    const data = path.join(folder, 'data');
    fs.mkdirSync(data);
    const script =
      'echo "$COLOUR $SIZE $HOSTNAME"; pwd; busybox cat /etc/hosts; busybox touch /ro/x 2>&1; busybox cat; ' +
      'busybox cp /ro/input /data/output; echo to stderr >&2; exit 41';
    const input = Buffer.alloc(1_000_000, 'a\r\n\0\xff\x04', 'latin1');
    fs.writeFileSync(path.join(data, 'input'), input);
    const words = ['-e', 'COLOUR', '-e', 'SIZE=2 m', '-w', '/made/here', '-v', `${data}:/data`, '-v', `${data}:/ro:ro`];
    const { code, out, err } = await run([...words, '--', '/bin/busybox', 'sh', '-c', script], input);
    const head = 'blue 2 m vitrine\n/made/here\n127.0.0.1 localhost vitrine\n::1 localhost\n';
    expect(out.subarray(0, head.length).toString(), err).toBe(head);
    const line = out.indexOf('\n', head.length) + 1;
    expect(out.subarray(head.length, line).toString()).toMatch(/\/ro\/x: Read-only file system\n$/);
    expect(out.subarray(line).equals(input)).toBe(true);
    expect(err).toMatch(/^to stderr$/m);
    expect(code).toBe(41);
    expect(fs.readFileSync(path.join(data, 'output')).equals(input)).toBe(true);
  });

  it('leads a port into it, hands on signals, and says how it ended', async () => {
    const port = await freePort();
    const server = ['/bin/busybox', 'nc', '-ll', '-p', '8000', '-e', '/bin/busybox', 'cat'];
    const { child, ended } = start(['-p', `${port}:8000`, '--', ...server]);
    let hasEnded = false;
    void ended.then(() => (hasEnded = true));
    // It listens when the guest does; until then connections are refused or reset.
    const answer = await answerOf(port, 'hello', () => hasEnded);
    child.kill('SIGTERM');
    const { code, err } = await ended;
    expect([answer, code], err).toEqual(['hello', 143]);
  });

  it.each([
    [['--', 'nothing-of-that-name'], 127, /cannot run "nothing-of-that-name" in the guest: no such file or folder/],
    [['-w', 'relative', '--', '/bin/busybox'], 1, /--workdir relative is no folder of a guest/],
    [['-u', 'nobody-here', '--', '/bin/busybox'], 1, /whom its \/etc\/passwd does not know/],
    [['-it', '--', '/bin/busybox'], 1, /leave -t away for a pipe/],
    [['--save-on-exit', path.join(folder, 'snap'), '-v', `${folder}:/x`], 1, /--volume does not go together with/],
  ])('tells in one line what is wrong: %j', async (args, expected, message) => {
    const { code, err } = await run(args);
    expect(err).toMatch(message);
    expect(code).toBe(expected);
  });

  it('has a terminal of its own that follows the window', async () => {
    const command = [
      process.execPath,
      main,
      'run',
      root,
      '--memory',
      '256',
      ...quick,
      '--',
      '/bin/busybox',
      'sh',
      '-i',
    ];
    const { code, seen, modes } = await onTerminal(
      python,
      [
        ['expect', '/ # '],
        ['mode', null],
        ['send', 'busybox stty size\r'],
        ['expect', '24 80'],
        ['size', [30, 100]],
        ['expect', '/ # '],
        ['send', 'busybox stty size\r'],
        ['expect', '30 100'],
        ['expect', '/ # '],
        ['send', 'busybox sh -c \'echo be""gun; exec busybox sleep 100\'\r'],
        ['expect', 'begun'],
        ['send', '\x03'],
        ['expect', '/ # '],
        ['send', 'echo $?; exit 7\r'],
        ['expect', '130'],
      ],
      command,
      { seconds: 100, env },
    );
    expect(code, seen).toBe(7);
    expect(modes.at(1)).toEqual([]);
    expect(modes.at(-1)).toEqual(['ECHO', 'ICANON', 'ISIG']);
  });
});
