/** Listens for clients of a machine's monitor. */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { HostError, VitrineError } from '../../base/errors.js';
import { writeFileSafely } from '../../host/node/snapshot-file.js';
import { diskId } from '../../vmm/media.js';
import { parseForward } from '../../net/user/forward-text.js';
import { QmpError } from '../../vmm/qmp/types.js';
import type { QmpEvent } from '../../vmm/qmp/events.js';
import type { VncState } from '../../vmm/qmp/machine.js';
import type { MachineExit } from '../../vmm/machine.js';
import { QmpSession } from '../../vmm/qmp/session.js';
import type { MachineHandle } from './machine-handle.js';
import { usageOf } from './machine-usage.js';
import { listenReason } from './listen-reason.js';
import { listenUnix } from './listen-unix.js';

export type QmpAddress =
  /** Port 0: one that is free. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

const show = (address: QmpAddress): string =>
  address.kind === 'unix'
    ? `unix:${address.path}`
    : `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;

async function listen(server: Server, address: QmpAddress): Promise<void> {
  if (address.kind === 'unix') {
    await listenUnix(server, address.path);
    return;
  }
  server.listen(address.port, address.host);
  await once(server, 'listening');
}

/** Bytes that the guest has. */
async function askBalloon(handle: MachineHandle, target: number | undefined): Promise<number> {
  try {
    return (await handle.balloon(target)).left;
  } catch (cause) {
    if (cause instanceof VitrineError) throw new QmpError('No balloon device has been activated', 'DeviceNotActive');
    throw cause;
  }
}

export interface QmpServerOptions {
  readonly handle: MachineHandle;
  /** What the machine is called, if it has a name. */
  readonly name?: string;
  /** Of Vitrine. */
  readonly version: string;
  /** The owner's clock, milliseconds since 1970. */
  readonly now: () => number;
  /** Its VNC server, if it has one. */
  readonly vnc?: () => VncState | undefined;
  /** A client ends the machine. */
  quit(): void;
}

/** A machine's monitor, wherever it listens. */
export class QmpServer {
  private readonly servers: Server[] = [];
  private readonly clients = new Map<Socket, QmpSession>();
  /** Who came before there was a machine. */
  private readonly early = new Set<Socket>();
  private options: QmpServerOptions | undefined;
  private paused = false;
  /** Keys that clients have sent, which are held one after the other. */
  private typing: Promise<void> = Promise.resolve();
  private readonly pointer = { x: 0, y: 0, buttons: 0 };
  /** Who asked for the reset or the end that comes. */
  private asked: 'host-qmp-system-reset' | 'host-qmp-quit' | undefined;

  /** Listens at one more address. Where, in words; throws a one-line error when it cannot listen there. */
  async listen(address: QmpAddress): Promise<string> {
    // What a client has asked before it ended its side is answered, as in QEMU: `printf … | socat - unix:…`.
    const server = createServer({ noDelay: true, allowHalfOpen: true });
    try {
      await listen(server, address);
    } catch (cause) {
      throw new HostError(
        `cannot listen for QMP on ${show(address)}: ${cause instanceof HostError ? cause.message : listenReason(cause)}`,
        { cause },
      );
    }
    server.on('connection', (socket) => this.accept(socket));
    this.servers.push(server);
    const port = address.kind === 'tcp' ? (server.address() as AddressInfo).port : 0;
    return show(address.kind === 'tcp' ? { ...address, port } : address);
  }

  /** Clients speak to this machine. */
  attach(options: QmpServerOptions): void {
    this.options = options;
    for (const socket of this.early) this.accept(socket);
    this.early.clear();
  }

  private accept(socket: Socket): void {
    const { options } = this;
    if (options === undefined) {
      this.early.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.early.delete(socket));
      return;
    }
    const { handle, version, name } = options;
    const session = new QmpSession({
      version,
      send: (text) => socket.write(text),
      machine: {
        ...(name !== undefined && { name }),
        usage: () => usageOf(handle),
        limit: (limits) => handle.limit(limits),
        isPaused: () => this.paused,
        inspect: () => handle.inspect(),
        pause: async () => {
          await handle.pause();
          if (!this.paused) this.tell('STOP');
          this.paused = true;
        },
        resume: async () => {
          await handle.resume();
          if (this.paused) this.tell('RESUME');
          this.paused = false;
        },
        press: async (button) => {
          if (button === 'reset') this.asked = 'host-qmp-system-reset';
          if (button === 'power') this.tell('POWERDOWN');
          await handle.press(button);
        },
        screendump: async (file, format) => {
          const picture = await handle.screenshot(format);
          writeFileSafely(file, 'picture', (target) => target.write(0, picture));
        },
        typeKeys: (codes, holdTime) => {
          this.typing = this.typing.then(async () => {
            for (const code of codes) handle.input({ kind: 'key', code, down: true });
            await delay(holdTime, undefined, { ref: false });
            for (const code of [...codes].reverse()) handle.input({ kind: 'key', code, down: false });
          });
        },
        input: (event) => handle.input(event),
        pointer: this.pointer,
        vnc: () => options.vnc?.(),
        changeMedia: (request) => handle.changeMedia(request),
        plug: (request) => handle.plug(request),
        parseForward,
        balloon: (target) => askBalloon(handle, target),
        quit: () => {
          this.asked = 'host-qmp-quit';
          options.quit();
        },
      },
    });
    this.clients.set(socket, session);
    socket.on('data', (bytes) => {
      // A client that sends faster than it is answered waits.
      socket.pause();
      void session.receive(new Uint8Array(bytes)).then(() => socket.resume());
    });
    socket.on('end', () => void session.receive(new Uint8Array(0)).then(() => socket.end()));
    // What goes wrong with a connection ends it.
    socket.on('error', () => {});
    socket.on('close', () => this.clients.delete(socket));
  }

  private tell(name: QmpEvent['name'], data?: QmpEvent['data']): void {
    const time = this.options?.now() ?? 0;
    for (const session of this.clients.values()) session.event({ name, time, ...(data && { data }) });
  }

  /** The machine was reset. */
  reset(): void {
    const reason = this.asked === 'host-qmp-system-reset' ? this.asked : 'guest-reset';
    this.asked = undefined;
    this.tell('RESET', { guest: reason === 'guest-reset', reason });
  }

  /** The tray of a drive has moved. */
  trayMoved(disk: number, open: boolean): void {
    const id = diskId(disk);
    this.tell('DEVICE_TRAY_MOVED', { device: id, id, 'tray-open': open });
  }

  /** A card that was plugged has gone. */
  cardRemoved(id: string): void {
    this.tell('DEVICE_DELETED', { device: id, path: `/machine/peripheral/${id}` });
  }

  /** The machine has ended. A reset ends one that is not to start again, whoever asked for it. */
  ended({ kind }: MachineExit): void {
    const { asked } = this;
    if (kind === 'stopped') {
      this.tell('SHUTDOWN', { guest: false, reason: asked === 'host-qmp-quit' ? asked : 'host-signal' });
      return;
    }
    const byMonitor = kind === 'reset' && asked === 'host-qmp-system-reset';
    const byGuest = kind === 'reset' || kind === 'triple-fault' ? 'guest-reset' : 'guest-shutdown';
    this.tell('SHUTDOWN', { guest: !byMonitor, reason: byMonitor ? asked : byGuest });
  }

  close(): void {
    for (const server of this.servers) server.close();
    for (const socket of [...this.clients.keys(), ...this.early]) {
      socket.end();
      // A client that does not hang up does not keep this process.
      socket.unref();
    }
  }
}
