/** Input device, VIRTIO 1.2 §5.8: a keyboard or a tablet. */
import { POINTER_RANGE } from '../../../iface/input.js';
import { array, int, struct, u16, u32, u8, type Infer } from '../../../snapshot/schema.js';
import type { VirtioDevice, VirtioPort } from '../device.js';
import { DEVICE_TYPE } from '../registers.js';
import { ABS, EVENT, KEY_CODES, LEDS, POINTER_BUTTONS, REL } from './event-codes.js';

const QUEUE = { EVENTS: 0, STATUS: 1 } as const;
/** §5.8.4: select, subsel, size, five reserved bytes, then up to 128 of what was selected. */
const CONFIG = { SELECT: 0, SUBSELECT: 1, SIZE: 2, DATA: 8, LENGTH: 8 + 128 } as const;
const SELECT = { NAME: 0x01, SERIAL: 0x02, IDS: 0x03, PROPERTIES: 0x10, EVENTS: 0x11, ABS_INFO: 0x12 } as const;
/** struct virtio_input_event: type and code, 16 bits each, and a value of 32. */
const EVENT_SIZE = 8;
/** Events that wait for buffers of the driver; what comes when there are more is lost, a whole report at a time. */
const MOST_WAITING = 256;
/** Virtual bus; vendor and products as QEMU's, which drivers may know. */
const IDS = { BUS: 6, VENDOR: 0x0627, KEYBOARD: 1, TABLET: 3, VERSION: 1 } as const;

const stateSchema = struct({
  select: u8,
  subselect: u8,
  waiting: array(struct({ type: u16, code: u16, value: int }), { max: MOST_WAITING }),
  /** Keys or buttons that the driver was told are down. */
  held: array(u16, { max: 1024 }),
  x: u32,
  y: u32,
});
type State = Infer<typeof stateSchema>;
type InputReport = State['waiting'];

/** What a kind of device says of itself. */
interface Kind {
  readonly name: string;
  readonly product: number;
  /** Codes by the type of event. */
  readonly events: ReadonlyMap<number, readonly number[]>;
}

const KEYBOARD: Kind = {
  name: 'Vitrine keyboard',
  product: IDS.KEYBOARD,
  events: new Map<number, readonly number[]>([
    [EVENT.KEY, [...KEY_CODES.values()]],
    [EVENT.LED, LEDS],
    [EVENT.REP, [0, 1]],
  ]),
};
const TABLET: Kind = {
  name: 'Vitrine tablet',
  product: IDS.TABLET,
  events: new Map<number, readonly number[]>([
    [EVENT.KEY, POINTER_BUTTONS],
    [EVENT.REL, [REL.HWHEEL, REL.WHEEL]],
    [EVENT.ABS, [ABS.X, ABS.Y]],
  ]),
};

function bitmap(codes: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Math.floor(Math.max(...codes) / 8) + 1);
  for (const code of codes) bytes[code >> 3] |= 1 << (code & 7);
  return bytes;
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

function words(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  values.forEach((value, i) => view.setUint16(2 * i, value, true));
  return new Uint8Array(view.buffer);
}

abstract class VirtioInput implements VirtioDevice {
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.INPUT;
  /** Other input controller. */
  readonly classCode = 0x09_8000;
  readonly features = 0n;
  readonly queueSizes = [64, 64];
  readonly configSize = CONFIG.LENGTH;

  protected x = 0;
  protected y = 0;
  protected readonly held = new Set<number>();
  private port: VirtioPort | undefined;
  private select = 0;
  private subselect = 0;
  private waiting: InputReport = [];

  constructor(
    readonly id: string,
    private readonly kind: Kind,
  ) {}

  connect(port: VirtioPort): void {
    this.port = port;
  }

  /** The guest has a driver that listens. */
  get live(): boolean {
    return this.port?.live === true && this.port.queue(QUEUE.EVENTS).ready;
  }

  /** Sends events that belong together. False: they were lost. */
  protected report(events: InputReport): boolean {
    if (!this.live || events.length === 0) return false;
    if (this.waiting.length + events.length + 1 > MOST_WAITING) return false;
    this.waiting.push(...events, { type: EVENT.SYN, code: 0, value: 0 });
    this.send();
    return true;
  }

