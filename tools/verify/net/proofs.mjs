// What --net has to do, shown in guests.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import dgram from 'node:dgram';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ALLOW_PINGS, PING_NETWORK } from '../../../dist/testing/ping-network.js';
import { cli, expect, guest, runProgram } from '../lib.mjs';
import { netInitrd, runGuest, serveBytes, sumOf, told } from './guest.mjs';
import { accounts, ownAddress, programs, run, serveNames, serveTogether } from './servers.mjs';

const DOWNLOAD = Number(process.env.VITRINE_NET_DOWNLOAD ?? 1024);
const TOGETHER = 500;

const freePort = async () => {
  const server = await serveBytes();
  server.close();
  return server.port;
};

/** 1 GiB, many connections, names, IPv6, ssh and datagrams by forwarded ports. */
export async function everything(folder, log, accel) {
  const key = path.join(folder, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const files = [
    ...(await programs(['dropbear', 'dropbear-bin'], ['socat', 'socat'])),
    ...accounts(readFileSync(`${key}.pub`)),
  ];
  const [ssh, udp] = [await freePort(), await freePort()];
  const names = await serveNames({ 'files.example': '192.0.2.7' });
  const server = await serveBytes();
  const six = await serveBytes(undefined, { address: '::1' });
  const together = await serveTogether(TOGETHER);
  let shell;
  const steps = [
    [
      /@listening/,
      () => {
        shell = login(key, ssh, 'echo "$SSH_CONNECTION"; head -c 3000000 /dev/zero | md5sum; uname -r').catch((e) => e);
      },
    ],
  ];
  const script = `up 0
mount -o remount,rw / 2>/dev/null
ip -6 route add default via fec0::2 dev eth0 2>/dev/null
say sum "$(wget -q -O - http://10.0.2.2:${server.port}/${DOWNLOAD} | md5sum | cut -c1-32)"
for i in $(seq ${TOGETHER}); do (echo $i | nc 10.0.2.2 ${together.port} >/tmp/o$i) & done; wait
say together "$(cat /tmp/o* | sort -n | md5sum | cut -c1-32) $(seq ${TOGETHER} | md5sum | cut -c1-32)"
say name "$(nslookup files.example 10.0.2.3 | tr -d '\\n')"
for i in 1 2 3 4 5 6 7 8; do ip -6 addr show dev eth0 | grep -q 'fec0.*global' && break; sleep 1; done
say six "$(wget -q -O - 'http://[fec0::2]:${six.port}/4' | md5sum | cut -c1-32)"
${run('socat UDP4-RECVFROM:9,fork EXEC:/bin/cat')} &
${run('dropbear -R -s -p 22')}
sleep 1
say listening now
i=0; while [ $i -lt 120 ] && ! [ -e /tmp/finished ]; do sleep 1; i=$((i + 1)); done`;
  let echoed;
  const running = runGuest({
    ...{ folder, name: 'all', machine: accel, script, files, steps, limit: 600 },
    net: ['--net', `user,resolver=${names.address},hostfwd=tcp::${ssh}-:22,hostfwd=udp::${udp}-:9`],
  });
  const watch = (async () => {
    while (!shell) await delay(100);
    echoed = await echo(udp);
    const result = await shell;
    await login(key, ssh, 'touch /tmp/finished').catch(() => {});
    return result;
  })();
  const { stdout } = await running;
  const result = await watch;
  for (const one of [names, server, six, together]) one.close();
  expect(told(stdout, 'sum') === sumOf(DOWNLOAD), `1 GiB arrived as ${told(stdout, 'sum')}`);
  log(`a download of ${DOWNLOAD} MiB from the loopback of the host has the right checksum`);
  const [got, wanted] = (told(stdout, 'together') ?? '').split(' ');
  expect(
    got === wanted && together.seen.most === TOGETHER,
    `of ${TOGETHER} connections ${together.seen.most} were open`,
  );
  log(`${TOGETHER} connections were open at the same time, and each had its own answer`);
  expect(/192\.0\.2\.7/.test(told(stdout, 'name') ?? ''), `the name is ${told(stdout, 'name')}`);
  expect(told(stdout, 'six') === sumOf(4), `by IPv6: ${told(stdout, 'six')}`);
  log('names are answered; TCP over IPv6 reaches ::1 of the host');
  expect(!(result instanceof Error), `ssh: ${result}`);
  expect(/^10\.0\.2\.2 /.test(result), `ssh said ${result}`);
  log(`ssh by a forwarded port: ${result.trim().split('\n').join('; ')}`);
  expect(echoed === 'a datagram', `UDP by a forwarded port: ${echoed}`);
  log('a datagram by a forwarded port came back');
}

async function login(key, port, command) {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ConnectTimeout=60'];
  const args = [
    '-i',
    key,
    '-p',
    String(port),
    ...options.flatMap((option) => ['-o', option]),
    'root@127.0.0.1',
    command,
  ];
  return (await promisify(execFile)('ssh', args, { timeout: 100_000 })).stdout;
}

/** Sends a datagram until it comes back. */
async function echo(port) {
  const socket = dgram.createSocket('udp4');
  let answer;
  socket.on('message', (bytes) => (answer = bytes.toString()));
  for (let i = 0; i < 50 && answer === undefined; i++) {
    socket.send('a datagram', port, '127.0.0.1');
    await delay(200);
  }
  socket.close();
  return answer;
}

/** Under restrict=on only what is allowed is reached, by name, and nothing else leaves, not even as a question. */
export async function restricted(folder, log, accel) {
  const own = ownAddress();
  if (own === undefined) {
    log('SKIPPED: restrict=on: this host has no address but its loopback');
    return;
  }
  const names = await serveNames({ 'files.example': own, 'evil.example': own });
  const allowed = await serveBytes(undefined, { address: own });
  const reached = [];
  const other = await serveBytes(reached, { address: own });
  const loopback = await serveBytes(reached);
  const datagrams = dgram.createSocket('udp4').on('message', () => reached.push({ kind: 'datagram' }));
  await new Promise((resolve) => datagrams.bind(0, own, resolve));
  const script = `up 0
get() { say "$1" "$(wget -q -O - "$2" 2>/dev/null | md5sum | cut -c1-32)"; }
get early http://${own}:${allowed.port}/4
say name "$(nslookup files.example 10.0.2.3 | tr -d '\\n')"
get allowed http://${own}:${allowed.port}/4
get port http://${own}:${other.port}/4
get host http://10.0.2.2:${loopback.port}/4
say evil "$(nslookup evil.example 10.0.2.3 2>&1 | tr -d '\\n')"
for i in 1 2 3; do echo secret | ${run(`socat - UDP4:${own}:${datagrams.address().port}`)}; nslookup secret$i.evil.example 10.0.2.3; done >/dev/null 2>&1`;
  const net = ['--net', `user,resolver=${names.address},restrict=on,allow=files.example:${allowed.port}`];
  const files = await programs(['socat', 'socat']);
  const { stdout } = await runGuest({ folder, name: 'restricted', machine: accel, net, script, files });
  for (const one of [names, allowed, other, loopback, datagrams]) one.close();
  const nothing = 'd41d8cd98f00b204e9800998ecf8427e';
  expect(told(stdout, 'allowed') === sumOf(4), `what is allowed: ${told(stdout, 'allowed')}`);
  expect(told(stdout, 'name')?.includes(own), `the name is ${told(stdout, 'name')}`);
  expect(!told(stdout, 'evil')?.includes(own), `another name is ${told(stdout, 'evil')}`);
  for (const key of ['early', 'port', 'host'])
    expect(told(stdout, key) === nothing, `${key} was reached: ${told(stdout, key)}`);
  expect(reached.length === 0, `the guest reached ${JSON.stringify(reached)}`);
  const leaked = names.asked.filter((name) => name !== 'files.example');
  expect(leaked.length === 0, `questions left: ${leaked.join(' ')}`);
  log(
    'restrict=on: the allowed name and port are reached; no other port, address, name, datagram or question gets out',
  );
}

/** Pings of other hosts, on a network of their own with a router; and under restrict=on. */
export async function pings(folder, log, accel) {
  const within = ['unshare', '-Urn', 'sh', '-c', `${PING_NETWORK}${ALLOW_PINGS}"$@"`, 'sh'];
  try {
    execFileSync('unshare', ['-Urn', 'ip', 'link']);
  } catch {
    log('SKIPPED: pings: this host has no network namespaces for everybody');
    return;
  }
  const files = await programs(['ping', 'iputils-ping']);
  const one = (name, words) =>
    `say ${name} "$(${run(`ping -n -c 1 -W 3 ${words}`)} 2>&1 | grep -E 'from|From|transmitted' | tr '\\n' ' ')"`;
  const script = `up 0
ip -6 route add default via fec0::2 dev eth0 2>/dev/null
say many "$(${run('ping -n -q -c 50 -i 0.02 198.51.100.10')} | grep transmitted)"
${one('big', '-s 30000 198.51.100.10')}
${one('near', '-t 1 198.51.100.10')}
${one('far', '-t 2 203.0.113.5')}
${one('nowhere', '203.0.113.200')}
for i in 1 2 3 4 5 6 7 8; do ip -6 addr show dev eth0 | grep -q 'fec0.*global' && break; sleep 1; done
${one('six', '-6 2001:db8:9::2')}
${one('far6', '-6 -t 2 2001:db8:1::5')}`;
  const common = { folder, machine: accel, files, within };
  const { stdout } = await runGuest({ ...common, name: 'pings', net: ['--net', 'user'], script });
  const hold = (output, key, pattern) => expect(pattern.test(told(output, key) ?? ''), `${key}: ${told(output, key)}`);
  hold(stdout, 'many', /50 received/);
  hold(stdout, 'big', /^30008 bytes from 198\.51\.100\.10: icmp_seq=1 /);
  hold(stdout, 'near', /^From 10\.0\.2\.2 icmp_seq=1 Time to live exceeded/);
  hold(stdout, 'far', /^From 198\.51\.100\.10 icmp_seq=1 Time to live exceeded/);
  hold(stdout, 'nowhere', /^From 198\.51\.100\.10 icmp_seq=1 Destination Host Unreachable/);
  hold(stdout, 'six', /^64 bytes from 2001:db8:9::2: icmp_seq=1 /);
  hold(stdout, 'far6', /^From 2001:db8:9::2 icmp_seq=1 Time exceeded: Hop limit/);
  log('pings of other hosts: 50 of 50 answered, 30,000 bytes, IPv6; routers that end or refuse them are named');
  const script2 = [
    'up 0',
    one('allowed', '198.51.100.1'),
    one('port', '198.51.100.10'),
    one('other', '198.51.100.9'),
  ].join('\n');
  const restricted = await runGuest({
    ...{ ...common, name: 'few', script: script2 },
    net: ['--net', 'user,restrict=on,allow=198.51.100.1,allow=198.51.100.10:80'],
  });
  hold(restricted.stdout, 'allowed', /^64 bytes from 198\.51\.100\.1: /);
  for (const key of ['port', 'other'])
    hold(restricted.stdout, key, /^From 10\.0\.2\.2 .* Packet filtered.* 0 received/);
  log(
    'restrict=on: an address that is allowed whole is pinged; one of whose ports one is allowed, and another, are not',
  );
}

/** Two cards of different kinds in one machine, each on a network of its own. */
export async function twoCards(folder, log, accel) {
  const server = await serveBytes();
  // The drivers come up in any order: the networks tell the cards apart.
  const script = `up 0; up 1
for i in 0 1; do n=$(ip -4 -o addr show eth$i | sed 's/.* 10\\.0\\.\\([23]\\)\\..*/\\1/')
say card$i "$(basename "$(readlink -f /sys/class/net/eth$i/device/driver)") $n $(wget -q -O - http://10.0.$n.2:${server.port}/16 | md5sum | cut -c1-32)"; done`;
  const net = ['--net', 'user', '--net', 'user,net=10.0.3.0/24,model=e1000'];
  const { stdout } = await runGuest({
    ...{ folder, name: 'two', kernel: 'amd64-generic', machine: accel, net, limit: 240, script },
  });
  server.close();
  const cards = [told(stdout, 'card0'), told(stdout, 'card1')];
  const drivers = cards.map((card) => card?.split(' ').slice(0, 2).join(' ')).sort();
  expect(drivers.join() === 'e1000 3,virtio_net 2', `drivers: ${cards.join(', ')}`);
  expect(
    cards.every((card) => card.endsWith(sumOf(16))),
    `downloads: ${cards.join(', ')}`,
  );
  log('two cards in one machine, virtio-net and e1000: each has its lease, and a download with the right checksum');
}

/** Machines on a link: one that passes frames on is killed, and the next takes its place. */
export async function links(folder, log, accel) {
  const wire = ['--net', `link,path=${path.join(folder, 'wire')}`];
  const meet = (number, others) => `ip addr add 10.9.0.${number}/24 dev eth0; ip link set eth0 up
${others.map((other) => `while ! ping -c 1 -W 1 10.9.0.${other} >/dev/null 2>&1; do sleep 1; done; say met ${other}`).join('\n')}`;
  let first;
  let gone;
  const a = runGuest({
    ...{ folder, name: 'a', machine: accel, net: wire, script: `${meet(1, [])}\nsay up now\nsleep 300` },
    steps: [
      [/@up/, (child) => (first = child)],
      [/@never/, () => {}],
    ],
  }).catch(() => (gone = true));
  while (!first && !gone) await delay(100);
  expect(!gone, 'the first machine did not start');
  const b = runGuest({
    ...{ folder, name: 'b', machine: accel, net: wire, script: meet(2, [1, 3]) },
    steps: [[/@met 1/, () => first.kill('SIGKILL')]],
  });
  await a;
  const c = runGuest({ folder, name: 'c', machine: accel, net: wire, script: `${meet(3, [2])}\nsleep 5` });
  const [two, three] = await Promise.all([b, c]);
  expect(/@met 3/.test(two.stdout) && /@met 2/.test(three.stdout), 'they did not meet');
  log('link: machines meet; after the one that passed frames on is killed, the others meet again');
}

/** A machine that is saved with a connection and resumed: the connection is reset, and new ones are made. */
export async function resumed(folder, log, accel) {
  const server = await serveBytes();
  const { files } = await guest('amd64');
  const script = `up 0
mkfifo /tmp/f; sleep 1000 >/tmp/f &
(nc 10.0.2.2 ${server.port} </tmp/f; say ended now) &
sleep 2
say save now
i=0; while [ $i -lt 100 ]; do sleep 0.2; i=$((i + 1)); done
say sum "$(wget -q -O - http://10.0.2.2:${server.port}/8 | md5sum | cut -c1-32)"`;
  const initrd = netInitrd(files.initrd, path.join(folder, 'resumed.initrd'), script);
  const snapshot = path.join(folder, 'saved');
  const boot = ['--kernel', files.vmlinuz, '--initrd', initrd, '--append', 'console=ttyS0 quiet rdinit=/net'];
  const args = [cli, 'run', ...accel, '--no-reboot', ...boot, '--net', 'user', '--save-on-exit', snapshot];
  await runProgram(process.execPath, args, { limit: 180, script: [[/@save/, (child) => child.kill('SIGTERM')]] });
  expect(existsSync(snapshot), 'nothing was saved');
  const { stdout } = await runProgram(process.execPath, [cli, 'resume', snapshot], { limit: 180, script: [[/@done/]] });
  server.close();
  expect(/@ended/.test(stdout), 'the old connection did not end');
  expect(told(stdout, 'sum') === sumOf(8), `after the resume: ${told(stdout, 'sum')}`);
  log('resumed: the connection whose other end is gone is reset; a new download has the right checksum');
}
