import type { CharReceiver, CharSink } from '../../iface/lines.js';
import { struct, u16, type Infer } from '../../snapshot/schema.js';
import { get } from '../../bus/pci/config-space.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { DEVICE_TYPE } from './registers.js';

/** VIRTIO 1.2 §5.3.3. */
const FEATURE = { SIZE: 1n << 0n, EMERGENCY_WRITE: 1n << 2n } as const;

/** §5.3.4: cols, rows (16 bits), max_nr_ports, emerg_wr (32 bits). */
const CONFIG = { COLS: 0, ROWS: 2, EMERGENCY_WRITE: 8, SIZE: 12 } as const;

/** §5.3.2: the queues of port 0. */
const QUEUE = { RECEIVE: 0, TRANSMIT: 1 } as const;

/** At most this much of one buffer is sent; what a driver offers beyond is dropped, so that it cannot hold the machine up. */
const MAX_BYTES = 0x10_0000;
const PIECE = 0x1_0000;

const stateSchema = struct({ cols: u16, rows: u16 });
type State = Infer<typeof stateSchema>;

/** Console device with one port, VIRTIO 1.2 §5.3. Output and input pass at once; nothing is ever under way. */
export class VirtioConsole implements VirtioDevice, CharReceiver {
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.CONSOLE;
  /** Other communication controller. */
  readonly classCode = 0x07_8000;
  readonly features = FEATURE.SIZE | FEATURE.EMERGENCY_WRITE;
  readonly queueSizes = [64, 64];
  readonly configSize = CONFIG.SIZE;
  onDrain: (() => void) | undefined;
  /** Bytes that were dropped because a buffer was too long, or not in RAM. */
  dropped = 0;

  private port: VirtioPort | undefined;
  private cols = 80;
  private rows = 25;
  /** Input was refused: ask for it when the driver offers buffers. */
  private starved = false;

  constructor(
    readonly id: string,
    private readonly out: CharSink,
  ) {}

  connect(port: VirtioPort): void {
    this.port = port;
  }

  /** The terminal's size in characters changed. */
  resize(cols: number, rows: number): void {
    if (cols === this.cols && rows === this.rows) return;
    this.cols = cols;
    this.rows = rows;
    this.port?.configChanged();
  }

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
    return get(config, offset, size);
  }

  /** §5.3.4: emerg_wr sends a byte at any time, set up or not. */
  writeConfig(offset: number, _size: number, value: number): void {
    if (offset === CONFIG.EMERGENCY_WRITE) this.out.write(Uint8Array.of(value));
  }

  reset(): void {
    this.starved = true;
  }

  resume(): void {
    this.starved = true;
  }

  save(): State {
    return { cols: this.cols, rows: this.rows };
  }

  /** The size is the terminal's: what the guest knew may be out of date, and is told again. */
  restore(state: State): void {
    this.cols = state.cols;
    this.rows = state.rows;
    this.starved = true;
  }
}
