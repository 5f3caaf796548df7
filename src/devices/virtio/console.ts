import type { CharReceiver, CharSink } from '../../iface/lines.js';
import type { Streams } from '../../iface/streams.js';
import { array, bool, range, struct, u16, u32, type Infer, type Plain } from '../../snapshot/schema.js';
import { get } from '../../bus/pci/config-space.js';
import { ConsolePort } from './console-port.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { DEVICE_TYPE } from './registers.js';

/** VIRTIO 1.2 §5.3.3. */
const FEATURE = { SIZE: 1n << 0n, MULTIPORT: 1n << 1n, EMERGENCY_WRITE: 1n << 2n } as const;

/** §5.3.4: cols, rows (16 bits), max_nr_ports, emerg_wr (32 bits). */
const CONFIG = { COLS: 0, ROWS: 2, MAX_PORTS: 4, EMERGENCY_WRITE: 8, SIZE: 12 } as const;

/** §5.3.2: the queues of port 0, those of control, and the first of the other ports', two each. */
const QUEUE = { RECEIVE: 0, TRANSMIT: 1, CONTROL_IN: 2, CONTROL_OUT: 3, PORTS: 4 } as const;

/** Events of control messages, §5.3.6.2. */
const EVENT = {
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const;

/** struct virtio_console_control: id (32 bits), event and value (16 bits each). */
const CONTROL_SIZE = 8;

/** Ports besides the console. */
export const MAX_PORTS = 30;

/** At most this much of one buffer is sent; what a driver offers beyond is dropped, so that it cannot hold the machine up. */
const MAX_BYTES = 0x10_0000;
const PIECE = 0x1_0000;

const stateSchema = struct({
  cols: u16,
  rows: u16,
  /** Ports besides the console, as the driver has them. */
  ports: array(struct({ ready: bool, open: bool, told: bool }), { max: MAX_PORTS }),
  /** Control messages that wait for buffers. */
  controls: array(struct({ id: u32, event: range(0, 7), value: u16 }), { max: 8 * (MAX_PORTS + 1) }),
});
type State = Infer<typeof stateSchema>;
type Control = State['controls'][number];

/** Ports that lead to streams. */
export interface ConsolePorts {
  /** What the guest finds them by, in /dev/virtio-ports. */
  readonly names: readonly string[];
  readonly streams: Streams;
}

/**
 * Console device, VIRTIO 1.2 §5.3: port 0 is a console; the others, if there are any, lead to streams. Nothing of the
 * console's is ever under way.
 */
export class VirtioConsole implements VirtioDevice, CharReceiver {
  readonly stateVersion = 2;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.CONSOLE;
  /** Other communication controller. */
  readonly classCode = 0x07_8000;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configSize = CONFIG.SIZE;
  onDrain: (() => void) | undefined;
  /** Bytes that were dropped because a buffer was too long, or not in RAM. */
  dropped = 0;

  private port: VirtioPort | undefined;
  private cols = 80;
  private rows = 25;
  /** Input was refused: ask for it when the driver offers buffers. */
  private starved = false;
  private readonly ports: readonly ConsolePort[];
  private controls: Control[] = [];

  constructor(
    readonly id: string,
    private readonly out: CharSink,
    { names, streams }: Partial<ConsolePorts> = {},
  ) {
    const live = (): VirtioPort | undefined => (this.port?.live ? this.port : undefined);
    this.ports = (names ?? []).map(
      (name, i) =>
        new ConsolePort(i + 1, name, QUEUE.PORTS + 2 * i, {
          get live() {
            return live();
          },
          hostChanged: (port) => this.tellOpen(port),
        }),
    );
    const multiport = this.ports.length > 0;
    this.features = FEATURE.SIZE | FEATURE.EMERGENCY_WRITE | (multiport ? FEATURE.MULTIPORT : 0n);
    this.queueSizes = [64, 64, ...(multiport ? [64, 64] : []), ...this.ports.flatMap(() => [64, 64])];
    if (multiport)
      streams?.serve('port', { persistent: true, accept: (index, end) => this.ports.at(index - 1)?.accept(end) });
  }

  connect(port: VirtioPort): void {
    this.port = port;
  }

  /** The terminal's size in characters changed. */
  resize(cols: number, rows: number): void {
    if (cols === this.cols && rows === this.rows) return;
    this.cols = cols;
    this.rows = rows;
    this.port?.configChanged();
    this.control(0, EVENT.RESIZE, 0);
  }

  // ---- control messages, §5.3.6.2 ----

  private get multiport(): boolean {
    return this.port?.live === true && (this.port.features & FEATURE.MULTIPORT) !== 0n;
  }

  /** Sends a message, in place of one of its kind that waits. */
  private control(id: number, event: number, value: number): void {
    if (!this.multiport) return;
    this.controls = this.controls.filter((one) => one.id !== id || one.event !== event);
    this.controls.push({ id, event, value });
    this.sendControls();
  }

  private sendControls(): void {
    if (!this.multiport) return;
    const queue = this.port?.queue(QUEUE.CONTROL_IN);
    for (let next = this.controls.at(0); next; next = this.controls.at(0)) {
      const chain = queue?.pop();
      if (!chain) break;
      this.controls.shift();
      const message = this.controlBytes(next);
      queue?.push(chain, chain.write(0, message) ? message.length : 0);
    }
    queue?.flush();
  }

  private controlBytes({ id, event, value }: Control): Uint8Array {
    const name = event === EVENT.PORT_NAME ? new TextEncoder().encode(this.ports.at(id - 1)?.name) : new Uint8Array(0);
    const bytes = new Uint8Array(CONTROL_SIZE + name.length + (event === EVENT.RESIZE ? 4 : 0));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    bytes.set(name, CONTROL_SIZE);
    if (event === EVENT.RESIZE) {
      // DEVIATION: struct virtio_console_resize of §5.3.6.2 has columns first; Linux's driver (handle_control_message in
      // drivers/char/virtio_console.c, 2.6.36 to 6.12 and most since) reads rows first, and a terminal turned by 90 degrees helps
      // nobody. The configuration space, which serves consoles without ports, has columns first for both.
      view.setUint16(CONTROL_SIZE, this.rows, true);
      view.setUint16(CONTROL_SIZE + 2, this.cols, true);
    }
    return bytes;
  }

  private takeControls(): void {
    if (!this.multiport) return;
    const queue = this.port?.queue(QUEUE.CONTROL_OUT);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) {
      const bytes = new Uint8Array(CONTROL_SIZE);
      const view = new DataView(bytes.buffer);
      if (chain.read(0, bytes))
        this.takeControl(view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true));
      queue?.push(chain, 0);
    }
    queue?.flush();
  }

  private takeControl(id: number, event: number, value: number): void {
    if (event === EVENT.DEVICE_READY) {
      // 0: the driver could not set itself up.
      if (value === 1) for (let port = 0; port <= this.ports.length; port++) this.control(port, EVENT.DEVICE_ADD, 1);
      return;
    }
    const port = id === 0 ? undefined : this.ports.at(id - 1);
    if (id !== 0 && !port) return;
    if (event === EVENT.PORT_READY && value === 1) {
      if (!port) {
        this.control(0, EVENT.CONSOLE_PORT, 1);
        this.control(0, EVENT.RESIZE, 0);
        this.control(0, EVENT.PORT_OPEN, 1);
        return;
      }
      port.ready = true;
      this.control(id, EVENT.PORT_NAME, 1);
      this.tellOpen(port);
    } else if (event === EVENT.PORT_OPEN && port) {
      port.open = value !== 0;
      port.feed();
    }
  }

  private tellOpen(port: ConsolePort): void {
    if (!port.ready || port.told === port.connected) return;
    port.told = port.connected;
    this.control(port.index, EVENT.PORT_OPEN, port.connected ? 1 : 0);
  }

  // ---- the console ----

  receive(bytes: Uint8Array): number {
    const queue = this.port?.live ? this.port.queue(QUEUE.RECEIVE) : undefined;
    let taken = 0;
    while (taken < bytes.length) {
      const chain = queue?.pop();
      if (!chain) break;
      const part = bytes.subarray(taken, taken + chain.writeLength);
      // What the driver wants elsewhere than in RAM is lost, as on a bus without a target.
      if (!chain.write(0, part)) this.dropped += part.length;
      queue?.push(chain, part.length);
      taken += part.length;
    }
    queue?.flush();
    this.starved = taken < bytes.length;
    return taken;
  }

  notified(index: number): void {
    if (index === QUEUE.TRANSMIT) this.transmit();
    else if (index === QUEUE.CONTROL_IN) this.sendControls();
    else if (index === QUEUE.CONTROL_OUT) this.takeControls();
    else if (index >= QUEUE.PORTS) this.ports[Math.floor((index - QUEUE.PORTS) / 2)].notified(index);
    else if (this.starved) {
      this.starved = false;
      this.onDrain?.();
    }
  }

  private transmit(): void {
    const queue = this.port?.queue(QUEUE.TRANSMIT);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) {
      const length = Math.min(chain.readLength, MAX_BYTES);
      this.dropped += chain.readLength - length;
      for (let offset = 0; offset < length; offset += PIECE) {
        const piece = new Uint8Array(Math.min(PIECE, length - offset));
        if (chain.read(offset, piece)) this.out.write(piece);
        else this.dropped += piece.length;
      }
      queue?.push(chain, 0);
    }
    queue?.flush();
  }

  readConfig(offset: number, size: number): number {
    const config = new Uint8Array(CONFIG.SIZE + 4);
    const view = new DataView(config.buffer);
    view.setUint16(CONFIG.COLS, this.cols, true);
    view.setUint16(CONFIG.ROWS, this.rows, true);
    if (this.ports.length > 0) view.setUint32(CONFIG.MAX_PORTS, this.ports.length + 1, true);
    return get(config, offset, size);
  }

  /** §5.3.4: emerg_wr sends a byte at any time, set up or not. */
  writeConfig(offset: number, _size: number, value: number): void {
    if (offset === CONFIG.EMERGENCY_WRITE) this.out.write(Uint8Array.of(value));
  }

  reset(): void {
    this.starved = true;
    this.controls = [];
    for (const port of this.ports) port.reset();
  }

  resume(): void {
    this.starved = true;
    if (!this.port?.live) return;
    for (const port of this.ports) this.tellOpen(port);
    // What the driver made available before the save and nobody took.
    for (let queue = 0; queue < this.queueSizes.length; queue++) this.notified(queue);
  }

  save(): State {
    return {
      cols: this.cols,
      rows: this.rows,
      ports: this.ports.map(({ ready, open, told }) => ({ ready, open, told })),
      controls: this.controls.map((control) => ({ ...control })),
    };
  }

  /** The size is the terminal's: what the guest knew may be out of date, and is told again. */
  restore(state: State): void {
    this.reset();
    this.cols = state.cols;
    this.rows = state.rows;
    this.controls = state.controls.filter(({ id }) => id <= this.ports.length);
    this.ports.forEach((port, i) => {
      const saved = state.ports.at(i);
      if (saved) Object.assign(port, saved);
    });
  }

  /** Version 1 had no ports but the console. */
  upgrade(state: Plain): Plain {
    const isRecord = typeof state === 'object' && state !== null && !Array.isArray(state);
    return isRecord ? { ...(state as { readonly [key: string]: Plain }), ports: [], controls: [] } : state;
  }
}
