// Speed of --net user against QEMU's -netdev user: the same guest, kernel and server, in turn.
import { runGuest, serveBytes, told } from './guest.mjs';

const ROUNDS = 3;
const DOWN = 128;
const UP = 100;
const UP_SMALL = 20;

const script = (port) => `up 0
yes 0123456789abcde | head -c ${UP << 20} >/tmp/data
ping -c 3 10.0.2.2 >/dev/null
for i in 1 2 3; do wget -q -O /dev/null http://10.0.2.2:${port}/${DOWN}; done
for i in 1 2 3; do wget -q -O /dev/null --post-file /tmp/data http://10.0.2.2:${port}/; done
head -c ${UP_SMALL << 20} /dev/zero | nc 10.0.2.2 ${port}
say ping "$(ping -c 40 -i 0.1 10.0.2.2 | tail -1)"
say quick "$(ping -c 200 -i 0.005 10.0.2.2 | tail -1)"
`;

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** What one boot took. */
async function once(folder, name, machine, net) {
  const events = [];
  let pid = 0;
  const server = await serveBytes(events, { pid: () => pid });
  try {
    const { stdout } = await runGuest({
      ...{ folder, name, machine, net, script: script(server.port) },
      steps: [[/@leased/, (child) => (pid = child.pid)]],
    });
    const times = (key) => /= ([\d.]+)\/([\d.]+)\/([\d.]+)/.exec(told(stdout, key) ?? '');
    const of = (kind) => events.filter((event) => event.kind === kind);
    const [ping, quick] = [times('ping'), times('quick')];
    return {
      down: of('get'),
      up: of('put').slice(0, 3),
      small: of('put').at(3),
      ping: { least: Number(ping?.[1]), mean: Number(ping?.[2]), quick: Number(quick?.[2]) },
    };
  } finally {
    server.close();
  }
}

const ROWS = [
  [`download of ${DOWN} MiB, first of a boot`, ({ down }) => [down[0]]],
  [`download of ${DOWN} MiB, later ones`, ({ down }) => down.slice(1)],
  [`upload of ${UP} MiB from tmpfs, first of a boot`, ({ up }) => [up[0]]],
  [`upload of ${UP} MiB, later ones`, ({ up }) => up.slice(1)],
  [`upload of ${UP_SMALL} MiB through a pipe by nc`, ({ small }) => [small]],
];
const PINGS = [
  ['ping of the gateway, least of 40', ({ ping }) => ping.least],
  ['ping of the gateway, mean of 40 at 0.1 s', ({ ping }) => ping.mean],
  ['ping of the gateway, mean of 200 at 5 ms', ({ ping }) => ping.quick],
];

/**
 * Boots each in turn, `rounds` times, and logs medians and their ratios: of the time that passed, and of the CPU time of the
 * busiest thread, which other work on the machine disturbs less. Gives the ratios of times that passed.
 */
export async function compareSpeed(folder, log, { accel = [], rounds = ROUNDS } = {}) {
  const kinds = {
    qemu: () => once(folder, 'qemu', 'qemu', ['-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n']),
    vitrine: () => once(folder, 'vitrine', accel, ['--net', 'user']),
  };
  const results = { qemu: [], vitrine: [] };
  for (let round = 0; round < rounds; round++)
    for (const name of Object.keys(kinds)) results[name].push(await kinds[name]());
  const ratios = {};
  const compare = (value) => {
    const [theirs, ours] = ['qemu', 'vitrine'].map((name) => median(results[name].flatMap(value)));
    return {
      theirs,
      ours,
      ratio: ours / theirs,
      text: `${theirs.toFixed(2)} ${ours.toFixed(2)} ${(ours / theirs).toFixed(2)}`,
    };
  };
  log('QEMU, Vitrine, ratio of each: time that passed; CPU time of the busiest thread; of all threads (s)');
  for (const [what, events] of ROWS) {
    const passed = compare((result) => events(result).map(({ seconds }) => seconds));
    const busiest = compare((result) => events(result).map(({ cpu }) => cpu.busiest));
    const all = compare((result) => events(result).map(({ cpu }) => cpu.all));
    ratios[what] = passed.ratio;
    log(`${what}: ${passed.text}; ${busiest.text}; ${all.text}`);
  }
  for (const [what, value] of PINGS) {
    const { text, ratio } = compare((result) => [value(result)]);
    ratios[what] = ratio;
    log(`${what}: ${text} ms`);
  }
  return ratios;
}
