import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { runCommand } from '../guests/command.js';
import { describeWith, requireGuest, requireMountNamespaces } from '../testing/tools.js';
import type * as Sdk from './index.js';
import type { FileEvent, Vm } from './index.js';

const guest = await requireGuest('amd64');
const mountNamespace = await requireMountNamespaces();
// What starts workers comes from dist/, as the workers do.
const sdk = (await import(new URL('../../dist/sdk/index.js', import.meta.url).href)) as typeof Sdk;

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-vm-'));
// Templates of its own, and the guests of everybody.
const cache = path.join(folder, 'cache');
mkdirSync(path.join(cache, 'vitrine'), { recursive: true });
symlinkSync(path.join(cacheRoot(), 'guests'), path.join(cache, 'vitrine/guests'));
vi.stubEnv('XDG_CACHE_HOME', cache);
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** Bytes of input that are echoed; `npm run verify 74` echoes 100 MB. */
const ECHOED = 3_000_000;

const shared = path.join(folder, 'shared');
mkdirSync(shared);
/** A boot takes seconds: of these machines one boots, in a worker that it shares, and the others begin as it was then. */
const WARM = {
  accel: 'wasm',
  memory: 256,
  display: true,
  warm: true,
  mounts: { '/host': { path: folder, readOnly: true }, '/shared': shared },
} as const;
let sharing: Vm;
let vm: Vm;

beforeAll(async () => {
  if (guest.missing !== undefined) return;
  // Two at a time: one makes the template, and the other waits for it.
  [sharing, vm] = await Promise.all([sdk.Vm.create({ ...WARM, worker: 'shared' }), sdk.Vm.create(WARM)]);
});
afterAll(async () => {
  for (const machine of [sharing, vm] as (Vm | undefined)[]) await machine?.stop();
});

