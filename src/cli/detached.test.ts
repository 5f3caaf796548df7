/** Machines that run detached: started, used, copied to and from, followed, saved, doubled, ended; and a supervisor that is killed. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { runCommand } from '../guests/command.js';
import { layer } from '../testing/oci-images.js';
import { onTerminal } from '../testing/on-terminal.js';
import { describeWith, quickBoot, requireFile, requireGuest, requireTool } from '../testing/tools.js';

const [amd64, busybox, python, tar, bash] = await Promise.all([
  requireGuest('amd64'),
  requireFile('/bin/busybox', 'busybox-static'),
  requireTool('python3'),
  requireTool('tar'),
  requireTool('bash'),
]);
const quick = await quickBoot();
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-detached-'));
const root = path.join(folder, 'root');
const env = {
  XDG_CACHE_HOME: path.join(folder, 'cache'),
  XDG_RUNTIME_DIR: path.join(folder, 'run'),
  XDG_STATE_HOME: path.join(folder, 'state'),
};

interface Told {
  readonly code: number | null;
  readonly out: Buffer;
  readonly err: string;
}

function vitrine(args: readonly string[], input: Uint8Array = new Uint8Array(0), others = {}): Promise<Told> {
  const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env, ...others } });
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out: Buffer.concat(out), err })));
}

/** What a command that works has printed. */
async function told(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await vitrine(args);
  expect(code, err).toBe(0);
  return out.toString();
}

