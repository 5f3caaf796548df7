/**
 * A guest's pings through the user-mode stack and the sockets of this host: `ping-host.js ADDRESS/TTL/BYTES …`. One line of JSON for each:
 * who answered, with what type and code, and whether identifier, sequence number and data are right; null: nobody did within a second.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NodeSockets } from '../host/node/net/node-sockets.js';
import { FINISHED } from '../iface/net.js';
import { addressText } from '../net/addresses.js';
import { get16, put16 } from '../net/user/packet.js';
import { UserStack } from '../net/user/user-stack.js';
import { CONFIG, MAC, packet } from './user-stack-guest.js';

const IDENTIFIER = 4711;
/** Milliseconds. */
const PATIENCE = 1000;

/** Pings through one stack, each when the one before has been answered. */
export async function pingAll(targets: readonly string[], say: (line: string) => void): Promise<void> {
  let frames: Uint8Array[] = [];
  let room = new Uint8Array(0);
  const sink = {
    offloads: { checksum: false, tcp4: false, tcp6: false },
    reserve: (length: number) => (room = new Uint8Array(length)),
    commit: () => void frames.push(room),
  };
  // So large that nothing comes in fragments.
  const stack = new UserStack({ config: CONFIG, mac: MAC, mtu: 65_535, sink, sockets: new NodeSockets() });
  for (const [i, target] of targets.entries()) {
    const [address, ttl, length] = target.split('/');
    const six = address.includes(':');
    const message = new Uint8Array(8 + Number(length)).fill(i + 1);
    message.set([six ? 128 : 8, 0]);
    put16(message, 4, IDENTIFIER);
    put16(message, 6, i + 1);
    frames = [];
    stack.receive(packet(six ? 58 : 1, six ? 'fec0::15' : '10.0.2.15', address, message, 2, Number(ttl)), FINISHED);
    for (let waited = 0; frames.length === 0 && waited < PATIENCE; waited += 5) await delay(5);
    say(JSON.stringify(frames.length === 0 ? null : answer(frames[0], message)));
  }
}

/** From whom, type, code, and whether it is about the request. */
function answer(frame: Uint8Array, message: Uint8Array): unknown[] {
  const six = get16(frame, 12) === 0x86dd;
  const header = six ? 40 : 20;
  const from = addressText(six ? frame.subarray(22, 38) : frame.subarray(26, 30));
  const icmp = frame.subarray(14 + header);
  const isReply = icmp[0] === (six ? 129 : 0);
  const about = isReply ? icmp : icmp.subarray(8 + header);
  const matches =
    about.every((byte, i) => i < 4 || byte === message[i]) && (!isReply || icmp.length === message.length);
  return [from, icmp[0], icmp[1], matches];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await pingAll(process.argv.slice(2), (line) => console.log(line));
  const { user, system } = process.cpuUsage();
  await delay(500);
  const later = process.cpuUsage();
  // Nothing spins: milliseconds of processor time in half a second of silence.
  console.log(JSON.stringify(Math.round((later.user + later.system - user - system) / 1000)));
  process.exit(0);
}
