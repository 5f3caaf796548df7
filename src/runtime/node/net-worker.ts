/** The thread of a machine's networks, or of those of machines that share theirs. */
import { parentPort, workerData } from 'node:worker_threads';
import type { NetWorkerData } from './net-protocol.js';
import { NetworkSession } from './network-session.js';

const own = workerData as NetWorkerData | null;
if (own) NetworkSession.start(own, true);
else parentPort?.on('message', (data: NetWorkerData) => NetworkSession.start(data, false));
