// The server: many machines of many clients, kills, limits, TLS.
import { execFileSync, spawn } from 'node:child_process';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';
import { ApiClient } from '../../dist/api/client.js';
import { NodeTransport } from '../../dist/api/node-transport.js';
import { cacheRoot } from '../../dist/guests/index.js';
import { cli, expect, withFolder } from './lib.mjs';

const CLIENTS = 20;
/** In all: fewer for a look at whether it works (VITRINE_MACHINES). */
const MACHINES = Number(process.env['VITRINE_MACHINES'] ?? 200);

export const title = `the server: ${MACHINES} machines of ${CLIENTS} clients, kill -9, limits, TLS`;

/** Seconds that the whole of them may take. */
const LIMIT = 900;
const MACHINE = { memory: 128, warm: true };

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const statusOf = (promise) =>
  promise.then(
    () => 'ok',
    (error) => error.code,
  );

/** What a process has of the host. */
function resources(pid) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return {
    files: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
    mappings: readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').length,
    memory: Math.round(Number(/^Pss:\s*(\d+)/m.exec(rollup)[1]) / 1024),
  };
}

const show = ({ files, threads, mappings, memory }) =>
  `${memory} MiB, ${threads} threads, ${files} files, ${mappings} mappings`;

/** A server with tenants; `use` gets it, and a client for each tenant. */
async function withServer(folder, tenants, use, { tls, args = [] } = {}) {
  const config = path.join(folder, 'serve.json');
  const tokens = {};
  for (const tenant of Object.keys(tenants))
    tokens[tenant] = execFileSync(process.execPath, [cli, 'serve', 'token', 'add', tenant, '--config', config], {
      encoding: 'utf8',
    }).trim();
  const written = JSON.parse(readFileSync(config, 'utf8'));
  for (const [tenant, settings] of Object.entries(tenants)) Object.assign(written.tenants[tenant], settings);
  writeFileSync(config, JSON.stringify(written));
  const child = spawn(
    process.execPath,
    [cli, 'serve', '--port', '0', '--config', config, '--state', path.join(folder, 'state'), ...args].concat(
      ['--log', path.join(folder, 'serve.log')],
      tls ? ['--cert', tls.cert, '--key', tls.key] : [],
    ),
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    const [line] = await once(child.stdout, 'data');
    const address = line.toString().trim();
    const options = tls ? { ca: readFileSync(tls.cert, 'utf8') } : {};
    const as = (tenant) => new ApiClient(new NodeTransport(address, { token: tokens[tenant], ...options }));
    return await use({ child, address, as });
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await once(child, 'exit');
      clearTimeout(late);
    }
  }
}

/** Machines of one client, one behind the other: made, used, some forked, removed. */
async function work(client, count, times, deadline) {
  for (let i = 0; i < count; i++) {
    expect(performance.now() < deadline, `not all machines were done within ${LIMIT} s`);
    const started = performance.now();
    const { name } = await client.create(MACHINE);
    const { stdout } = await client.exec(name, { command: `echo ${name}` });
    times.push(performance.now() - started);
    expect(stdout === `${name}\n`, `${name} answers ${JSON.stringify(stdout)}`);
    await client.writeFile(name, '/root/own', name);
    // In each of the ways in which machines end.
    if (i % 4 === 1) await client.stop(name);
    if (i % 4 === 2) await client.shutdown(name, { grace: 100 });
    if (i % 4 === 3) await client.exec(name, { command: 'sleep 60', timeout: 100 }).catch(() => {});
    await client.remove(name);
  }
}