/** Processes that keep the machines of this test. */
function supervisors(): number[] {
  return fs
    .readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return (
          fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0supervise') &&
          fs.readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder)
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

afterAll(() => {
  for (const pid of supervisors()) process.kill(pid, 'SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

describeWith([amd64, busybox, python, tar, bash], 'a machine that runs detached', () => {
  beforeAll(() => {
    fs.mkdirSync(path.join(root, 'bin'), { recursive: true });
    fs.mkdirSync(path.join(root, 'etc'));
    fs.copyFileSync(busybox.path, path.join(root, 'bin/busybox'));
    for (const name of ['sh', 'cat', 'id', 'ls', 'sleep', 'stty', 'find', 'mkdir'])
      fs.symlinkSync('busybox', path.join(root, 'bin', name));
    fs.writeFileSync(path.join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n');
    fs.mkdirSync(env.XDG_RUNTIME_DIR, { mode: 0o700 });
    fs.mkdirSync(path.join(folder, 'cache/vitrine'), { recursive: true });
    fs.mkdirSync(path.join(cacheRoot(), 'guests'), { recursive: true });
    fs.symlinkSync(path.join(cacheRoot(), 'guests'), path.join(folder, 'cache/vitrine/guests'));
  });

  it('is not there yet', async () => {
    expect(await told('ls', '--json')).toBe('[]\n');
    expect(await told('ls')).toMatch(/^NAME +STATE +IMAGE/);
    expect(await vitrine(['exec', 'box', 'ls'])).toMatchObject({
      code: 1,
      err: 'vitrine: there is no machine box; vitrine ls lists them\n',
    });
    expect(await vitrine(['run', '-d', '--gdb', 'tcp:1', root])).toMatchObject({
      code: 1,
      err: 'vitrine: --gdb does not go together with --detach\n',
    });
  });

  it('outlives the terminal that it was started on', async () => {
    const command = [process.execPath, main, 'run', '-d', '--name', 'box', '--memory', '256', '--entrypoint', '', root];
    const { code, seen } = await onTerminal(python, [['expect', 'box\r\n']], command, { seconds: 100, env });
    expect(code, seen).toBe(0);
    const [machine] = JSON.parse(await told('ls', '--json')) as { name: string; state: string; memory: number }[];
    expect(machine).toMatchObject({ name: 'box', state: 'running', memory: 256 });
    expect(await vitrine(['run', '-d', '--name', 'box', '--entrypoint', '', root])).toMatchObject({ code: 1 });
    expect((await vitrine(['rm', 'box'])).err).toBe(
      'vitrine: box is running: vitrine stop box ends it, or --force does both\n',
    );
    expect((await vitrine(['resume', 'box'])).err).toMatch(/no file but a machine: vitrine unpause box/);
  });

  it('runs commands', async () => {
    const input = Buffer.concat([randomBytes(2_000_000), Buffer.from('\x04\r\n')]);
    const echo = await vitrine(['exec', 'box', 'cat'], input);
    expect(echo.code).toBe(0);
    expect(echo.out.equals(input)).toBe(true);
    const words = ['-e', 'A=b c', '-u', 'web', '-w', '/etc'];
    const result = await vitrine(['exec', ...words, 'box', 'sh', '-c', 'echo $A; id -u; pwd; echo no >&2; exit 7']);
    expect(result).toMatchObject({ code: 7, err: 'no\n' });
    expect(result.out.toString()).toBe('b c\n33\n/etc\n');
    expect(JSON.parse(await told('exec', '--json', 'box', 'sh', '-c', 'echo x; kill -9 $$'))).toEqual({
      exitCode: 137,
      signal: 'SIGKILL',
      stdout: 'x\n',
      stderr: '',
    });
    expect(await vitrine(['exec', 'box', 'nothing'])).toMatchObject({
      code: 127,
      err: 'vitrine: cannot run "nothing" in the guest: no such file or folder\n',
    });
    expect((await vitrine(['exec', 'box', '/etc/passwd'])).code).toBe(126);
    const script = '"$0" "$@" > /dev/full; echo $?';
    const exec = [process.execPath, main, 'exec', 'box', 'id'];
    const { stdout, stderr } = await runCommand('sh', ['-c', script, ...exec], { env });
    expect([stdout, stderr]).toEqual(['1\n', 'vitrine: cannot write the output: no space left on the device\n']);
    expect((await vitrine(['shell', 'box'], Buffer.from('echo from a pipe; exit 5\n'))).out.toString()).toBe(
      'from a pipe\n',
    );
  });

  it('has a shell on a terminal that follows the window', async () => {
    const { code, seen, modes } = await onTerminal(
      python,
      [
        ['expect', '/ # '],
        ['send', 'stty size\r'],
        ['expect', '24 80'],
        ['size', [31, 99]],
        ['expect', '/ # '],
        ['send', 'stty size\r'],
        ['expect', '31 99'],
        ['expect', '/ # '],
        ['send', 'sh -c \'echo be""gun; exec sleep 100\'\r'],
        ['expect', 'begun'],
        ['send', '\x03'],
        ['expect', '/ # '],
        ['send', 'exit 6\r'],
      ],
      [process.execPath, main, 'shell', 'box'],
      { seconds: 40, env },
    );
    expect(code, seen).toBe(6);
    expect(modes.at(-1)).toEqual(['ECHO', 'ICANON', 'ISIG']);
  });

  it('is copied to and from', async () => {
    const tree = path.join(folder, 'tree');
    fs.mkdirSync(path.join(tree, 'sub/empty'), { recursive: true });
    fs.writeFileSync(path.join(tree, 'big'), randomBytes(1_500_000));
    fs.writeFileSync(path.join(tree, 'sub/a b ü'), 'x', { mode: 0o755 });
    fs.symlinkSync('../big', path.join(tree, 'sub/link'));
    fs.chmodSync(path.join(tree, 'sub'), 0o750);
    const same = async (other: string): Promise<void> => {
      const listed = async (at: string): Promise<string> =>
        (await python.run(['-c', LISTING, at])).stdout.replaceAll(at, '');
      expect(await listed(other)).toBe(await listed(tree));
    };
    // A place that is not there becomes the folder; one that is there has it in it.
    await told('cp', tree, 'box:/copy');
    await told('cp', `${tree}/.`, 'box:/copy/');
    expect(JSON.parse(await told('cp', '--json', tree, 'box:/tmp'))).toEqual({ files: 6, bytes: 1_500_001 });
    await told('cp', 'box:/copy', path.join(folder, 'back'));
    await same(path.join(folder, 'back'));
    await told('cp', 'box:/tmp/tree', path.join(folder, 'back'));
    await same(path.join(folder, 'back/tree'));
    const { out } = await vitrine(['cp', 'box:/copy', '-']);
    fs.writeFileSync(path.join(folder, 'copy.tar'), out);
    fs.mkdirSync(path.join(folder, 'unpacked'));
    expect((await tar.run(['xpf', path.join(folder, 'copy.tar'), '-C', path.join(folder, 'unpacked')])).status).toBe(0);
    await same(path.join(folder, 'unpacked/copy'));
    expect(await vitrine(['cp', '-', 'box:/tmp'], out)).toMatchObject({ code: 0 });
    await told('cp', 'box:/tmp/copy/sub/link', path.join(folder, 'a-link'));
    expect(fs.readlinkSync(path.join(folder, 'a-link'))).toBe('../big');
    await told('cp', '-L', 'box:/tmp/copy/sub/link', path.join(folder, 'a-file'));
    expect(fs.statSync(path.join(folder, 'a-file')).size).toBe(1_500_000);
    const evil = layer([{ path: '../../outside', content: 'x' }]);
    expect(await vitrine(['cp', '-', 'box:/tmp'], evil)).toMatchObject({ code: 1, err: /leads out/ });
    for (const [args, message] of [
      [['cp', 'box:/nowhere', folder], /cannot look at \/nowhere in the guest: no such file/],
      [['cp', '/nowhere', 'box:/'], /cannot read \/nowhere: no such file/],
      [['cp', tree, 'box:/etc/passwd'], /cannot copy a folder to .*: that is a file/],
      [['cp', '/etc/passwd', 'box:/not/'], /there is no folder \/not\//],
      [['cp', '/a', '/b'], /one of the two is a file of a machine/],
      [['cp', 'other:/a', '/tmp'], /there is no machine other/],
    ] as const) {
      const { code, err } = await vitrine(args);
      expect(err).toMatch(message);
      expect(code).toBe(1);
    }
  });

  it('is completed by bash, with what is in it, and so are images', async () => {
    const bin = path.join(folder, 'bin');
    fs.mkdirSync(bin);
    fs.writeFileSync(path.join(bin, 'vitrine'), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`, { mode: 0o755 });
    const lines: readonly (readonly [string, string])[] = [
      ['vitrine exec b\t', 'exec box '],
      ['vitrine cp bo\t', 'cp box:'],
      ['vitrine cp box:/et\t', 'cp box:/etc/'],
      ['vitrine image inspect fol\t', 'inspect folder/'],
      ['vitrine run oci:fol\t', 'run oci:folder/'],
    ];
    const { seen } = await onTerminal(
      python,
      [
        ['send', "source <(vitrine completion bash); echo REA''DY\n"],
        ['expect', 'READY'],
        ...lines.flatMap(
          ([line, expected]) =>
            [
              ['send', line],
              ['expect', expected],
              ['send', '\x15'],
            ] as const,
        ),
        ['send', 'echo al""l; exit\n'],
      ],
      [bash.path, '--norc', '--noprofile', '-i'],
      { seconds: 50, env: { ...env, PATH: `${bin}:${process.env['PATH'] ?? ''}` } },
    );
    expect(seen).toMatch(/all\r?\n/);
  });

  it('can be doubled, saved, gone on with, and made to stand still', async () => {
    expect(await told('fork', 'box', 'twin')).toBe('twin\n');
    await told('exec', 'twin', 'mkdir', '/only-here');
    expect((await vitrine(['exec', 'box', 'ls', '-d', '/only-here'])).code).toBe(1);
    expect(await told('snapshot', 'twin', 'first')).toBe('first\n');
    expect(await told('rm', '-f', 'twin')).toBe('twin\n');
    expect(await told('restore', 'first', '--name', 'again')).toBe('again\n');
    expect(await told('exec', 'again', 'ls', '-d', '/only-here')).toBe('/only-here\n');
    expect(await told('ls', '-q')).toBe('box\nagain\n');
    expect(await told('ls', '-sq')).toBe('first\n');
    const [{ digest }] = JSON.parse(await told('image', 'ls', '--json')) as { readonly digest: string }[];
    expect((await vitrine(['image', 'rm', digest])).err).toMatch(/^vitrine: the machine box needs the image .*\n$/);
    expect((await vitrine(['rm', '-s', 'none'])).err).toBe('vitrine: there is no snapshot none\n');
    await told('rm', '-s', 'first');
    await told('pause', 'box');
    expect(await told('ls')).toMatch(/^box +paused/m);
    await told('unpause', 'box');
    await told('stop', '-f', 'again');
    expect(await told('ls')).toMatch(/^again +ended \(stopped\)/m);
    expect((await vitrine(['exec', 'again', 'ls'])).err).toMatch(/^vitrine: .*again.* has ended.*\n$/);
    await told('rm', 'again');
  });

  it('that runs a program is followed, and ends with it', async () => {
    const script = 'echo "one $A"; sleep 1; echo two >&2; exit 3';
    expect(
      await told(
        'run',
        '-d',
        '--name',
        'job',
        ...quick,
        '--memory',
        '128',
        '-e',
        'A=1',
        root,
        '--',
        'sh',
        '-c',
        script,
      ),
    ).toBe('job\n');
    expect(await told('logs', '-f', 'job')).toBe('one 1\ntwo\n');
    expect(await told('logs', '--json', '--tail', '4', 'job')).toBe('{"line":"two"}\n');
    expect(await told('ls')).toMatch(/^job +ended \(3\)/m);
    await told('rm', 'job');
  });

  it('is not there where its supervisor cannot begin, which is told at once', async () => {
    const others = { XDG_RUNTIME_DIR: path.join(folder, 'run2'), XDG_STATE_HOME: path.join(folder, 'a-file') };
    fs.writeFileSync(others.XDG_STATE_HOME, '');
    const { code, err } = await vitrine(['run', '-d', root], undefined, others);
    expect(code).toBe(1);
    expect(err).toMatch(/\nvitrine: the supervisor of machines did not start: cannot make the folder .*\n$/);
  });

  it('goes with a supervisor that is killed, and nothing stands in the way of another', async () => {
    const before = supervisors();
    expect(before).toHaveLength(1);
    await told('snapshot', 'box', 'kept');
    for (const pid of before) process.kill(pid, 'SIGKILL');
    expect((await vitrine(['exec', 'box', 'ls'])).err).toBe(
      'vitrine: there is no machine box; vitrine ls lists them\n',
    );
    expect(await told('ls', '-sq')).toBe('kept\n');
    await told('rm', '-s', 'kept');
    expect(await told('run', '-d', '--name', 'box', ...quick, '--memory', '128', '--entrypoint', '', root)).toBe(
      'box\n',
    );
    expect(await told('exec', 'box', 'id', '-u')).toBe('0\n');
    expect(await told('stop', 'box')).toBe('box\n');
    expect(await told('rm', 'box')).toBe('box\n');
    expect(await told('ls', '-q')).toBe('');
  });
});

/** A folder with all that is in it: names, permissions, contents. */
const LISTING = `
import hashlib, os, sys
for at, folders, files in os.walk(sys.argv[1]):
    folders.sort()
    if at == sys.argv[1] and 'tree' in folders: folders.remove('tree')
    for name in ['.'] + sorted(folders + files):
        file = os.path.join(at, name)
        status = os.lstat(file)
        what = os.readlink(file) if os.path.islink(file) else '' if os.path.isdir(file) else hashlib.sha1(open(file, 'rb').read()).hexdigest()
        if name == 'tree' and at == sys.argv[1]: continue
        print(file, '' if os.path.islink(file) else oct(status.st_mode), what)
`;