  private send(): void {
    const queue = this.port?.queue(QUEUE.EVENTS);
    while (this.waiting.length > 0) {
      const chain = queue?.pop();
      if (!chain) break;
      const [event] = this.waiting.splice(0, 1);
      const bytes = new Uint8Array(EVENT_SIZE);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, event.type, true);
      view.setUint16(2, event.code, true);
      view.setInt32(4, event.value, true);
      const part = bytes.subarray(0, Math.min(EVENT_SIZE, chain.writeLength));
      chain.write(0, part);
      queue?.push(chain, part.length);
    }
    queue?.flush();
  }

  notified(index: number): void {
    if (index === QUEUE.EVENTS) {
      this.send();
      return;
    }
    // Lights of the keyboard, which nobody sees.
    const queue = this.port?.queue(QUEUE.STATUS);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) queue?.push(chain, 0);
    queue?.flush();
  }

  private selected(): Uint8Array {
    const { select, subselect, kind } = this;
    if (select === SELECT.EVENTS) {
      const codes = kind.events.get(subselect);
      return codes ? bitmap(codes) : new Uint8Array(0);
    }
    if (select === SELECT.ABS_INFO && kind.events.get(EVENT.ABS)?.includes(subselect)) {
      // Least, most, fuzz, flat, resolution: 32 bits each.
      return words(0, 0, POINTER_RANGE, 0, 0, 0, 0, 0, 0, 0);
    }
    if (subselect !== 0) return new Uint8Array(0);
    if (select === SELECT.NAME) return ascii(kind.name);
    if (select === SELECT.SERIAL) return ascii(this.id);
    if (select === SELECT.IDS) return words(IDS.BUS, IDS.VENDOR, kind.product, IDS.VERSION);
    return new Uint8Array(0);
  }

  readConfig(offset: number, size: number): number {
    const data = this.selected();
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.configByte(offset + i, data);
    return value;
  }

  private configByte(at: number, data: Uint8Array): number {
    if (at === CONFIG.SELECT) return this.select;
    if (at === CONFIG.SUBSELECT) return this.subselect;
    if (at === CONFIG.SIZE) return data.length;
    return at >= CONFIG.DATA ? (data[at - CONFIG.DATA] ?? 0) : 0;
  }

  writeConfig(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      const byte = (value >>> (8 * i)) & 0xff;
      if (offset + i === CONFIG.SELECT) this.select = byte;
      else if (offset + i === CONFIG.SUBSELECT) this.subselect = byte;
    }
  }

  reset(): void {
    this.waiting = [];
    this.held.clear();
    this.select = this.subselect = 0;
  }

  resume(): void {
    if (this.live) this.send();
  }

  save(): State {
    const { select, subselect, waiting, held, x, y } = this;
    return { select, subselect, waiting: waiting.map((one) => ({ ...one })), held: [...held], x, y };
  }

  restore(state: State): void {
    this.select = state.select;
    this.subselect = state.subselect;
    this.waiting = state.waiting.map((one) => ({ ...one }));
    this.held.clear();
    for (const code of state.held) this.held.add(code);
    this.x = state.x;
    this.y = state.y;
  }
}

export class VirtioKeyboard extends VirtioInput {
  constructor(id: string) {
    super(id, KEYBOARD);
  }

  /** A key by its KeyboardEvent code. The guest repeats keys itself. */
  key(name: string, down: boolean): void {
    const code = KEY_CODES.get(name);
    if (code === undefined || this.held.has(code) === down) return;
    if (!this.report([{ type: EVENT.KEY, code, value: down ? 1 : 0 }])) return;
    if (down) this.held.add(code);
    else this.held.delete(code);
  }
}

export class VirtioTablet extends VirtioInput {
  constructor(id: string) {
    super(id, TABLET);
  }

  /** The pointer is there, 0 … POINTER_RANGE each way, with these buttons held: bits as in `BUTTON`. */
  point(x: number, y: number, buttons: number): void {
    const report: InputReport = [];
    if (x !== this.x) report.push({ type: EVENT.ABS, code: ABS.X, value: x });
    if (y !== this.y) report.push({ type: EVENT.ABS, code: ABS.Y, value: y });
    const changed = POINTER_BUTTONS.filter((code, i) => this.held.has(code) !== ((buttons & (1 << i)) !== 0));
    for (const code of changed) report.push({ type: EVENT.KEY, code, value: this.held.has(code) ? 0 : 1 });
    if (!this.report(report)) return;
    [this.x, this.y] = [x, y];
    for (const code of changed) if (!this.held.delete(code)) this.held.add(code);
  }

  /** Steps: down and right positive. */
  wheel(vertical: number, horizontal: number): void {
    const report: InputReport = [];
    // The wheel's own axis points up.
    if (vertical !== 0) report.push({ type: EVENT.REL, code: REL.WHEEL, value: -vertical });
    if (horizontal !== 0) report.push({ type: EVENT.REL, code: REL.HWHEEL, value: horizontal });
    this.report(report);
  }
}
