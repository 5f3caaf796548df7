/** Networks as real guests have them, against servers on this host's loopback. */
import { createHash } from 'node:crypto';
import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as net from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, requireGuest } from '../testing/tools.js';

const amd64 = await requireGuest('amd64');

const PROMPT = /^vitrine:~# /m;

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-net-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Does something when what uses it is over. */
type AtEnd = (end: () => void) => unknown;

const listening = async (server: net.Server | http.Server, atEnd: AtEnd = onTestFinished): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => void server.close());
  return (server.address() as net.AddressInfo).port;
};

/** A body of `megabytes`, the same every time. */
const megabyte = Buffer.from(Uint8Array.from({ length: 2 ** 20 }, (_, i) => (i * 31 + (i >> 7)) & 0xff));
const digest = (megabytes: number): string => {
  const hash = createHash('sha256');
  for (let i = 0; i < megabytes; i++) hash.update(megabyte);
  return hash.digest('hex');
};

/** Serves `/N`, N megabytes, and says how many bytes it was sent. */
function webServer(): http.Server {
  return http.createServer((request, response) => {
    if (request.method === 'POST') {
      const hash = createHash('sha256');
      request.on('data', (data: Buffer) => hash.update(data));
      request.on('end', () => response.end(`${hash.digest('hex')}\n`));
      return;
    }
    let left = Number(request.url?.slice(1));
    const more = (): void => {
      while (left > 0) {
        left--;
        if (!response.write(megabyte)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
  });
}

/** A name server that knows one name: example.test is 192.0.2.7. */
async function nameServer(atEnd: AtEnd): Promise<number> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (question, { port, address }) => {
    const end = question.indexOf(0, 12) + 5;
    const known = question.subarray(12, end - 4).includes('example') && question.readUInt16BE(end - 4) === 1;
    const answer = Buffer.concat([
      question.subarray(0, end),
      known ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]) : Buffer.alloc(0),
    ]);
    answer[2] = 0x81;
    answer[3] = 0x80;
    answer.writeUInt32BE(known ? 0x1_0000 : 0, 6);
    answer.writeUInt16BE(known ? 1 : 0, 6);
    answer.fill(0, 8, 12);
    socket.send(answer, port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  atEnd(() => void socket.close());
  return socket.address().port;
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs shell commands in a guest, each until its prompt comes back. */
class Shell {
  private at = 0;

  private constructor(readonly vitrine: VitrineProcess) {}

  static async boot(args: readonly string[]): Promise<Shell> {
    const shell = new Shell(VitrineProcess.ofSuite(['run', '--memory', '256M', ...args]));
    shell.at = await shell.vitrine.until(PROMPT);
    return shell;
  }

  async run(command: string): Promise<string> {
    const from = this.at;
    this.vitrine.type(`${command}\n`);
    this.at = await this.vitrine.until(PROMPT, from);
    return this.vitrine.output.slice(from, this.at).replaceAll('\r', '');
  }

  async online(): Promise<void> {
    expect(await this.run('until ip addr show eth0 | grep -q "inet 10.0.2.15"; do sleep 0.2; done; echo up')).toContain(
      'up',
    );
  }
}

/** Sends a text to a port of this host and returns what comes back. */
function talk(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.end(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (data: string) => (answer += data));
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

describeWith([amd64], 'networks of guests', () => {
  const ends: (() => void)[] = [];
  const atEnd: AtEnd = (end) => ends.push(end);
  const pcap = path.join(folder, 'x.pcap');
  let [free, restricted]: Shell[] = [];
  let [ssh, allowed] = [0, 0];
  // Two machines with two cards each: one of its own, and one of both.
  beforeAll(async () => {
    const dns = await nameServer(atEnd);
    ssh = await freePort();
    allowed = await listening(webServer(), atEnd);
    const both = `link,path=${path.join(folder, 'wire')}`;
    const words = [`resolver=127.0.0.1:${dns}`, `hostfwd=tcp::${ssh}-:22`, 'hostname=vm', `pcap=${pcap}`];
    const rules = ['restrict=on', `allow=10.0.2.2:${allowed}`, 'allow=example.test:80', `resolver=127.0.0.1:${dns}`];
    [free, restricted] = await Promise.all(
      [words, rules].map((own) => Shell.boot(['--net', ['user', ...own].join(), '--net', both])),
    );
  });
  afterAll(() => {
    for (const shell of [free, restricted] as (Shell | undefined)[]) shell?.vitrine.kill('SIGKILL');
    for (const end of ends) end();
  });

  it('link joins two of them', async () => {
    const set = (n: number): string => `ip link set eth1 up; ip addr add 192.168.7.${n}/24 dev eth1`;
    await free.run(`${set(1)}; dd if=/dev/urandom of=/tmp/x bs=1k count=3000`);
    await restricted.run(`${set(2)}; (nc -l -p 9 -e cat) & sleep 1`);
    expect(await free.run('ping -c 3 192.168.7.2')).toContain(' 0% packet loss');
    expect(await free.run('sha256sum </tmp/x; nc 192.168.7.2 9 </tmp/x | sha256sum')).toMatch(/([0-9a-f]{64})[^]*\1/);
  });

  it('user with restrict=on lets nothing but what is allowed through', async () => {
    const shell = restricted;
    let intruders = 0;
    const forbidden = await listening(
      net.createServer((socket) => {
        intruders++;
        socket.destroy();
      }),
    );
    const udp = dgram.createSocket('udp4', () => intruders++);
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
    onTestFinished(() => void udp.close());
    await shell.online();
    expect(await shell.run(`wget -q -O - http://10.0.2.2:${allowed}/1 | sha256sum`)).toContain(digest(1));
    expect(await shell.run(`wget -q -O - http://10.0.2.2:${forbidden}/; echo over`)).toContain('refused');
    expect(
      await shell.run(`echo x | nc -w 1 127.0.0.1 ${forbidden}; echo x | nc -w 1 fec0::2 ${forbidden}; echo over`),
    ).toContain('over');
    expect(await shell.run(`echo x | nc -u -w 1 10.0.2.2 ${udp.address().port}; echo over`)).toContain('over');
    expect(await shell.run('nslookup example.test')).toContain('192.0.2.7');
    expect(await shell.run('nslookup secret.other.test')).toContain('REFUSED');
    expect(await shell.run('ping -c 1 -W 1 192.0.2.7; echo over')).toContain('100% packet loss');
    expect(intruders).toBe(0);
  });

  it('user gives addresses, names, downloads, uploads and forwarded ports', async () => {
    const shell = free;
    const web = await listening(webServer());
    await shell.online();
    expect(await shell.run('ping -c 2 10.0.2.2')).toContain(' 0% packet loss');
    expect(await shell.run('ping -c 1 -s 4000 10.0.2.2')).toContain(' 0% packet loss');
    expect(await shell.run('nslookup example.test')).toContain('192.0.2.7');
    expect(await shell.run(`wget -q -O - http://10.0.2.2:${web}/16 | sha256sum`)).toContain(digest(16));
    const body = 'seq 20000 >/tmp/body; sha256sum /tmp/body';
    const [sum] = /[0-9a-f]{64}/.exec(await shell.run(body)) ?? ['none'];
    expect(await shell.run(`wget -q -O - --post-file=/tmp/body http://10.0.2.2:${web}/`)).toContain(sum);
    const many = `for i in $(seq 40); do (wget -q -O - http://10.0.2.2:${web}/1 | wc -c >>/tmp/n) & done; wait; grep -c 1048576 /tmp/n`;
    expect(await shell.run(many)).toMatch(/^40$/m);
    await shell.run('(while true; do nc -l -p 22 -e cat; done) & sleep 1');
    expect(await talk(ssh, 'through the forwarded port')).toBe('through the forwarded port');
    expect(await shell.run('ping -6 -c 1 fec0::2')).toContain(' 0% packet loss');
    // Nothing listens there: that is told at once.
    expect(await shell.run('wget -q -O - http://10.0.2.2:1/; echo over')).toContain('refused');
    shell.vitrine.type('poweroff\n');
    expect((await shell.vitrine.ended).code).toBe(0);
    const capture = await readFile(pcap);
    expect(capture.readUInt32LE(0)).toBe(0xa1b2_c3d4);
    expect(capture.length).toBeGreaterThan(50 * 2 ** 20);
  });
});

it('refuses what cannot be', async () => {
  const server = net.createServer();
  const port = await listening(server);
  const refused: readonly (readonly [string, RegExp])[] = [
    ['wire', /^vitrine: --net does not know "wire"; there are user, link, tap and none$/m],
    ['none,model=e1000', /^vitrine: --net none is alone, and takes no words$/m],
    ['user,hostfwd=tcp:80', /hostfwd=tcp:80 is not written as/],
    ['user,net=10.0.2.0/99', /net=10\.0\.2\.0\/99 is not an IPv4 network/],
    ['user,dns=1.2.3.4', /dns=1\.2\.3\.4 is not within/],
    ['user,allow=x', /allow= needs restrict=on/],
    [`user,hostfwd=tcp::${port}-:22`, /^vitrine: cannot listen on 127\.0\.0\.1:\d+: it is in use$/m],
    ['user,pcap=/nowhere/x.pcap', /^vitrine: cannot write the capture \/nowhere\/x\.pcap: /m],
  ];
  for (const [words, message] of refused) {
    const { code, errors } = await new VitrineProcess(['run', 'demo', '--net', words]).ended;
    expect(errors).toMatch(message);
    expect(code).toBe(1);
  }
});
