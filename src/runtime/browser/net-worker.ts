/** The thread of a machine's networks in a page: rings of frames on one side, what the browser lets it do on the other. */
import { MessageRing } from '../common/message-ring.js';
import { wakeBy } from './cpu-threads.js';
import type { NetCommand, NetStart } from './net-protocol.js';
import { PageNetworks } from './networks.js';
import { READY } from './protocol.js';

let networks: PageNetworks | undefined;
let answers: MessageRing | undefined;

async function start(first: NetStart): Promise<void> {
  answers = new MessageRing(first.answers);
  networks = await PageNetworks.start(first, first.wake ? wakeBy(first.wake) : () => {});
  self.postMessage(READY);
}

self.onmessage = ({ data }: MessageEvent<NetStart | NetCommand>) => {
  if ('networks' in data) start(data).catch((error: unknown) => reportError(error));
  else if (data.kind === 'save') answers?.send(networks?.save(data.network) ?? new Uint8Array(0));
  else networks?.command(data);
};
