import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ApiClient } from '../api/client.js';
import { NodeTransport } from '../api/node-transport.js';
import type { SocketListener } from '../api/transport.js';
import { describeWith, requireGuest } from '../testing/tools.js';

const guest = await requireGuest('amd64');
const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-serve-'));
const config = path.join(folder, 'serve.json');
const state = path.join(folder, 'state');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const vitrine = (...args: string[]): string => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
};

async function start(): Promise<{ readonly server: ChildProcess; readonly address: string }> {
  const args = [
    program,
    'serve',
    '--port',
    '0',
    '--config',
    config,
    '--state',
    state,
    '--log',
    path.join(folder, 'log'),
  ];
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  return { server, address: line.toString().trim() };
}

const collect = async (parts: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(part);
  return Buffer.concat(all);
};

const MACHINE = { memory: 128, warm: true, display: true } as const;

describeWith([guest], 'vitrine serve', () => {
  let server: ChildProcess;
  let alice: ApiClient;
  let address: string;
  let token: string;

  beforeAll(async () => {
    token = vitrine('serve', 'token', 'add', 'alice', '--config', config);
    const settings = JSON.parse(readFileSync(config, 'utf8')) as { tenants: { alice: object } };
    Object.assign(settings.tenants.alice, {
      network: 'open',
      limits: { machines: 3, memory: 1024, lifetime: 600, cpuCap: 150 },
      ports: { address: '127.0.0.1', from: 20_000, to: 29_999 },
    });
    writeFileSync(config, JSON.stringify(settings));
    ({ server, address } = await start());
    alice = new ApiClient(new NodeTransport(address, { token }));
    await alice.create({ name: 'one', ...MACHINE });
  });
  afterAll(async () => {
    if (server.exitCode !== null) return;
    server.kill();
    await once(server, 'exit');
  });

  it('runs commands to their ends', async () => {
    const result = await alice.exec('one', { command: 'cat; echo e >&2; exit 3', stdin: 'in' });
    expect(result).toEqual({ exitCode: 3, stdout: 'in', stderr: 'e\n' });
    const bytes = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString('base64');
    const echoed = await alice.exec('one', { command: ['cat'], stdin: bytes, encoding: 'base64' });
    expect(echoed.stdout).toBe(bytes);
    await expect(alice.exec('one', { command: ['nonesuch'] })).rejects.toMatchObject({ code: 'ENOENT', status: 400 });
    await expect(alice.exec('one', { command: 'sleep 9', timeout: 100 })).rejects.toMatchObject({ code: 'timeout' });
    await expect(alice.exec('one', { command: 'yes', maxOutput: 1000 })).rejects.toThrow('more than 1000 bytes');
  });

  it('carries the streams of commands', async () => {
    const sent = Buffer.alloc(1_000_000, 'vitrine ');
    const got: Uint8Array[] = [];
    const session = alice.execStream('one', { command: ['cat'] }, { stdout: (bytes) => void got.push(bytes.slice()) });
    for (let at = 0; at < sent.length; at += 100_000) await session.write(sent.subarray(at, at + 100_000));
    session.end();
    expect(await session.exited).toEqual({ exitCode: 0 });
    expect(Buffer.concat(got).equals(sent)).toBe(true);
  });

  it('carries terminals, their sizes, and signals', async () => {
    let shown = '';
    const seen = async (wanted: string): Promise<void> => {
      while (!shown.includes(wanted)) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const session = alice.execStream(
      'one',
      { command: ['/bin/sh', '-i'], tty: { columns: 91, rows: 17 } },
      { stdout: (bytes) => void (shown += Buffer.from(bytes).toString()) },
    );
    await session.write(Buffer.from('stty size\n'));
    await seen('17 91');
    session.resize({ columns: 120, rows: 40 });
    await session.write(Buffer.from('stty size; echo rea""dy; exec sleep 60\n'));
    await seen('40 120');
    await seen('ready');
    session.kill('SIGKILL');
    expect(await session.exited).toEqual({ exitCode: 137, signal: 'SIGKILL' });
    await expect(alice.execStream('one', { command: [''] }, { stdout: () => {} }).exited).rejects.toMatchObject({
      code: 'invalid',
    });
  });

  it('ends the command of a client that hangs up', async () => {
    const begun = new Promise<void>((resolve) => {
      const session = alice.execStream(
        'one',
        { command: 'echo up; exec sleep 4321' },
        {
          stdout: () => {
            session.close();
            resolve();
          },
        },
      );
    });
    await begun;
    await expect
      .poll(async () => (await alice.exec('one', { command: 'pgrep -f "sleep 4321" | wc -l' })).stdout, {
        timeout: 5000,
      })
      // The look itself is a shell with these words.
      .toMatch(/^[01]\n$/);
  });

  it('reads and writes files', async () => {
    const sent = Buffer.alloc(700_000, 'file ');
    await alice.makeFolder('one', '/srv/a/b', { parents: true });
    await alice.writeFile('one', '/srv/a/b/c', sent, { mode: 0o640 });
    expect((await collect(await alice.readFile('one', '/srv/a/b/c'))).equals(sent)).toBe(true);
    expect((await collect(await alice.readFile('one', '/srv/a/b/c', { offset: 5, length: 4 }))).toString()).toBe(
      'file',
    );
    await alice.makeLink('one', 'c', '/srv/a/b/link');
    expect(await alice.readLink('one', '/srv/a/b/link')).toBe('c');
    expect(await alice.fileStatus('one', '/srv/a/b/link')).toMatchObject({ type: 'file', mode: 0o640, size: 700_000 });
    expect(await alice.fileStatus('one', '/srv/a/b/link', { follow: false })).toMatchObject({ type: 'link' });
    expect((await alice.listFolder('one', '/srv/a/b')).map(({ name }) => name).sort()).toEqual(['c', 'link']);
    await alice.writeFile('one', '/srv/empty', '');
    expect((await collect(await alice.readFile('one', '/srv/empty'))).length).toBe(0);
    await alice.removeFile('one', '/srv/a', { recursive: true });
    await expect(alice.readFile('one', '/srv/a/b/c')).rejects.toMatchObject({ code: 'ENOENT', status: 404 });
    await expect(alice.writeFile('one', '/srv/empty', 'x', { how: 'create' })).rejects.toMatchObject({ status: 409 });
  });

  it('shows the screen', async () => {
    expect(
      Buffer.from(await alice.screenshot('one'))
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    const { text, socket } = await firstBytes((listener) => alice.display('one', listener), 12);
    expect(text).toBe('RFB 003.008\n');
    socket.close();
  });

  it('carries frames of machines in pages', async () => {
    const mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    const question = [...Array<number>(6).fill(0xff), ...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...mac, 10, 0, 2, 15];
    const frame = Uint8Array.from([...question, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    const transport = new NodeTransport(address, { token });
    const answer = await new Promise<Uint8Array>((resolve, reject) => {
      const socket = transport.webSocket('/v1/relay', {
        open: () => void socket.send(frame),
        text: () => {},
        binary: (bytes) => {
          resolve(bytes.slice());
          socket.close();
        },
        closed: (error) => reject(error ?? new Error('closed')),
      });
    });
    // RFC 826: an answer, from the gateway.
    expect([...answer.subarray(12, 22)]).toEqual([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    expect([...answer.subarray(28, 32)]).toEqual([10, 0, 2, 2]);
  });

  it('opens ports', async () => {
    const session = alice.execStream(
      'one',
      { command: 'while :; do echo served | nc -l -p 80; done' },
      { stdout: () => {} },
    );
    const { hostPort, id } = await alice.openPort('one', { guestPort: 80 });
    expect(hostPort).toBeGreaterThanOrEqual(20_000);
    await expect.poll(() => fetchText(hostPort), { timeout: 10_000 }).toContain('served');
    await alice.closePort('one', id);
    expect(await fetchText(hostPort)).toBe('');
    session.close();
  });

  it('forks, within limits', async () => {
    await alice.exec('one', { command: 'echo kept > /root/kept' });
    expect(await alice.fork('one', { name: 'two' })).toMatchObject({ state: 'running', origin: 'fork:one' });
    expect((await alice.exec('two', { command: 'hostname; cat /root/kept' })).stdout).toBe('two\nkept\n');
    const { limits } = await alice.metrics('one');
    expect(limits.cap).toBe(75);
    await expect(alice.create({ memory: 4096 })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(alice.create({ memory: 900 })).rejects.toMatchObject({ code: 'limit', status: 429 });
    await expect(alice.create({ lifetime: 601 })).rejects.toMatchObject({ code: 'forbidden' });
    const third = await alice.create({ ...MACHINE, lifetime: 8, command: 'echo begun; sleep 99' });
    await expect(alice.create(MACHINE)).rejects.toMatchObject({ code: 'limit' });
    expect((await collect(await alice.logs(third.name, { follow: true }))).toString()).toBe('begun\n');
    expect(await alice.get(third.name)).toMatchObject({ state: 'ended', exit: { kind: 'expired' } });
    await alice.remove('two');
  });

  it('runs machines for their commands', async () => {
    const { name } = await alice.create({ ...MACHINE, command: 'echo out; echo err >&2; exit 5' });
    expect((await collect(await alice.logs(name, { follow: true }))).toString().split('\n').sort()).toEqual([
      '',
      'err',
      'out',
    ]);
    await expect.poll(async () => (await alice.get(name)).command?.exitCode).toBe(5);
    await expect(alice.exec(name, { command: 'id' })).rejects.toMatchObject({ code: 'gone', status: 410 });
  });

  it('keeps snapshots when it is killed, and nothing that is half-made', async () => {
    const { size } = await alice.snapshot('one', { name: 'kept' });
    const shelf = path.join(state, 'tenants', 'alice', 'snapshots');
    server.kill('SIGKILL');
    await once(server, 'exit');
    writeFileSync(path.join(shelf, 'half.part'), 'x');
    writeFileSync(path.join(shelf, 'lost.snapshot'), 'x');
    writeFileSync(path.join(state, 'tmp', 'left'), 'x');
    ({ server, address } = await start());
    alice = new ApiClient(new NodeTransport(address, { token }));
    expect(readdirSync(shelf).sort()).toEqual(['kept.json', 'kept.snapshot']);
    expect(existsSync(path.join(state, 'tmp', 'left'))).toBe(false);
    expect(await alice.list()).toEqual([]);
    expect(await alice.snapshots()).toMatchObject([{ name: 'kept', size }]);
    await alice.create({ snapshot: 'kept', name: 'again' });
    expect((await alice.exec('again', { command: 'cat /root/kept' })).stdout).toBe('kept\n');
    expect((await alice.get('again')).display).toBe(true);
    await alice.removeSnapshot('kept');
    expect(readdirSync(shelf)).toEqual([]);
  });

  it('lets one server have a folder', () => {
    expect(() => vitrine('serve', '--port', '0', '--config', config, '--state', state)).toThrow('another server uses');
  });

  it('takes away tokens at once, and ends when it is told to', async () => {
    expect(vitrine('serve', 'token', 'revoke', 'alice', '--config', config)).toBe('1 token taken away');
    await expect
      .poll(() => alice.list().then(String, (error: unknown) => (error as { code: string }).code), { timeout: 5000 })
      .toBe('unauthenticated');
    server.kill('SIGTERM');
    const [code] = (await once(server, 'exit')) as [number];
    expect(code).toBe(0);
    const events = readFileSync(path.join(folder, 'log'), 'utf8').trim().split('\n');
    expect(events.map((line) => (JSON.parse(line) as { event: string }).event).at(-1)).toBe('ended');
    expect(events.join()).not.toContain(token);
  });
});

async function firstBytes(
  open: (listener: SocketListener) => ReturnType<ApiClient['display']>,
  length: number,
): Promise<{ readonly text: string; readonly socket: ReturnType<ApiClient['display']> }> {
  let text = '';
  let socket: ReturnType<ApiClient['display']> | undefined;
  await new Promise<void>((resolve, reject) => {
    socket = open({
      open: () => {},
      text: () => {},
      binary: (bytes) => {
        text += Buffer.from(bytes).toString('latin1');
        if (text.length >= length) resolve();
      },
      closed: (error) => reject(error ?? new Error('closed')),
    });
  });
  if (!socket) throw new Error('no socket');
  return { text, socket };
}

/** What a port says; nothing where nobody listens. */
function fetchText(port: number): Promise<string> {
  const done = spawnSync(process.execPath, [
    '-e',
    `const s=require('net').connect(${port},'127.0.0.1');s.on('data',d=>process.stdout.write(d));s.on('error',()=>{});setTimeout(()=>s.destroy(),400)`,
  ]);
  return Promise.resolve(done.stdout.toString());
}
