// Guests that try networks: a first process of their own behind a guest's initial file system, and servers on the host.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cli, extendedInitrd, FIRST_PROCESS, guest, runProgram } from '../lib.mjs';
import { qemuSystem } from '../qemu.mjs';

/** What every guest begins with; `up N` sets up card N by DHCP. */
const START = `${FIRST_PROCESS}export HOME=/root
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /root /run /var/run /etc
mount -t devpts devpts /dev/pts
ip link set lo up
cat >/tmp/leased <<'END'
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
[ -n "$router" ] && ip route add default via $router
[ -n "$dns" ] && echo "nameserver $dns" >/etc/resolv.conf
END
sed -i '1i #!/bin/busybox sh' /tmp/leased
chmod +x /tmp/leased
up() { ip link set eth$1 up; udhcpc -q -f -n -t 10 -T 1 -i eth$1 -s /tmp/leased >/dev/null 2>&1 && echo "@leased eth$1 $(ip -4 -o addr show eth$1 | sed 's/.*inet \\([0-9./]*\\).*/\\1/')"; }
say() { echo "@$1 $2"; }
`;

/** Writes an initial file system whose first process, /net, does \`script\`. \`files\` are more entries of it. */
export function netInitrd(initrd, file, script, files = []) {
  const data = Buffer.from(`${START}${script}\necho @done\npoweroff -f\n`);
  writeFileSync(file, extendedInitrd(initrd, [{ kind: 'file', path: 'net', data, mode: 0o755 }, ...files]));
  return file;
}

/**
 * Runs `script` in a guest of Vitrine's or QEMU's; `net` is what `--net` is given, and what QEMU is given for it; `within` is a command
 * that runs Vitrine.
 */
export async function runGuest({
  folder,
  name,
  machine,
  net,
  script,
  files,
  kernel = 'amd64',
  limit = 180,
  steps = [],
  within = [],
}) {
  const { files: found } = await guest(kernel);
  const initrd = netInitrd(found.initrd, path.join(folder, `${name}.initrd`), script, files);
  const boot = ['-kernel', found.vmlinuz, '-initrd', initrd, '-append', 'console=ttyS0 quiet rdinit=/net'];
  const options = { limit, script: steps };
  if (machine === 'qemu') {
    const qemu = await qemuSystem();
    const fixed = [
      ...qemu.args,
      '-accel',
      'tcg,thread=single',
      '-machine',
      'q35',
      '-m',
      '512',
      '-display',
      'none',
      '-serial',
      'stdio',
    ];
    return runProgram(qemu.command, [...fixed, '-no-reboot', ...boot, ...net], { ...options, env: qemu.env });
  }
  const args = boot.map((word) => word.replace(/^-(?=kernel|initrd|append)/, '--'));
  const [command, ...words] = [...within, process.execPath, cli, 'run', '--no-reboot', ...machine, ...args, ...net];
  return runProgram(command, words, options);
}

/** Words of a line `@key words` of what a guest printed. */
export function told(output, key) {
  const line = new RegExp(`^@${key} (.*?)\\r?$`, 'm').exec(output);
  return line?.[1];
}

/** Seconds of CPU time that each thread of a process has had, by thread. */
export function threadTimes(pid) {
  const times = new Map();
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`))
      times.set(thread, Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9);
  } catch {
    // It has ended.
  }
  return times;
}

/** What a process has used between two calls of `threadTimes`: all threads, and the busiest of them. */
export function usedBetween(before, after) {
  const used = [...after].map(([thread, time]) => time - (before.get(thread) ?? 0));
  return { all: used.reduce((sum, time) => sum + time, 0), busiest: Math.max(0, ...used) };
}

const BLOCK = Buffer.alloc(1 << 20);
for (let i = 0; i < BLOCK.length; i += 4) BLOCK.writeUInt32LE(Math.imul(i, 0x9e37_79b9) >>> 0, i);

/** MD5 of what \`serveBytes\` gives for a length of whole MiB. */
export function sumOf(mebibytes) {
  const hash = createHash('md5');
  for (let i = 0; i < mebibytes; i++) hash.update(BLOCK);
  return hash.digest('hex');
}

/**
 * An HTTP server in memory on the host's loopback: GET /N gives N MiB, PUT or POST takes anything. \`events\` gets what was moved:
 * { kind, bytes, seconds }, from the request to its last byte, with what `pid()` used meanwhile, if that is given.
 */
export async function serveBytes(events, { address = '127.0.0.1', pid } = {}) {
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const started = performance.now();
    const before = pid ? threadTimes(pid()) : undefined;
    const report = (moved) =>
      events?.push({ ...moved, ...(before && { cpu: usedBetween(before, threadTimes(pid())) }) });
    let head = '';
    let got = 0;
    let first = 0;
    let kind = '';
    let expected = 0;
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => {
      first ||= performance.now();
      got += bytes.length;
      if (kind === 'put' && got >= expected) answer();
      if (kind !== '') return;
      head += bytes.toString('latin1');
      if (/^GET /.test(head)) {
        if (!head.includes('\r\n\r\n')) return;
        kind = 'get';
        const count = Number(/^GET \/(\d+)/.exec(head)?.[1] ?? 0);
        give(socket, count, () => report({ kind, bytes: count << 20, seconds: (performance.now() - started) / 1000 }));
      } else {
        if (/^P\w+ /.test(head) && !head.includes('\r\n\r\n')) return;
        kind = 'put';
        const length = /content-length: (\d+)/i.exec(head)?.[1];
        expected = length === undefined ? Infinity : Number(length) + head.indexOf('\r\n\r\n') + 4;
      }
      if (kind === 'put' && got >= expected) answer();
    });
    const put = () => report({ kind: 'put', bytes: got, seconds: (performance.now() - first) / 1000 });
    const answer = () => {
      put();
      socket.end('HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n');
    };
    socket.on('end', () => {
      if (kind === 'put' && expected === Infinity) put();
      socket.end();
    });
  });
  await new Promise((resolve) => server.listen(0, address, resolve));
  return {
    port: server.address().port,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function give(socket, count, done) {
  socket.write(`HTTP/1.0 200 OK\r\nContent-Length: ${count << 20}\r\n\r\n`);
  let left = count;
  const more = () => {
    while (left > 0) {
      left--;
      if (!socket.write(BLOCK)) {
        socket.once('drain', more);
        return;
      }
    }
    socket.end();
    // Half-closed by the other side once it has everything.
    socket.once('end', done);
  };
  more();
}
