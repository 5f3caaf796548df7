/** A real guest shares folders, sockets and ports with its host. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { noise } from '../testing/noise.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, quickBoot, requireGuest } from '../testing/tools.js';
import { vsockTool } from '../testing/vsock-tool.js';

const amd64 = await requireGuest('amd64');
const generic = await requireGuest('amd64-generic');
const quick = await quickBoot();

const PROMPT = /^vitrine:\S+# /m;

function folder(): string {
  const place = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-sharing-'));
  onTestFinished(() => fs.rmSync(place, { recursive: true, force: true }));
  return place;
}

/** A tree with contents of many sizes, links and odd names. Returns its checksums, as `md5sum` prints them in order. */
function plant(place: string): string {
  const next = noise(77);
  const sums: string[] = [];
  for (const name of ['empty', 'one', 'deep/er/and deeper/file', 'caf\u00e9', 'big', 'page']) {
    const file = path.join(place, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const size = { empty: 0, one: 1, big: 3_000_000, page: 4096 }[name] ?? 1000;
    const data = Uint8Array.from({ length: size }, () => next() >>> 11);
    fs.writeFileSync(file, data);
    sums.push(`${createHash('md5').update(data).digest('hex')}  ./${name}`);
  }
  fs.symlinkSync('/etc/passwd', path.join(place, 'absolute'));
  fs.symlinkSync('../../../../../..', path.join(place, 'up'));
  return sums.sort().join('\n');
}

const sumsOf = (place: string): string =>
  fs
    .readdirSync(place, { recursive: true, encoding: 'utf8' })
    .filter((name) => fs.lstatSync(path.join(place, name)).isFile())
    .map(
      (name) =>
        `${createHash('md5')
          .update(fs.readFileSync(path.join(place, name)))
          .digest('hex')}  ./${name}`,
    )
    .sort()
    .join('\n');

/** Types commands and waits for the prompt behind each; returns what they printed. */
async function say(vitrine: VitrineProcess, ...commands: string[]): Promise<string> {
  let printed = '';
  for (const command of commands) {
    const from = vitrine.output.length;
    // The mark is not to be found in the echo of what was typed.
    vitrine.type(`${command}; echo do""ne $?\n`);
    const end = await vitrine.until(/^done \d+\r?\n/m, from);
    await vitrine.until(PROMPT, end);
    printed += vitrine.output.slice(from, end).replaceAll('\r', '');
  }
  return printed;
}

/** A tree goes into the guest and back by one driver; what is read-only stays as it was. */
async function carry(vitrine: VitrineProcess, driver: string, mount: string, sums: string): Promise<void> {
  const at = `/mnt/${driver}`;
  await say(vitrine, `mkdir ${at} ${at}-ro`, `${mount} ${driver} ${at}`, `${mount} ${driver}-ro ${at}-ro`);
  const there = await say(vitrine, `cd ${at}/tree && find . -type f -exec md5sum {} + | sort; cd`);
  expect(there).toContain(sums);
  // What symbolic links lead to is the guest's own.
  expect(await say(vitrine, `cat ${at}/tree/absolute`)).toContain('root:x:0:0:root:/root:/bin/sh');
  expect(await say(vitrine, `ls ${at}/tree/up/`)).toContain('init');
  await say(vitrine, `cp -r ${at}/tree /tmp/${driver}`, `cp -a /tmp/${driver} ${at}/back`);
  await say(vitrine, `cd ${at}/back/deep`, 'mv ../../back ../../moved', 'echo more >er/new', 'cd');
  await say(vitrine, `i=0; while [ $i -lt 300 ]; do echo $i >${at}/moved/n$i; i=$((i+1)); done`, 'sync');
  expect(
    await say(vitrine, `echo x >${at}-ro/file`, `echo x >${at}-ro/new`, `rm ${at}-ro/file`, `cat ${at}-ro/file`),
  ).toMatch(/Read-only file system[^]*Read-only file system[^]*Read-only file system[^]*kept/);
}

/** What the guest made of a tree of the host, seen there. */
function checkMoved(place: string, sums: string): void {
  const moved = path.join(place, 'moved');
  expect(fs.readFileSync(path.join(moved, 'deep/er/new'), 'utf8')).toBe('more\n');
  for (let i = 0; i < 300; i++) {
    expect(fs.readFileSync(path.join(moved, `n${i}`), 'utf8')).toBe(`${i}\n`);
    fs.rmSync(path.join(moved, `n${i}`));
  }
  expect(fs.readlinkSync(path.join(moved, 'up'))).toBe('../../../../../..');
  // Node's recursive listing follows symbolic links.
  for (const name of ['deep/er/new', 'up', 'absolute']) fs.rmSync(path.join(moved, name));
  expect(sumsOf(moved)).toBe(sums);
}

describeWith([generic], 'shared folders', () => {
  it('carry trees both ways by virtiofs and by 9p', async () => {
    const drivers = [
      ['virtiofs', 'mount -t virtiofs'],
      ['9p', 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144'],
    ].map(([driver, mount]) => {
      const [place, secret] = [folder(), folder()];
      fs.mkdirSync(path.join(place, 'tree'));
      fs.writeFileSync(path.join(secret, 'file'), 'kept\n');
      return { driver, mount, place, secret, sums: plant(path.join(place, 'tree')) };
    });
    const shares = drivers.flatMap(({ driver, place, secret }) => [
      ...['--share', `${place},tag=${driver},driver=${driver}`],
      ...['--share', `${secret},readonly,tag=${driver}-ro,driver=${driver}`],
    ]);
    const vitrine = new VitrineProcess(['run', 'amd64-generic', ...quick, ...shares]);
    await vitrine.until(PROMPT);
    for (const { driver, mount, sums } of drivers) await carry(vitrine, driver, mount, sums);
    vitrine.type('poweroff\n');
    expect((await vitrine.ended).code).toBe(0);
    for (const { place, secret, sums } of drivers) {
      checkMoved(place, sums);
      expect(fs.readdirSync(secret)).toEqual(['file']);
    }
  });
});

/** Reads until the other side ends. */
async function everything(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Connects to a port of the guest's, again and again until it listens there. */
async function reach(socketPath: string, port: number): Promise<{ readonly socket: Socket; readonly line: string }> {
  for (;;) {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    socket.on('error', () => {});
    socket.write(`CONNECT ${port}\n`);
    const line = await new Promise<string>((resolve) => {
      let text = '';
      const read = (bytes: Buffer): void => {
        text += bytes.toString();
        if (!text.endsWith('\n')) return;
        socket.pause();
        socket.off('data', read);
        resolve(text);
      };
      socket.on('data', read);
      // Refused.
      socket.on('end', () => resolve(''));
      socket.on('close', () => resolve(''));
    });
    if (line !== '') return { socket, line };
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Connects, writes and goes, without waiting for anybody. */
async function leaveWord(socketPath: string, word: string): Promise<void> {
  const socket = connect(socketPath);
  socket.write(word, () => socket.destroy());
  await new Promise((resolve) => socket.once('close', resolve));
}

describeWith([amd64], 'sockets and ports', () => {
  it('connect programs of guest and host, before and after the machine was saved', async () => {
    const place = folder();
    const [vsock, port, snapshot] = ['v', 'p', 'snapshot'].map((name) => path.join(place, name));
    const shared = path.join(place, 'shared');
    fs.mkdirSync(shared);
    fs.writeFileSync(path.join(shared, 'vsock'), vsockTool(), { mode: 0o755 });
    const data = Uint8Array.from({ length: 2_000_000 }, noise(5)).fill(1, 0, 100);
    fs.writeFileSync(path.join(shared, 'data'), data);
    const received: Buffer[] = [];
    const server = createServer((socket) => void everything(socket).then((all) => received.push(all)));
    server.listen(`${vsock}_1234`);
    onTestFinished(() => void server.close());

    const run = new VitrineProcess([
      ...['run', ...quick, '--share', shared, '--vsock', `path=${vsock},cid=42`],
      ...['--port', `name=org.vitrine.test,path=${port}`, '--save-on-exit', snapshot],
    ]);
    await run.until(PROMPT);
    await say(run, 'mount -t virtiofs share /mnt');
    // The guest reaches the host; nobody listens at the other port.
    expect(await say(run, "/mnt/vsock c 1234 /bin/busybox sh -c 'cat /mnt/data'")).toContain('done 0');
    expect(await say(run, '/mnt/vsock c 1235 /bin/busybox true')).toContain('done 1');
    while (received.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(Buffer.compare(received[0], data)).toBe(0);
    // The host reaches the guest, which sends everything back.
    const echo = async (machine: VitrineProcess): Promise<void> => {
      machine.type('/mnt/vsock l 99 /bin/cat\n');
      const { socket, line } = await reach(vsock, 99);
      expect(line).toMatch(/^OK \d+\n$/);
      socket.end(data);
      expect(Buffer.compare(await everything(socket), data)).toBe(0);
    };
    await echo(run);
    // A port of the console, open as long as somebody is there.
    expect(await say(run, 'cat /sys/class/virtio-ports/vport0p1/name')).toContain('org.vitrine.test');
    run.type('exec 3<>/dev/vport0p1; read line <&3; echo "guest: $line" >&3\n');
    const client = connect(port);
    client.write('hello\n');
    const [answer] = (await new Promise<Buffer[]>((resolve) => client.once('data', (bytes) => resolve([bytes])))) as [
      Buffer,
    ];
    expect(answer.toString()).toBe('guest: hello\n');
    // Who has sent something and gone leaves room for the next, and the guest gets what all have sent, and then the end.
    client.destroy();
    await say(run, 'cat <&3');
    for (const word of ['one', 'two', 'three', 'four']) await leaveWord(port, `${word}\n`);
    const heard = await say(
      run,
      'for i in 1 2 3 4; do until read line <&3; do sleep 0.1; done; echo "heard $line"; done',
    );
    expect(heard).toMatch(/^heard one\nheard two\nheard three\nheard four$/m);
    await say(run, 'cat <&3');
    await say(run, 'exec 4</mnt/data', 'cd /mnt');
    run.kill('SIGTERM');
    expect((await run.ended).errors).toContain('saved to');
    client.destroy();

    const resumed = new VitrineProcess(['resume', snapshot]);
    resumed.type('\n');
    await resumed.until(/^vitrine:\S+# /m);
    // The open file and the folder are there still; connections begin anew.
    expect(await say(resumed, 'cd /mnt && head -c 100 <&4 | tr "\\\\001" x; ls; cd')).toMatch(/x{100}data\s+vsock/);
    await echo(resumed);
    const again = connect(port);
    resumed.type('echo "and again" >&3\n');
    const reply = await new Promise<Buffer>((resolve) => again.once('data', resolve));
    expect(reply.toString()).toBe('and again\n');
    again.destroy();
    resumed.type('poweroff\n');
    expect((await resumed.ended).code).toBe(0);
    expect(fs.existsSync(vsock)).toBe(false);
  });

  it('say in one line what is wrong with them', async () => {
    const place = folder();
    const server = createServer().listen(path.join(place, 'used'));
    onTestFinished(() => void server.close());
    const cases: [string[], RegExp][] = [
      [['--share', path.join(place, 'nowhere')], /^vitrine: cannot share .*nowhere: .*no such/im],
      [['--vsock', `path=${place}/no/v`], /^vitrine: cannot listen on the socket .*: there is no folder/m],
      [['--vsock', `path=${place}/used`], /^vitrine: cannot listen on the socket .*: it is in use/m],
      [['--port', 'name=a b,path=/tmp/x'], /^vitrine: --port .* has no name/m],
      [['--vsock', 'path=/tmp/x,cid=2'], /^vitrine: --vsock cid=2 is not in/m],
    ];
    for (const [options, message] of cases) {
      const { code, errors } = await new VitrineProcess(['run', '--accel', 'wasm', ...options]).ended;
      expect(errors).toMatch(message);
      expect(code).not.toBe(0);
      expect(errors.trim().split('\n')).toHaveLength(1);
    }
  });
});