async function many(log) {
  await withFolder(async (folder) => {
    const tenants = Object.fromEntries(Array.from({ length: CLIENTS }, (_, i) => [`client${i}`, {}]));
    await withServer(folder, tenants, async ({ child, as }) => {
      const clients = Object.keys(tenants).map(as);
      // What the first machines bring with them stays: code, a worker that waits.
      await Promise.all(clients.slice(0, 4).map((client) => work(client, 1, [], Infinity)));
      // Their connections are kept for a while, which is not what is counted.
      for (const client of clients) client.close();
      await pause(2000);
      const before = resources(child.pid);
      log(`before: ${show(before)}; load ${loadavg()[0].toFixed(1)} on ${cpus().length} CPUs`);
      const started = performance.now();
      const times = [];
      const deadline = started + LIMIT * 1000;
      await Promise.all(clients.map((client) => work(client, MACHINES / CLIENTS, times, deadline)));
      const took = (performance.now() - started) / 1000;
      log(
        `${MACHINES} machines in ${took.toFixed(1)} s; to the answer of a command: median ${(median(times) / 1000).toFixed(2)} s`,
      );
      for (const client of clients) client.close();
      await pause(3000);
      const after = resources(child.pid);
      log(`after: ${show(after)}`);
      for (const client of clients) {
        const { usage } = await client.info();
        expect(
          Object.values(usage).every((value) => value === 0),
          `still in use: ${JSON.stringify(usage)}`,
        );
        expect((await client.list()).length === 0, 'machines are left');
      }
      // The worker that waits for the next machine has some, and may be there or not.
      expect(after.files <= before.files + 10, `files are left open: ${before.files}, ${after.files}`);
      expect(after.threads <= before.threads + 2, `threads are left: ${before.threads}, ${after.threads}`);
      // What koffi leaves of each worker (docs/status.md); more would be something of ours.
      const mappings = (after.mappings - before.mappings) / MACHINES;
      expect(mappings < 10, `${mappings.toFixed(1)} mappings of each machine are left`);
      // A heap that has grown once is not given back at once; 200 machines of 128 MiB would be 25,600.
      expect(after.memory <= before.memory + 300, `memory is left: ${before.memory} MiB, ${after.memory} MiB`);
      expect(readdirSync(path.join(folder, 'state', 'tmp')).length === 0, 'temporary files are left');
      const forks = readdirSync(path.join(cacheRoot(), 'templates')).filter((name) =>
        name.startsWith(`fork-${child.pid}-`),
      );
      expect(forks.length === 0, 'memory of forks is left');
    });
  });
}

/** The user's own server is killed while a guest writes to a disk of the user's, and saves itself. */
async function kills(log) {
  await withFolder(async (folder) => {
    const disk = path.join(folder, 'disk.qcow2');
    execFileSync(process.execPath, [cli, 'disk', 'create', disk, '1G'], { stdio: 'ignore' });
    const env = { ...process.env, XDG_RUNTIME_DIR: folder, XDG_STATE_HOME: folder };
    const socket = path.join(folder, 'vitrine', 'supervisor.api');
    let done = 0;
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [cli, 'supervise'], { env, stdio: ['ignore', 'ignore', 'ignore'] });
      const client = new ApiClient(new NodeTransport(`unix:${socket}`));
      try {
        for (let i = 0; ; i++) {
          if (
            await client.list().then(
              () => true,
              () => false,
            )
          )
            break;
          expect(i < 300, 'the supervisor does not start');
          await pause(100);
        }
        expect((await client.list()).length === 0, 'machines of the killed supervisor are listed');
        expect((await client.snapshots()).length === Math.min(round, 1), 'snapshots are not what was finished');
        await client.create({ name: 'writer', memory: 128, disks: [{ path: disk }] });
        // What was said to be on the disk is there.
        const kept = await client.exec('writer', {
          command: `i=0; while [ $i -lt ${done} ]; do dd if=/dev/vda bs=64k skip=$i count=1 2>/dev/null | head -c 8 | grep -q "block$i" || echo lost $i; i=$((i+1)); done`,
        });
        expect(kept.stdout === '', kept.stdout.trim());
        if (round === 0) await client.snapshot('writer', { name: 'finished' });
        const enough = new Promise((resolve) => {
          const from = done;
          client.execStream(
            'writer',
            {
              command: `i=${from}; while :; do (printf 'block%s' $i; head -c 65000 /dev/urandom) | dd of=/dev/vda bs=64k seek=$i conv=notrunc,fsync 2>/dev/null; echo $i; i=$((i+1)); done`,
            },
            {
              stdout: (bytes) => {
                const last = Buffer.from(bytes).toString().trim().split('\n').at(-1);
                done = Number(last) + 1;
                if (done >= from + 40) resolve();
              },
            },
          );
        });
        await enough;
        // In the middle of a save.
        const saving = client.snapshot('writer', { name: `half${round}` }).catch(() => {});
        await pause(50);
        child.kill('SIGKILL');
        await once(child, 'exit');
        await saving;
        client.close();
      } finally {
        child.kill('SIGKILL');
      }
      const check = execFileSync(process.execPath, [cli, 'disk', 'check', disk], { encoding: 'utf8' });
      log(`killed after ${done} blocks: ${check.trim().split('\n').at(-1)}`);
    }
  });
}

