import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { FINISHED } from '../../iface/net.js';
import { CARD, packet, segment } from '../../testing/user-stack-guest.js';
import { SHARED } from './protocol.js';
import type * as NetworkThreads from './network-thread.js';

// What starts workers comes from dist/, as the workers do.
const url = new URL('../../../dist/runtime/node/network-thread.js', import.meta.url).href;
const { JoinedNetworks, NetworkThread } = (await import(url)) as typeof NetworkThreads;

const SYN = 2;

/** A reset is an end like any other. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.on('close', () => resolve()));

it('is one for several machines, whose connections end with the machine', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const joined = new JoinedNetworks();
  const threads = (): number => readdirSync('/proc/self/task').length;
  const machine = (): InstanceType<typeof NetworkThread> => {
    const shared = new Int32Array(new SharedArrayBuffer(SHARED.SIZE * 4));
    return new NetworkThread([CARD], { shared, signals: false, joined });
  };
  const machines = [machine(), machine()];
  const connect = async ({ backends: [card] }: InstanceType<typeof NetworkThread>): Promise<void> => {
    const frame = packet(6, '10.0.2.15', '10.0.2.2', segment(SYN, 1, 0, port), 16);
    card.reserve(frame.length)?.set(frame);
    card.commit(FINISHED);
    card.flush();
    await once(server, 'connection');
  };
  await connect(machines[0]);
  const before = threads();
  await connect(machines[1]);
  expect(threads()).toBe(before);
  machines[0].close();
  await closed(sockets[0]);
  expect(sockets[1].destroyed).toBe(false);
  machines[1].close();
  await closed(sockets[1]);
  joined.close();
  server.close();
});
