/** The thread of a machine's networks, from the machine's side. */
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { HostError } from '../../base/errors.js';
import { errorOf } from '../common/portable-error.js';
import type { NetConfig } from '../../iface/net-config.js';
import type { LateNetwork } from '../../vmm/net-config.js';
import { FrameRing } from '../../net/frame-ring.js';
import { RingBackend, type NetThread } from '../../net/ring-backend.js';
import { NearGateway } from '../../net/user/near-gateway.js';
import { NATIVE, STATUS, type NetAnswer, type NetCommand, type NetWorkerData } from './net-protocol.js';

/** Bytes of a ring: some tens of the longest frames. */
const RING = 2 * 2 ** 20;
/** Milliseconds that the thread may take to start, and to answer. */
const START = 30_000;
const ANSWER = 2000;

const ENTRY = new URL('./net-worker.js', import.meta.url);

/** Whether opening the network may fail, which is to be known before the guest runs. */
const mayFail = ({ network, pcap }: NetConfig): boolean =>
  network.kind !== 'user' || network.forwards.length > 0 || pcap !== '';

/** A thread of networks broke, which is a fault of ours: machines go on without. */
function tellBroken({ message }: Error): void {
  process.stderr.write(`vitrine: the thread of a network has ended: ${message}\n`);
}

/** A thread for the networks of machines that are on one thread themselves. It starts when one of them has something to send. */
export class JoinedNetworks {
  private worker: Worker | undefined;

  /** The networks end when the other end of the port is closed. */
  add(data: NetWorkerData): void {
    this.worker ??= this.start();
    this.worker.postMessage(data, [data.port]);
  }

  private start(): Worker {
    const worker = new Worker(ENTRY);
    worker.unref();
    // Machines that come later have another.
    const gone = (): void => {
      if (this.worker === worker) this.worker = undefined;
    };
    worker.on('error', tellBroken);
    worker.on('exit', gone);
    return worker;
  }

  /** No machine has a network there any more. */
  close(): void {
    void this.worker?.terminate();
    this.worker = undefined;
  }
}

/** What networks are on, and for whom. */
export interface NetworkPlace {
  /** The machine's words. */
  readonly shared: NetWorkerData['shared'];
  /** Its thread may have to be woken by a signal. */
  readonly signals: boolean;
  /** A thread that there is for several machines. */
  readonly joined: JoinedNetworks | undefined;
}

export class NetworkThread {
  readonly backends: readonly RingBackend[];
  private readonly status: Int32Array;
  private readonly data: Omit<NetWorkerData, 'port'>;
  private readonly channel = new MessageChannel();
  /** A thread of its own. */
  private worker: Worker | undefined;
  private hasStarted = false;
  private checked = false;
  private isClosed = false;
  /** Where it starts instead: what may fail is not for a thread that others need. */
  private readonly joined: JoinedNetworks | undefined;
  private readonly signals: boolean;

  /** `ids`: of back ends, in snapshots. */
  constructor(networks: readonly NetConfig[], { shared, signals, joined }: NetworkPlace, ids?: readonly string[]) {
    this.signals = signals;
    const isRisky = networks.some(mayFail);
    this.joined = isRisky ? undefined : joined;
    const status = new SharedArrayBuffer((STATUS.LINK + networks.length) * 4);
    this.status = new Int32Array(status);
    this.status.fill(1, STATUS.LINK);
    const rings = networks.map(() => ({ from: FrameRing.create(RING), to: FrameRing.create(RING) }));
    this.data = {
      networks: networks.map((config, i) => ({
        config,
        fromGuest: rings[i].from.shared,
        toGuest: rings[i].to.shared,
      })),
      shared,
      signals,
      status,
    };
    this.backends = rings.map(({ from, to }, network) => {
      // So that the first frame starts the thread.
      from.markAsleep();
      const end: NetThread = {
        wake: () => this.wake(),
        reset: () => this.post({ kind: 'reset', network }),
        save: () => this.save(network),
        restore: (connections) => {
          if (connections.length > 0) this.post({ kind: 'restore', network, connections });
        },
      };
      return new RingBackend(ids?.[network] ?? `net${network}`, from, to, end, (sink) =>
        NearGateway.of(networks[network], sink, () => performance.now()),
      );
    });
    this.channel.port1.unref();
    if (isRisky) this.start();
  }

  /** Networks whose opening cannot fail wait for the first frame: many guests never send one. */
  private start(): void {
    const { port2: port } = this.channel;
    const data: NetWorkerData = { ...this.data, port };
    this.hasStarted = true;
    if (this.joined) {
      this.joined.add(data);
      return;
    }
    const worker = new Worker(ENTRY, { workerData: data, transferList: [port] });
    worker.unref();
    worker.on('error', (error) => {
      tellBroken(error);
      this.status.fill(0, STATUS.LINK);
    });
    this.worker = worker;
  }

