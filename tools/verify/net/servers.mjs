// What guests of the network proofs speak to on the host: names, many connections at once, datagrams; and ssh for the guest.
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import dgram from 'node:dgram';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { debianTool } from '../../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../../dist/guests/index.js';

/** An address of this host that is not its loopback; undefined: it has none. */
export const ownAddress = () =>
  Object.values(networkInterfaces())
    .flat()
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

/** A name server that knows `names` and remembers what it was asked. */
export async function serveNames(names) {
  const asked = [];
  const socket = dgram.createSocket('udp4');
  socket.on('message', (query, { address, port }) => {
    const labels = [];
    let at = 12;
    for (; query[at] > 0; at += query[at] + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
    const question = query.subarray(12, at + 5);
    const name = labels.join('.');
    asked.push(name);
    const found = query.readUInt16BE(at + 1) === 1 ? names[name] : undefined;
    const head = Buffer.from(query.subarray(0, 12));
    // An answer without recursion denied; NXDOMAIN for names that are not known at all.
    head.writeUInt16BE(0x8180 + (name in names ? 0 : 3), 2);
    head.writeUInt16BE(found ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const answer = found
      ? [Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]), Buffer.from(found.split('.').map(Number))]
      : [];
    socket.send(Buffer.concat([head, question, ...answer]), port, address);
  });
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return { asked, address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}

/** Keeps connections open until there are `wanted` of them, then gives each back what it sent. */
export async function serveTogether(wanted) {
  const open = new Map();
  const seen = { most: 0 };
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    open.set(socket, '');
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.on('data', (bytes) => {
      open.set(socket, open.get(socket) + bytes.toString());
      const ready = [...open.values()].filter((text) => text.includes('\n')).length;
      seen.most = Math.max(seen.most, ready);
      if (ready >= wanted) for (const [one, text] of open) one.end(text);
    });
  });
  await new Promise((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, resolve));
  return { seen, port: server.address().port, close: () => server.close() };
}

const folder = (name, mode) => ({ kind: 'folder', path: name, mode });
const copyOf = (name, source) => ({ kind: 'file', path: name, data: readFileSync(source), mode: 0o755 });

/** Entries of an initial file system with programs of this machine's Debian and all they need, in /opt. */
export async function programs(...wanted) {
  const found = new Map();
  for (const [name, packageName] of wanted) {
    const { path: program, env } = await debianTool(name, packageName, { cache: cacheRoot() });
    const listed = execFileSync('ldd', [program], { env: { ...process.env, ...env }, encoding: 'utf8' });
    for (const [, file] of listed.matchAll(/(?:=> )?(\/\S+) \(0x/g)) {
      const library = path.basename(file);
      // The loader is where the programs say.
      found.set(library.startsWith('ld-') ? file.slice(1) : `opt/${library}`, file);
    }
    found.set(`opt/${name}`, program);
  }
  const folders = new Set([...found.keys()].map((name) => path.dirname(name)));
  return [
    ...[...folders].map((name) => folder(name, 0o755)),
    ...[...found].map(([name, source]) => copyOf(name, source)),
  ];
}

/** Runs a program of these in a guest. */
export const run = (command) => `LD_LIBRARY_PATH=/opt /opt/${command}`;

/** Entries that let who has `publicKey` in by ssh. */
export function accounts(publicKey) {
  const text = (name, data, mode) => ({ kind: 'file', path: name, data: Buffer.from(data), mode });
  return [
    folder('root', 0o700),
    folder('root/.ssh', 0o700),
    text('root/.ssh/authorized_keys', publicKey, 0o600),
    text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n', 0o644),
    text('etc/shells', '/bin/sh\n', 0o644),
    folder('etc/dropbear', 0o700),
  ];
}
