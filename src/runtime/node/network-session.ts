/** The networks of a machine on their thread, which may have those of other machines, too: rings of frames on one side, the host's sockets on the other. */
import { kindOf } from '../common/portable-error.js';
import { ClosableSockets } from '../../host/node/net/closable-sockets.js';
import { NodeSockets } from '../../host/node/net/node-sockets.js';
import type { RunningNetwork } from '../common/network-end.js';
import { startNetwork } from './networks.js';
import { NATIVE, STATUS, type NetAnswer, type NetCommand, type NetWorkerData } from './net-protocol.js';
import { loadSignals, wakeMachine } from './wake.js';

export class NetworkSession {
  private readonly words: Int32Array;
  private readonly running: RunningNetwork[] = [];
  private readonly sockets: NodeSockets | ClosableSockets;
  private scheduled = false;
  /** The machine has no use for it any more. */
  private isOver = false;

  private constructor(
    private readonly data: NetWorkerData,
    isAlone: boolean,
  ) {
    this.words = new Int32Array(data.status);
    const whileLoading = <T>(load: () => T): T | undefined => this.whileLoading(load);
    this.sockets = isAlone ? new NodeSockets(whileLoading) : new ClosableSockets({ whileLoading });
  }

  /** Opens the networks, and tells the machine when they are there, or why they are not. They end with the port, or, `isAlone`, with the thread. */
  static start(data: NetWorkerData, isAlone: boolean): void {
    void new NetworkSession(data, isAlone).begin();
  }

  private async begin(): Promise<void> {
    const { port, signals, networks } = this.data;
    const { sockets } = this;
    if (sockets instanceof ClosableSockets) port.on('close', () => this.end(sockets));
    try {
      if (signals) await loadSignals();
      for (const [i, { config, fromGuest, toGuest }] of networks.entries())
        this.running.push(
          await startNetwork({
            config,
            fromGuest,
            toGuest,
            wakeMachine: () => this.wake(),
            sockets,
            setLink: (up) => {
              Atomics.store(this.words, STATUS.LINK + i, up ? 1 : 0);
              this.wake();
            },
          }),
        );
      port.on('message', (message: NetCommand) => this.command(message));
      this.ready();
      void this.answerDoorbell();
    } catch (error) {
      const { message } = error instanceof Error ? error : new Error(String(error));
      port.postMessage({ kind: 'error', message, errorKind: kindOf(error) } satisfies NetAnswer);
      this.ready();
    }
  }

  private wake(): void {
    // Its words may be another machine's by then.
    if (!this.isOver) wakeMachine(this.data.shared);
  }

  /** Moves frames until there are none; sockets get their turn in between. */
  private work(): void {
    this.scheduled = false;
    if (this.isOver) return;
    let more = false;
    for (const network of this.running) more = network.move() || more;
    if (more) this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.work());
  }

  /** Works whenever the machine's thread rings: cheaper than a message for both. */
  private async answerDoorbell(): Promise<void> {
    while (!this.isOver) {
      const seen = Atomics.load(this.words, STATUS.DOORBELL);
      this.work();
      const { async: waits, value } = Atomics.waitAsync(this.words, STATUS.DOORBELL, seen);
      if (waits) await value;
    }
  }

  private command(message: NetCommand): void {
    const network = this.running.at(message.network);
    switch (message.kind) {
      case 'reset':
        network?.reset();
        break;
      case 'save': {
        const connections = network?.save() ?? new Uint8Array(0);
        this.data.port.postMessage({ kind: 'saved', connections } satisfies NetAnswer);
        Atomics.add(this.words, STATUS.ANSWERS, 1);
        Atomics.notify(this.words, STATUS.ANSWERS);
        break;
      }
      case 'restore':
        network?.restore(message.connections);
        break;
    }
  }

  /** Loads native code, unless the thread is about to be ended. */
  private whileLoading<T>(load: () => T): T | undefined {
    const { IDLE, LOADING, NEVER } = NATIVE;
    const { words } = this;
    if (Atomics.compareExchange(words, STATUS.NATIVE, IDLE, LOADING) === NEVER) return undefined;
    try {
      return load();
    } finally {
      Atomics.store(words, STATUS.NATIVE, IDLE);
      Atomics.notify(words, STATUS.NATIVE);
    }
  }

  private ready(): void {
    Atomics.store(this.words, STATUS.READY, 1);
    Atomics.notify(this.words, STATUS.READY);
  }

  private end(sockets: ClosableSockets): void {
    this.isOver = true;
    for (const network of this.running) network.reset();
    sockets.close();
    Atomics.notify(this.words, STATUS.DOORBELL);
  }
}