/** Processor seconds of a client's machines by now. */
async function processorTime(client, names) {
  const all = await Promise.all(names.map((name) => client.metrics(name)));
  return all.flatMap(({ cpus: each }) => each).reduce((sum, { time = 0 }) => sum + time, 0) / 1e9;
}

async function limits(log) {
  await withFolder(async (folder) => {
    const web = createServer((_request, response) => response.end('host'));
    web.listen(0, '127.0.0.1');
    await once(web, 'listening');
    const { port } = web.address();
    const tenants = {
      capped: { limits: { cpuCap: 40, machines: 2, disk: 20 }, network: 'public' },
      open: { network: 'open' },
      listed: { network: { allow: [{ host: '10.0.2.2', port }] } },
      none: { network: 'none' },
    };
    await withServer(folder, tenants, async ({ as }) => {
      const capped = as('capped');
      const names = [];
      for (const name of ['one', 'two']) {
        await capped.create({ ...MACHINE, name, command: 'while :; do :; done' });
        names.push(name);
      }
      expect((await statusOf(capped.create(MACHINE))) === 'limit', 'a third machine where two are allowed');
      expect(
        (await statusOf(capped.snapshot('one', { name: 'big' }))) === 'forbidden',
        'a snapshot beyond the disk limit',
      );
      await pause(2000);
      const before = await processorTime(capped, names);
      await pause(5000);
      const percent = ((await processorTime(capped, names)) - before) * 20;
      log(`two machines that spin, of a tenant with 40 % of a processor: ${percent.toFixed(1)} %`);
      expect(percent < 48, `the cap of 40 % does not hold: ${percent.toFixed(1)} %`);
      for (const name of names) await capped.remove(name);

      const fetched = async (tenant, options = {}) => {
        const client = as(tenant);
        const { name } = await client.create({ ...MACHINE, ...options });
        const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 10.0.2.2 ${port} | tail -n 1`;
        const { stdout } = await client.exec(name, { command: ask });
        await client.remove(name);
        return stdout;
      };
      expect((await fetched('open')) === 'host', 'the host is not reached where everything may be');
      expect((await fetched('listed')) === 'host', 'the host is not reached where it is listed');
      expect((await fetched('capped')) === '', "a tenant reaches the host's own network");
      expect(
        (await fetched('capped', { net: { restrict: true, allow: [] } })) === '',
        'a machine without leave reaches the host',
      );
      expect((await fetched('none')) === '', 'a machine without a network has one');
      log("networks: the host's own services are reached by those alone who may");
    });
    web.close();
  });
}

async function tls(log) {
  await withFolder(async (folder) => {
    const [cert, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...subject],
      { stdio: 'ignore' },
    );
    await withServer(
      folder,
      { alice: {} },
      async ({ address, as }) => {
        expect(address.startsWith('https:'), address);
        const client = as('alice');
        await client.create({ ...MACHINE, name: 'one' });
        let text = '';
        const session = client.execStream(
          'one',
          { command: 'echo through TLS' },
          { stdout: (bytes) => void (text += Buffer.from(bytes)) },
        );
        expect((await session.exited).exitCode === 0 && text === 'through TLS\n', 'no command by a WebSocket in TLS');
        const plain = new ApiClient(new NodeTransport(address.replace('https', 'http')));
        expect(
          (
            await plain.list().then(
              () => '',
              (error) => error.message,
            )
          ).startsWith('cannot reach'),
          'it answers without TLS',
        );
        const stranger = new ApiClient(new NodeTransport(address));
        expect(
          /SELF_SIGNED/.test(
            await stranger.list().then(
              () => '',
              (error) => error.message,
            ),
          ),
          'a certificate of nobody is trusted',
        );
        log('TLS: requests and WebSockets');
      },
      { tls: { cert, key } },
    );
  });
}

export async function run(log) {
  await tls(log);
  await limits(log);
  await kills(log);
  await many(log);
}