describeWith([guest], 'a machine with Linux in it', () => {
  it('runs programs and scripts', async () => {
    const { exitCode, stdout, stderr } = await vm.exec('echo out; echo err >&2; exit 7');
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 7, stdout: 'out\n', stderr: 'err\n' });
    expect((await vm.exec(['printf', '%s|', 'a b', '', '"'])).stdout).toBe('a b||"|');
    const env = { HOME: '/x', NAME: 'value with spaces', PATH: undefined };
    const { stdout: told } = await vm.exec(['/bin/sh', '-c', 'echo $NAME $HOME; pwd'], { env, cwd: '/proc' });
    expect(told).toBe('value with spaces /x\n/proc\n');
    expect((await vm.exec('id -u; id -g; echo $HOME', { user: '1000:5' })).stdout).toBe('1000\n5\n/\n');
  });

  it('tells why a command does not run', async () => {
    await expect(vm.exec(['nonesuch'])).rejects.toThrow('cannot run "nonesuch" in the guest: no such file or folder');
    await expect(vm.exec(['/etc/passwd'])).rejects.toMatchObject({ name: 'ExecError', code: 'EACCES' });
    await expect(vm.exec('true', { user: 'nobody' })).rejects.toThrow('there is no such user');
    await expect(vm.exec('true', { cwd: '/none' })).rejects.toThrow('its folder: no such file or folder');
    await expect(vm.exec([])).rejects.toThrow('give a program to run');
    await expect(vm.exec(5 as never)).rejects.toThrow('a command is a list of texts, not a number');
    await expect(vm.exec(['cat'], { stdin: 5 as never })).rejects.toThrow('stdin is a text or bytes (Uint8Array)');
    await expect(vm.fs.read(5 as never)).rejects.toMatchObject({ name: 'UsageError' });
    const wrong: (() => unknown)[] = [
      () => vm.exec('true', null as never),
      () => vm.exec('true', { env: 5 as never }),
      () => vm.exec('true', { timeuot: 5 } as never),
      () => vm.spawn('true', { timeout: 5 } as never),
      () => vm.shell({ columns: 5 } as never),
      () => vm.fs.read('/etc/passwd', { lenght: 5 } as never),
      () => vm.fs.read('/etc/passwd', null as never),
      () => vm.fs.write('/tmp/x', '', null as never),
      () => vm.fs.exists('/tmp', null as never),
      () => vm.fs.read('/etc/passwd', { offset: -3 }),
      () => vm.fs.symlink('a', '/tmp/x', { mode: 5 } as never),
      () => vm.ports.forward({ guestPort: 80, guest: 5 } as never),
      () => vm.exec('true', { tty: 'x' as never }),
      () => vm.exec('true', { tty: { columns: 80 } as never }),
      () => vm.exec('true', { timeout: '5000' as never }),
      () => vm.exec('true', { maxOutput: '100' as never }),
      () => vm.exec('true', { check: 'no' as never }),
      () => vm.spawn(undefined as never),
      () => vm.spawn('true', { signal: {} as never }),
      () => vm.spawn('true').write(5 as never),
      () => vm.spawn('true').resize('x' as never),
      () => vm.fs.readTo('/etc/passwd', 5 as never),
      () => vm.fs.symlink(5 as never, '/tmp/x'),
      () => vm.fs.chown('/tmp', 2 ** 40, 0),
      () => vm.fs.upload(5 as never, '/tmp/x'),
      () => vm.fs.download('/etc/passwd', undefined as never),
      () => vm.ports.forward('80' as never),
      () => vm.serial.onData(5 as never),
      () => vm.monitor.on(5 as never),
      () => vm.identify(undefined as never),
      () => vm.identify({ name: 'x' } as never),
      () => vm.snapshot(undefined as never),
      () => vm.shutdown({ graec: 0 } as never),
      () => vm.shutdown(null as never),
    ];
    for (const call of wrong)
      await expect(Promise.resolve().then(call), call.toString()).rejects.toMatchObject({
        name: 'UsageError',
        message: expect.stringMatching(/^[^\n]+$/) as unknown,
      });
    await expect(vm.fs.write('/tmp/x', '', { how: 'insert' as never })).rejects.toThrow(
      'how is replace, append, create, not "insert"',
    );
    await expect(vm.exec(['x'.repeat(300_000)])).rejects.toThrow('arguments and variables are too long');
    await expect(vm.exec('echo why >&2; exit 3', { check: true })).rejects.toThrow('ended with exit code 3: why');
  });

  it('runs 50 commands at a time, and one behind the other', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => vm.exec(`sleep 0.1; echo ${i}; exit ${i}`)));
    expect(all.map(({ exitCode }) => exitCode)).toEqual(all.map((_, i) => i));
    expect(all.map(({ stdout }) => stdout)).toEqual(all.map((_, i) => `${i}\n`));
    for (let i = 0; i < 50; i++) expect((await vm.exec(['true'])).exitCode).toBe(0);
  });

  it('echoes binary input', async () => {
    const input = randomBytes(ECHOED);
    const hash = createHash('sha256');
    const { stdoutBytes } = await vm.exec(['cat'], { stdin: input, onStdout: (bytes) => void hash.update(bytes) });
    expect(stdoutBytes).toHaveLength(0);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(input).digest('hex'));
    // Input that nobody reads holds nothing up.
    expect((await vm.exec('exec <&-; exit 4', { stdin: input })).exitCode).toBe(4);
  });

  it('ends what takes too long, or is no longer wanted', async () => {
    const late = vm.exec('echo begun; sleep 100', { timeout: 500 });
    await expect(late).rejects.toMatchObject({
      name: 'ExecTimeoutError',
      result: { stdout: 'begun\n', exitCode: 137 },
    });
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 200);
    await expect(vm.exec('sleep 101', { signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    await expect(vm.exec('yes', { maxOutput: 100_000 })).rejects.toThrow('it wrote more than 100000 bytes');
    expect((await vm.exec('ps | grep -E "sleep 10[01]|ye[s]"')).stdout).toBe('');
    const process = vm.spawn('trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done');
    await process.stdout.getReader().read();
    process.kill();
    expect(await process.exited).toEqual({ exitCode: 9 });
    const killed = vm.spawn(['sleep', '102']);
    killed.kill('SIGKILL');
    expect(await killed.exited).toEqual({ exitCode: 137, signal: 'SIGKILL' });
  });

  it('does not wait for what a command leaves running', async () => {
    const started = performance.now();
    const { stdout } = await vm.exec('echo front; (sleep 20; echo back) &');
    expect(stdout).toBe('front\n');
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  it('has terminals that change their size', async () => {
    const shell = vm.shell({ size: { columns: 100, rows: 30 }, env: { PS1: '> ' } });
    let shown = '';
    const reading = (async () => {
      for await (const bytes of shell.stdout) shown += Buffer.from(bytes).toString();
    })();
    const until = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test(shown)) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await shell.write('stty size; tty; tput 2>/dev/null\n');
    await until(/30 100\r\n\/dev\/pts\/\d/);
    shell.resize({ columns: 77, rows: 11 });
    await shell.write('stty size\n');
    await until(/11 77\r\n/);
    await shell.write('sleep 103\n');
    await until(/sleep 103\r\n/);
    // Ctrl-C reaches what runs in the foreground.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await shell.write('\u0003exit 5\n');
    expect(await shell.exited).toEqual({ exitCode: 5 });
    await reading;
    expect((await vm.exec(['stty', 'size'], { tty: true })).stdout).toBe('24 80\r\n');
    // Input that ends.
    expect((await vm.exec(['cat'], { tty: true, stdin: 'typed\n' })).stdout).toContain('typed\r\ntyped\r\n');
    expect((await vm.exec(['echo', 'goes on'])).stdout).toBe('goes on\n');
  });

  it('has files', async () => {
    const { fs } = vm;
    await fs.mkdir('/srv/a/b', { parents: true });
    await fs.write('/srv/a/b/x', 'hello', { mode: 0o640 });
    await fs.write('/srv/a/b/x', Uint8Array.of(0, 255), { how: 'append' });
    expect([...(await fs.read('/srv/a/b/x'))]).toEqual([...Buffer.from('hello'), 0, 255]);
    expect(await fs.stat('/srv/a/b/x')).toMatchObject({ type: 'file', mode: 0o640, size: 7, uid: 0, links: 1 });
    await fs.symlink('b', '/srv/a/link');
    expect(await fs.readlink('/srv/a/link')).toBe('b');
    await expect(fs.list('/', { maxBytes: 100 })).rejects.toMatchObject({ code: 'EFBIG' });
    const names = (await fs.list('/srv/a')).map(({ name, type }) => `${name} ${type}`);
    expect(names.sort()).toEqual(['b folder', 'link link']);
    await fs.chmod('/srv/a/b/x', 0o4755);
    await fs.chown('/srv/a/b', 5, 6);
    expect(await fs.stat('/srv/a/b')).toMatchObject({ uid: 5, gid: 6 });
    const large = randomBytes(1_000_000);
    await fs.write('/srv/large', large);
    expect(large.equals(await fs.read('/srv/large'))).toBe(true);
    expect(large.subarray(999, 70_999).equals(await fs.read('/srv/large', { offset: 999, length: 70_000 }))).toBe(true);
    await fs.rename('/srv/large', '/srv/a/large');
    await expect(fs.remove('/srv/a')).rejects.toMatchObject({ code: 'ENOTEMPTY', path: '/srv/a' });
    await fs.remove('/srv/a', { recursive: true });
    expect(await fs.exists('/srv/a')).toBe(false);
    await expect(fs.read('/srv/none')).rejects.toThrow('cannot read /srv/none in the guest: no such file or folder');
    await expect(fs.read('srv')).rejects.toThrow('it begins with /');
    await expect(fs.read('/etc')).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(fs.write('/host/x', '')).rejects.toMatchObject({ code: 'EROFS' });
    await expect(fs.write('/root/x', '', { user: '1000' })).rejects.toMatchObject({ code: 'EACCES' });
  });

  it('takes and gives whole folders', async () => {
    const [from, to] = [path.join(folder, 'up'), path.join(folder, 'down')];
    mkdirSync(path.join(from, 'sub'), { recursive: true });
    const large = randomBytes(700_000);
    writeFileSync(path.join(from, 'sub/large'), large, { mode: 0o600 });
    writeFileSync(path.join(from, 'script'), '#!/bin/sh\necho ran', { mode: 0o755 });
    symlinkSync('sub/large', path.join(from, 'link'));
    for (let time = 0; time < 2; time++) await vm.fs.upload(from, '/srv/up');
    expect((await vm.exec('/srv/up/script; wc -c < /srv/up/link')).stdout).toBe('ran\n700000\n');
    await vm.exec('mknod /srv/up/pipe p; ln -s /etc /srv/up/out', { check: true });
    for (let time = 0; time < 2; time++) await vm.fs.download('/srv/up', to);
    expect(readdirSync(to).sort()).toEqual(['link', 'out', 'script', 'sub']);
    expect(large.equals(readFileSync(path.join(to, 'link')))).toBe(true);
    expect(statSync(path.join(to, 'script')).mode & 0o777).toBe(0o755);
    await vm.fs.download('/srv/up/script', path.join(folder, 'one'));
    expect(readFileSync(path.join(folder, 'one'), 'utf8')).toBe('#!/bin/sh\necho ran');
    // A link that is there is not followed.
    await expect(vm.fs.download('/srv/up/script', path.join(to, 'out'))).rejects.toThrow('cannot write');
    await expect(vm.fs.upload('/none', '/srv/x')).rejects.toThrow('cannot read /none: no such file');
    await expect(vm.fs.download('/none', to)).rejects.toThrow('cannot look at /none in the guest');
  });

  it('leaves no part of a file whose download is given up', async () => {
    await vm.exec('truncate -s 64G /tmp/endless', { check: true });
    const to = path.join(folder, 'endless');
    const giveUp = new AbortController();
    const download = vm.fs.download('/tmp/endless', to, { signal: giveUp.signal });
    void vi.waitUntil(() => (statSync(to, { throwIfNoEntry: false })?.size ?? 0) > 0).then(() => giveUp.abort());
    await expect(download).rejects.toMatchObject({ name: 'AbortError' });
    expect(existsSync(to)).toBe(false);
    await vm.fs.remove('/tmp/endless');
  });

  it('tells what happens in a folder', async () => {
    const watch = await vm.fs.watch('/tmp');
    await vm.fs.write('/tmp/one', '1');
    await vm.fs.rename('/tmp/one', '/tmp/two');
    await vm.fs.remove('/tmp/two');
    const seen: FileEvent[] = [];
    for await (const event of watch) {
      seen.push(event);
      if (event.change === 'removed') break;
    }
    const told = seen.map(({ change, name }) => `${change} ${name}`).filter((text) => text !== 'changed one');
    expect(told).toEqual(['created one', 'moved-from one', 'moved-to two', 'removed two']);
  });

  it('has ports that lead into it', async () => {
    await vm.fs.mkdir('/www');
    await vm.fs.write('/www/index.html', 'served');
    await vm.exec('httpd -h /www -p 127.0.0.1:80', { check: true });
    const { hostPort } = await vm.ports.forward(80);
    expect(await (await fetch(`http://127.0.0.1:${hostPort}/index.html`)).text()).toBe('served');
    const nobody = await vm.ports.forward(81);
    await expect(fetch(`http://127.0.0.1:${nobody.hostPort}/`)).rejects.toThrow();
    await expect(vm.ports.forward({ guestPort: 80, hostPort })).rejects.toThrow('it is in use');
    await expect(vm.ports.forward({ guestPort: 80, guestAddress: 'x' })).rejects.toThrow('x is no IPv4 address');
  });

  it('is forked into machines that share nothing they write, and have names and addresses of their own', async () => {
    await vm.fs.write('/etc/machine-id', `${'0'.repeat(32)}\n`);
    await vm.fs.write('/root/of-both', 'before');
    const forks: Vm[] = [await vm.fork()];
    try {
      await vm.fs.write('/root/of-both', 'parent');
      expect(await forks[0].fs.readText('/root/of-both')).toBe('before');
      await forks[0].fs.write('/root/of-both', 'fork');
      // A fork of a fork, and another one of the first machine.
      forks.push(await forks[0].fork({ identity: { hostname: 'third' } }), await vm.fork());
      const contents = await Promise.all([vm, ...forks].map((machine) => machine.fs.readText('/root/of-both')));
      expect(contents).toEqual(['parent', 'fork', 'fork', 'parent']);
      const script =
        'hostname; cat /etc/machine-id /sys/class/net/eth0/address; ip -4 -o addr show eth0 | sed "s/.*inet //; s/ .*//"; head -c 8 /dev/urandom | od -x | head -n 1; ping -c 1 10.0.2.2 > /dev/null && echo reached; date +%s';
      const begun = Date.now();
      const told = await Promise.all(
        [vm, ...forks].map(async (machine) => (await machine.exec(script)).stdout.trim().split('\n')),
      );
      expect(told.map(({ length }) => length)).toEqual([7, 7, 7, 7]);
      for (let i = 0; i < 5; i++) expect(new Set(told.map((lines) => lines[i])).size).toBe(4);
      expect(told.map(([name]) => name.replace(/-[0-9a-f]{6}$/, ''))).toEqual([
        'vitrine',
        'vitrine',
        'third',
        'vitrine',
      ]);
      for (const [, , , address, , reached, time] of told) {
        expect([address.replace(/\d+\/24$/, ''), reached]).toEqual(['10.0.2.', 'reached']);
        expect(Number(time)).toBeGreaterThan(begun / 1000 - 5);
        expect(Number(time)).toBeLessThan(Date.now() / 1000 + 5);
      }
      // What it boots is read only now, from the template of the first one; it stays who it is.
      const ticking = forks[1].spawn('while :; do echo tick; sleep 0.1; done');
      await ticking.pid;
      await Promise.all([forks[1].reset(), forks[1].reset()]);
      await expect(ticking.exited).rejects.toMatchObject({ name: 'AgentGoneError', message: 'the machine was reset' });
      expect(await forks[1].fs.exists('/root/of-both')).toBe(false);
      expect((await forks[1].exec('hostname')).stdout).toBe('third\n');
      const twin = await forks[0].fork({ identity: false });
      forks.push(twin);
      expect((await twin.exec('hostname')).stdout.trim()).toBe(told[1][0]);
      await expect(vm.fork({ identity: { mac: 'x' } })).rejects.toThrow('"x" is no hardware address of a card');
      await expect(vm.fork({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
      expect((await vm.exec('hostname')).stdout).toBe('vitrine\n');
    } finally {
      await Promise.all(forks.map((machine) => machine.stop()));
    }
  });

  it('has a serial port that is heard and typed into', async () => {
    let heard = '';
    const off = vm.serial.onData((bytes) => (heard += new TextDecoder().decode(bytes)));
    const typed = vm.exec('head -n 1 < /dev/ttyS0');
    // Nothing keeps what is typed before somebody listens.
    const typist = setInterval(() => void vm.serial.write('typed\n'), 100);
    expect((await typed).stdout.trim()).toBe('typed');
    clearInterval(typist);
    await vm.exec('echo spoken > /dev/ttyS0');
    await vi.waitFor(() => expect(heard).toContain('spoken'));
    expect(vm.serial.text).toContain('spoken');
    off();
    await expect(vm.serial.write(5 as never)).rejects.toThrow(
      'what is typed is a text or bytes (Uint8Array), not a number',
    );
  });

  it('has a screen, which it shows, and takes keys', async () => {
    await vm.exec('echo on the screen > /dev/tty0');
    await vi.waitFor(async () => expect((await vm.display.text()).join('\n')).toContain('on the screen'));
    const picture = Buffer.from(await vm.display.screenshot());
    expect(picture.subarray(1, 4).toString()).toBe('PNG');
    const typed = vm.exec('head -n 1 < /dev/tty1');
    const typist = setInterval(() => vm.display.press('KeyH', 'Enter'), 200);
    expect((await typed).stdout).toBe('h\n');
    clearInterval(typist);
    expect(() => vm.display.input({ kind: 'point', x: -1, y: 0, buttons: 0 })).toThrow('there is no such event');
    await expect(vm.display.screenshot('gif' as never)).rejects.toThrow('there are no pictures of the kind "gif"');
  });

  it('tells what happens to it, and what it does', async () => {
    const seen: string[] = [];
    const off = vm.monitor.on(({ kind }) => seen.push(kind));
    const [{ retired: before = 0n }] = vm.monitor.metrics.cpus;
    await vm.pause();
    await vm.resume();
    await vm.exec('i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done');
    const { accel, memory, cpus, uptime } = vm.monitor.metrics;
    expect({ accel, memory }).toEqual({ accel: 'wasm', memory: 256 * 2 ** 20 });
    expect(cpus[0].retired).toBeGreaterThan(before);
    expect(uptime).toBeGreaterThan(0);
    expect((await vm.monitor.inspect()).memory).toBe(memory);
    expect(seen).toEqual(['paused', 'resumed']);
    off();
  });

  it('is saved, and restored beside itself', async () => {
    const file = path.join(folder, 'saved');
    const ticking = vm.spawn('while :; do echo tick; sleep 0.1; done');
    await ticking.pid;
    await vm.fs.write('/root/kept', 'kept');
    await vm.snapshot(file);
    expect((await vm.exec('echo goes on')).stdout).toBe('goes on\n');
    const other = await sdk.Vm.restore(file, { accel: 'wasm' });
    try {
      expect(await other.fs.readText('/root/kept')).toBe('kept');
      // What ran goes on there too.
      expect(Number((await other.exec('ps | grep -c "echo tic[k]"')).stdout)).toBe(1);
      const clock = Number((await other.exec('date +%s')).stdout);
      expect(Math.abs(clock - Date.now() / 1000)).toBeLessThan(10);
      await other.identify({ hostname: 'other', machineId: '0123456789abcdef0123456789abcdef' });
      const { stdout } = await other.exec('hostname; cat /etc/machine-id');
      expect(stdout).toBe('other\n0123456789abcdef0123456789abcdef\n');
      const kinds: string[] = [];
      const told = (async () => {
        for await (const { kind } of other.monitor.events()) kinds.push(kind);
      })();
      const typed = (async () => {
        for await (const bytes of other.serial.readable()) expect(bytes.length).toBeGreaterThan(0);
      })();
      await other.shutdown({ grace: 0 });
      await told;
      await typed;
      expect(kinds).toEqual(['exit']);
      expect(await other.exited).toEqual({ kind: 'power-off' });
      await expect(other.serial.write('x')).rejects.toMatchObject({ name: 'AgentGoneError' });
      await expect(other.exec('true')).rejects.toThrow('the machine has ended: it was switched off');
      await expect(other.ports.forward(80)).rejects.toThrow('the machine has ended');
      const gone = { name: 'AgentGoneError', message: 'the machine has ended' };
      for (const asked of [other.pause(), other.resume(), other.snapshot(file), other.fork()])
        await expect(asked).rejects.toMatchObject(gone);
    } finally {
      await other.stop();
    }
    expect((await vm.exec('hostname')).stdout).toBe('vitrine\n');
    ticking.kill();
    await ticking.exited;
  });
});

describeWith([guest], 'a machine that does not come up', () => {
  it('is an error of one line', async () => {
    const { Vm: Machine } = sdk;
    for (const [options, message] of [
      [{ memory: '512' }, 'the option "memory" is a number'],
      [{ cpus: 17 }, 'the option "cpus" is a whole number from 1 to 16'],
      [{ mem: 512 }, 'there is no option "mem"'],
      [{ cpu: 'z80' }, 'unknown CPU model "z80"; there are x86-64-v2, pentium4, 486'],
      [{ hostname: 5 }, 'the option "hostname" is letters, digits, - and . (64 at most)'],
      [{ net: { allow: ['example.org'] } }, 'the option "net" is true or false, or { restrict, allow }'],
      [{ net: { allow: [{ host: 'a' }] } }, '"allow" needs "restrict: true": without it everything can be reached'],
      [{ mounts: { '/here': '' } }, 'the option "mounts" is an object, each value of it a path, or { path, readOnly }'],
      [{ keepWrites: true }, 'what is written is kept in the disk of an image, and there is none (keepWrites)'],
      [{ signal: 5 }, 'the option "signal" is an AbortSignal'],
      [{ display: true, machine: 'microvm' }, 'the board microvm has no screen'],
      [5, 'options are an object'],
    ] as const)
      await expect(Machine.create(options as never)).rejects.toMatchObject({ name: 'UsageError', message });
    for (const disk of ['', { path: '' }, { path: 'x', format: 'vmdk' }] as never[])
      await expect(Machine.create({ disks: [disk] })).rejects.toThrow(/^the option "disks" is a list/);
    await expect(Machine.create({ disks: [{ path: '/none', cache: 'none' }] })).rejects.toThrow('no such file');
    await expect(Machine.create({ guest: 'none' })).rejects.toThrow('there is no guest none; there are amd64');
    await expect(Machine.create({ memory: 0.5 })).rejects.toThrow('a memory of 0.5 MiB');
    // The machine's thread says it, and not where the cache is.
    await expect(Machine.create({ memory: 1, accel: 'wasm' })).rejects.toMatchObject({
      name: 'UsageError',
      message: expect.stringMatching(/^the machine's memory is too small: the kernel of amd64[^/]*$/) as string,
    });
    await expect(Machine.create({ mounts: { relative: '/' } })).rejects.toThrow('it begins with /');
    await expect(Machine.create({ kernel: '/none' })).rejects.toThrow('cannot read the kernel /none: no such file');
    await expect(Machine.create({ initrd: '/none' })).rejects.toThrow('an initrd needs a kernel');
    await expect(Machine.restore('/none')).rejects.toThrow('/none');
    await expect(Machine.restore(undefined as never)).rejects.toMatchObject({ name: 'UsageError' });
    await expect(Machine.create({ bootTimeout: 300, accel: 'wasm' })).rejects.toThrow('did not answer within 300 ms');
    const signal = AbortSignal.timeout(300);
    await expect(Machine.create({ signal, accel: 'wasm' })).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  it('tells what its agent cannot do', async () => {
    const disk = path.join(folder, 'empty');
    await sdk.Vm.create({ accel: 'wasm', image: { disk } }).then(
      () => expect.fail('there is no such disk'),
      (error: unknown) => expect(String(error)).toContain('no such file'),
    );
  });
});

/** Makes two machines at once, which the cache has no room to keep the template of. */
const COLD = `
  const [sdk, kernel, initrd] = process.argv.slice(1);
  const { Vm } = await import(sdk);
  const told = [];
  const onProgress = ({ text }) => told.push(text);
  const options = { accel: 'interp', memory: 128, net: false, warm: true, kernel, initrd, onProgress };
  const vms = await Promise.all([Vm.create(options), Vm.create(options)]);
  for (const vm of vms) console.log((await vm.exec(['/bin/busybox', 'echo', 'up'])).stdout.trim());
  try { vms[0].display; } catch (error) { console.log(error.message); }
  await Promise.all(vms.map((vm) => vm.stop()));
  console.log(told.join('\\n'));`;

describeWith([guest, mountNamespace], 'warm machines on a full disk', () => {
  it('begin cold, with a line that says why', async () => {
    const full = path.join(folder, 'full-cache');
    mkdirSync(full);
    const url = new URL('../../dist/sdk/index.js', import.meta.url).href;
    const node = [
      process.execPath,
      '--input-type=module',
      '-e',
      COLD,
      url,
      guest.files['vmlinux'],
      guest.files['initrd'],
    ];
    const script = 'mount -t tmpfs -o size=4m none "$0" && "$@"; find "$0" -type f';
    const { stdout, stderr } = await runCommand('unshare', ['-Urm', 'sh', '-c', script, full, ...node], {
      env: { XDG_CACHE_HOME: full },
    });
    const line = 'started cold: the template for warm machines cannot be kept: no space left on the device';
    const screen = 'this machine has no screen: it was made without "display"';
    // The machine that waited for another's template has nothing to say. Nothing half-written stays.
    expect(stdout.trim().split('\n'), stderr).toEqual(['up', 'up', screen, line]);
  });
});

/** The first letters of a file. */
function beginning(file: string): string {
  const bytes = Buffer.alloc(7);
  const fd = openSync(file, 'r');
  readSync(fd, bytes);
  closeSync(fd);
  return bytes.toString();
}

describeWith([guest], 'machines that share a worker', () => {
  const worker = 'shared';
  const answers = async (machine: Vm): Promise<void> =>
    expect((await machine.exec('echo $((6 * 7))')).stdout).toBe('42\n');

  it('do what others do', async () => {
    const input = randomBytes(300_000);
    expect(Buffer.from((await sharing.exec(['cat'], { stdin: input })).stdoutBytes).equals(input)).toBe(true);
    await sharing.fs.write('/shared/from-guest', 'written');
    expect(readFileSync(path.join(shared, 'from-guest'), 'utf8')).toBe('written');
    await sharing.fs.mkdir('/www');
    await sharing.fs.write('/www/index.html', 'served');
    await sharing.exec('httpd -h /www -p 127.0.0.1:80; ping -c 1 10.0.2.2', { check: true });
    const { hostPort } = await sharing.ports.forward(80);
    expect(await (await fetch(`http://127.0.0.1:${hostPort}/index.html`)).text()).toBe('served');
    const shell = sharing.spawn('read line; echo "heard $line"', { tty: true });
    await shell.write('something\n');
    expect(await shell.exited).toEqual({ exitCode: 0 });
    const late = sharing.exec('sleep 100', { timeout: 300 });
    await expect(late).rejects.toMatchObject({ name: 'ExecTimeoutError' });
    expect(sharing.machine.facts).toMatchObject({ accel: 'wasm', threads: 1 });
    expect(sharing.machine.usage[0].retired).toBeGreaterThan(0n);
  });

  it('are forks of one, and of each other, that share nothing they write', async () => {
    await sharing.fs.write('/root/of-both', 'before');
    const forks = await Promise.all([sharing.fork(), sharing.fork({ worker: 'own' })]);
    try {
      expect(forks.map(({ machine }) => machine.worker)).toEqual(['shared', 'own']);
      await Promise.all(forks.map((machine, i) => machine.fs.write('/root/of-both', String(i))));
      forks.push(await forks[0].fork(), await forks[1].fork({ worker }));
      const machines = [sharing, ...forks];
      const contents = await Promise.all(machines.map((machine) => machine.fs.readText('/root/of-both')));
      expect(contents).toEqual(['before', '0', '1', '0', '1']);
      const names = await Promise.all(machines.map(async (machine) => (await machine.exec('hostname')).stdout));
      expect(new Set(names).size).toBe(5);
    } finally {
      await Promise.all(forks.map((machine) => machine.stop()));
    }
  });

  it('go on while one of them computes, stands still, is saved, or ends', async () => {
    const [busy, held] = await Promise.all([sharing.fork(), sharing.fork()]);
    const file = path.join(folder, 'of-several');
    try {
      const endless = busy.spawn('while :; do :; done');
      await endless.pid;
      await held.pause();
      const waiting = held.exec('echo on');
      await answers(sharing);
      await held.snapshot(file);
      await answers(sharing);
      const restored = await sdk.Vm.restore(file, { accel: 'wasm', worker });
      await answers(restored);
      await restored.shutdown();
      expect(await restored.exited).toEqual({ kind: 'power-off' });
      await held.resume();
      expect((await waiting).stdout).toBe('on\n');
      endless.kill('SIGKILL');
      expect(await endless.exited).toEqual({ exitCode: 137, signal: 'SIGKILL' });
      await busy.stop();
      expect(await busy.exited).toEqual({ kind: 'stopped' });
    } finally {
      await Promise.all([busy, held].map((machine) => machine.stop()));
    }
    await answers(sharing);
  });

  it('do not fail with one that cannot begin', async () => {
    const file = path.join(folder, 'no-snapshot');
    writeFileSync(file, 'something else');
    await expect(sdk.Vm.restore(file, { worker })).rejects.toThrow('no-snapshot');
    await expect(sharing.fork({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    for (const [options, message] of [
      [{ cpus: 2 }, 'a machine that shares its worker has one CPU'],
      [{ accel: 'kvm' }, 'a machine that shares its worker runs on wasm or interp'],
    ] as const)
      await expect(sdk.Vm.create({ worker, ...options })).rejects.toMatchObject({ name: 'UsageError', message });
    await expect(sharing.fork({ accel: 'kvm' })).rejects.toMatchObject({ name: 'UsageError' });
    expect(() => sharing.machine.limit({ pin: [0] })).toThrow('cannot be pinned');
    await answers(sharing);
  });

  it('do not fail with one that breaks while it runs', async () => {
    const broken = await sharing.fork();
    // What they boot is read when they are reset, from the template, or from a file in memory if that was made of them.
    const boots = readdirSync('/proc/self/fd')
      .map((fd) => `/proc/self/fd/${fd}`)
      .filter(
        (file) =>
          existsSync(file) && /memfd:vitrine|templates/.test(readlinkSync(file)) && beginning(file) === 'VITRINE',
      )
      .map((file) => openSync(file, 'r+'));
    for (const fd of boots) writeSync(fd, 'DAMAGED', 0);
    try {
      const gone = { name: 'AgentGoneError', message: expect.stringMatching(/^the machine broke: /) as string };
      await expect(broken.reset()).rejects.toMatchObject(gone);
      await expect(broken.exec('true')).rejects.toMatchObject(gone);
      await expect(broken.exited).rejects.toMatchObject({ name: 'VitrineError' });
      await answers(sharing);
    } finally {
      for (const fd of boots) {
        writeSync(fd, 'VITRINE', 0);
        closeSync(fd);
      }
    }
    const next = await sharing.fork();
    await answers(next);
    await next.stop();
  });

  it('leave no memory behind', async () => {
    const mappings = (): number => readFileSync('/proc/self/maps', 'utf8').match(/memfd:vitrine/g)?.length ?? 0;
    for (let time = 0; time < 2; time++) {
      const fork = await sharing.fork();
      await fork.stop();
    }
    // One that goes on has as many as it needs; each of ten more would have as many again.
    const most = 2 * mappings();
    for (let time = 0; time < 10; time++) {
      const fork = await sharing.fork();
      await fork.stop();
    }
    await vi.waitFor(() => expect(mappings()).toBeLessThanOrEqual(most), { timeout: 20_000 });
  });
});

describeWith([guest], 'machines that begin warm', () => {
  it('are as the first was, share nothing that they write, and can be doubled', async () => {
    expect(readdirSync(path.join(cache, 'vitrine/templates'))).toHaveLength(1);
    const machines: Vm[] = await Promise.all([sdk.Vm.create(WARM), sdk.Vm.create({ ...WARM, worker: 'shared' })]);
    try {
      for (const [i, machine] of machines.entries()) await machine.fs.write('/root/own', String(i));
      for (const [i, machine] of machines.entries()) expect(await machine.fs.readText('/root/own')).toBe(String(i));
      machines.push(await machines[1].fork());
      expect(await machines[2].fs.readText('/root/own')).toBe('1');
      await machines[2].fs.remove('/root/own');
      expect(await machines[1].fs.exists('/root/own')).toBe(true);
      // Not the same random numbers in two that were one.
      const random = ['/bin/busybox', 'sh', '-c', 'head -c 16 /dev/urandom | od -x'];
      const drawn = await Promise.all(machines.map(async (machine) => (await machine.exec(random)).stdout));
      expect(new Set(drawn).size).toBe(3);
      // What a template's machine saves is a snapshot as any other.
      const file = path.join(folder, 'of-a-fork');
      await machines[0].snapshot(file);
      machines.push(await sdk.Vm.restore(file, { accel: 'wasm' }));
      expect(await machines[3].fs.readText('/root/own')).toBe('0');
      await expect(sdk.Vm.create({ ...WARM, disks: ['/x'] })).rejects.toThrow('read-only or temporary');
    } finally {
      await Promise.all(machines.map((machine) => machine.stop()));
    }
  });
});