  private wake(): void {
    if (this.isClosed) return;
    if (!this.hasStarted) this.start();
    Atomics.add(this.status, STATUS.DOORBELL, 1);
    Atomics.notify(this.status, STATUS.DOORBELL);
  }

  private post(command: NetCommand): void {
    if (this.isClosed) return;
    if (!this.hasStarted) {
      if (command.kind !== 'restore') return;
      this.start();
    }
    this.channel.port1.postMessage(command);
  }

  /** Waits for networks whose opening may fail. Throws a one-line error when it has. */
  check(): void {
    if (this.checked || !this.worker) return;
    this.checked = true;
    Atomics.wait(this.status, STATUS.READY, 0, START);
    if (Atomics.load(this.status, STATUS.READY) === 0) throw new HostError('the networks do not start');
    const answer = receiveMessageOnPort(this.channel.port1)?.message as NetAnswer | undefined;
    if (answer?.kind === 'error') throw errorOf(answer.errorKind, answer.message);
    this.poll();
  }

  /** Ends the thread, and with it all that it has open. */
  close(): void {
    const { worker } = this;
    // Native code that is loading when its thread is ended ends the process.
    if (worker && this.signals) Atomics.wait(this.status, STATUS.READY, 0, START);
    const { IDLE, LOADING, NEVER } = NATIVE;
    if (Atomics.compareExchange(this.status, STATUS.NATIVE, IDLE, NEVER) === LOADING)
      Atomics.wait(this.status, STATUS.NATIVE, LOADING, START);
    this.isClosed = true;
    this.channel.port1.close();
    this.worker = undefined;
    void worker?.terminate();
  }

  private save(network: number): Uint8Array {
    if (!this.hasStarted) return new Uint8Array(0);
    const before = Atomics.load(this.status, STATUS.ANSWERS);
    this.post({ kind: 'save', network });
    Atomics.wait(this.status, STATUS.ANSWERS, before, ANSWER);
    const answer = receiveMessageOnPort(this.channel.port1)?.message as NetAnswer | undefined;
    return answer?.kind === 'saved' ? answer.connections : new Uint8Array(0);
  }

  /** Takes what has come. Cheap when nothing has. */
  poll(): void {
    this.backends.forEach((backend, i) => {
      backend.setLink(Atomics.load(this.status, STATUS.LINK + i) !== 0);
      backend.poll();
    });
  }

  /** The guest's CPUs are about to sleep. True: not now, there is something for them. */
  settle(): boolean {
    let busy = false;
    for (const backend of this.backends) if (backend.settle()) busy = true;
    return busy;
  }
}

/** The networks that a machine has. */
export class Networks {
  private thread: NetworkThread | undefined;
  private signals = false;
  /** Of networks that came while the machine runs: each has its own. */
  private readonly late = new Set<NetworkThread>();

  /** `shared`: the machine's words. `joined`: for machines that are on one thread. */
  constructor(
    private readonly shared: NetWorkerData['shared'],
    private readonly joined: JoinedNetworks | undefined,
  ) {}

  private get place(): NetworkPlace {
    const { shared, signals, joined } = this;
    return { shared, signals, joined };
  }

  /** `signals`: the machine's thread may have to be woken by one. */
  open(networks: readonly NetConfig[], signals: boolean): readonly RingBackend[] {
    this.signals = signals;
    this.thread = new NetworkThread(networks, this.place);
    return this.thread.backends;
  }

  /** One more network. Throws a one-line error when it cannot be had. */
  add(network: NetConfig, id: string): LateNetwork {
    const thread = new NetworkThread([network], this.place, [`net.${id}`]);
    try {
      thread.check();
    } catch (error) {
      thread.close();
      throw error;
    }
    this.late.add(thread);
    return {
      backend: thread.backends[0],
      close: () => {
        this.late.delete(thread);
        thread.close();
      },
    };
  }

  check(): void {
    this.thread?.check();
  }

  /** The machine's thread is about to end. */
  close(): void {
    this.thread?.close();
    for (const thread of this.late) thread.close();
  }

  poll(): void {
    this.thread?.poll();
    for (const thread of this.late) thread.poll();
  }

  /** The guest's CPUs are about to sleep. True: not now, there is something for them. */
  settle(): boolean {
    let busy = this.thread?.settle() ?? false;
    for (const thread of this.late) if (thread.settle()) busy = true;
    return busy;
  }
}
