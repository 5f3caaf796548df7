/** GPU device with one scanout, 2D alone, VIRTIO 1.2 §5.7. Commands are carried out as they come. */
import { get } from '../../../bus/pci/config-space.js';
import type { CursorPicture, DisplayAdapter, Picture } from '../../../iface/display.js';
import type { Gpa } from '../../../base/units.js';
import { bool, bytes, nullable, range, struct, u32, type Infer } from '../../../snapshot/schema.js';
import { edid, EDID_SIZE } from '../../display/edid.js';
import type { DescriptorChain } from '../descriptor-chain.js';
import type { VirtioDevice, VirtioPort } from '../device.js';
import { DEVICE_TYPE } from '../registers.js';
import { COMMAND, CONFIG, CURSOR_SIZE, EDID, ENTRY_SIZE, EVENT_DISPLAY, FEATURE } from './protocol.js';
import { FLAG_FENCE, FORMATS, HEADER, INFO, RESPONSE } from './protocol.js';
import { fill, MOST_ENTRIES, Resources, resourcesState, within, type Area, type Resource } from './resources.js';

const QUEUE = { CONTROL: 0, CURSOR: 1 } as const;
/** The longest request, of which ATTACH_BACKING's entries are most. */
const MOST_REQUEST = HEADER.SIZE + 8 + MOST_ENTRIES * ENTRY_SIZE;
/** The size that a monitor has before anybody says, in pixels; what anybody may say. */
const PREFERRED = { width: 1280, height: 800 } as const;
const LEAST_SIDE = 64;
const MOST_SIDE = 4095;
/** A scanout has this side at least, pixels. */
const LEAST_SCANOUT = 16;

const areaState = struct({ x: u32, y: u32, width: u32, height: u32 });
const stateSchema = struct({
  resources: resourcesState,
  /** What is shown: a part of a picture. */
  scanout: nullable(struct({ resource: u32, area: areaState })),
  cursor: struct({
    visible: bool,
    x: u32,
    y: u32,
    hotX: u32,
    hotY: u32,
    shape: u32,
    pixels: bytes(CURSOR_SIZE ** 2 * 4),
  }),
  width: range(LEAST_SIDE, MOST_SIDE),
  height: range(LEAST_SIDE, MOST_SIDE),
  events: u32,
});
type State = Infer<typeof stateSchema>;
type Cursor = State['cursor'];

const hidden = (shape: number): Cursor => ({
  visible: false,
  x: 0,
  y: 0,
  hotX: 0,
  hotY: 0,
  shape,
  pixels: new Uint8Array(CURSOR_SIZE ** 2 * 4),
});

/** A request as it lies in memory, zeros behind its end. */
class Request {
  readonly view: DataView;
  readonly length: number;

  constructor(chain: DescriptorChain) {
    this.length = Math.min(chain.readLength, MOST_REQUEST);
    const data = new Uint8Array(Math.max(this.length, HEADER.SIZE + 64));
    chain.read(0, data.subarray(0, this.length));
    this.view = new DataView(data.buffer);
  }

  u32(offset: number): number {
    return this.view.getUint32(HEADER.SIZE + offset, true);
  }

  get type(): number {
    return this.view.getUint32(HEADER.TYPE, true);
  }

  area(offset: number): Area {
    const [x, y, width, height] = [0, 4, 8, 12].map((field) => this.u32(offset + field));
    return { x, y, width, height };
  }
}

/** An answer: its type, and what follows the header. */
interface Answer {
  readonly type: number;
  readonly content?: Uint8Array;
}

const OK: Answer = { type: RESPONSE.OK };

export interface VirtioGpuOptions {
  readonly id: string;
  /** PCI class code: a VGA, or a display that is none. */
  readonly classCode: number;
  /** Guest memory, for what is transferred. */
  readonly read: (from: Gpa, into: Uint8Array) => boolean;
}

export class VirtioGpu implements VirtioDevice, DisplayAdapter {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.GPU;
  readonly classCode: number;
  readonly features = FEATURE.EDID;
  readonly queueSizes = [64, 16];
  readonly configSize = CONFIG.SIZE;

  private port: VirtioPort | undefined;
  private readonly resources = new Resources();
  private scanout: { resource: number; area: Area } | null = null;
  private cursor = hidden(0);
  private width: number = PREFERRED.width;
  private height: number = PREFERRED.height;
  private events = 0;

  constructor(private readonly options: VirtioGpuOptions) {
    this.id = options.id;
    this.classCode = options.classCode;
  }

  connect(port: VirtioPort): void {
    this.port = port;
  }

  // ---- what the screen shows ----

  /** A driver has set up the scanout. */
  get active(): boolean {
    return this.scanout !== null;
  }

  picture(): Picture {
    const { scanout, width, height } = this;
    const resource = scanout && this.resources.get(scanout.resource);
    if (!resource) return { kind: 'blank', width, height };
    const { area } = scanout;
    const pitch = resource.width * 4;
    return {
      kind: 'linear',
      format: resource.format,
      width: area.width,
      height: area.height,
      pitch,
      start: area.y * pitch + area.x * 4,
      memory: resource.pixels,
    };
  }

  pointer(): CursorPicture | undefined {
    const { visible, x, y, hotX, hotY, shape, pixels } = this.cursor;
    if (!visible || !this.active) return undefined;
    // Where the picture is, by the specification; from outside, a pointer is where its hot spot is.
    return { x: x + hotX, y: y + hotY, width: CURSOR_SIZE, height: CURSOR_SIZE, hotX, hotY, shape, pixels };
  }

  prefer(width: number, height: number): void {
    const clamp = (size: number): number => Math.max(LEAST_SIDE, Math.min(MOST_SIDE, Math.trunc(size)));
    [this.width, this.height] = [clamp(width), clamp(height)];
    this.events |= EVENT_DISPLAY;
    this.port?.configChanged();
  }

  // ---- requests ----

  notified(index: number): void {
    const queue = this.port?.queue(index);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) queue?.push(chain, this.serve(index, chain));
    queue?.flush();
  }

  /** Returns how many bytes were written. */
  private serve(index: number, chain: DescriptorChain): number {
    const request = new Request(chain);
    const answer = index === QUEUE.CURSOR ? this.moveCursor(request) : this.control(request);
    const content = answer.content ?? new Uint8Array(0);
    const response = new Uint8Array(HEADER.SIZE + content.length);
    const view = new DataView(response.buffer);
    view.setUint32(HEADER.TYPE, answer.type, true);
    // §5.7.6.7: what was fenced is done, and says so.
    const flags = request.view.getUint32(HEADER.FLAGS, true) & FLAG_FENCE;
    view.setUint32(HEADER.FLAGS, flags, true);
    if (flags) {
      view.setBigUint64(HEADER.FENCE, request.view.getBigUint64(HEADER.FENCE, true), true);
      view.setUint32(HEADER.CONTEXT, request.view.getUint32(HEADER.CONTEXT, true), true);
    }
    response.set(content, HEADER.SIZE);
    const part = response.subarray(0, Math.min(response.length, chain.writeLength));
    chain.write(0, part);
    return part.length;
  }

  private control(request: Request): Answer {
    if (request.length < HEADER.SIZE) return { type: RESPONSE.UNSPECIFIED };
    switch (request.type) {
      case COMMAND.GET_DISPLAY_INFO:
        return { type: RESPONSE.DISPLAY_INFO, content: this.displayInfo() };
      case COMMAND.RESOURCE_CREATE_2D:
        return this.create(request);
      case COMMAND.SET_SCANOUT:
        return this.setScanout(request);
      case COMMAND.GET_EDID:
        return this.getEdid(request.u32(0));
      case COMMAND.RESOURCE_FLUSH:
        // The screen is drawn from pictures when somebody looks: there is nothing else to be done.
        return this.withResource(request.u32(16), (resource) =>
          within(request.area(0), resource) ? OK : { type: RESPONSE.INVALID_PARAMETER },
        );
      case COMMAND.TRANSFER_TO_HOST_2D:
        return this.withResource(request.u32(24), (resource) => this.transfer(request, resource));
      case COMMAND.RESOURCE_UNREF:
        return this.withResource(request.u32(0), (resource) => {
          this.resources.remove(resource);
          if (this.scanout?.resource === resource.id) this.scanout = null;
          return OK;
        });
      case COMMAND.ATTACH_BACKING:
        return this.withResource(request.u32(0), (resource) => this.attach(request, resource));
      case COMMAND.DETACH_BACKING:
        return this.withResource(request.u32(0), (resource) => {
          this.resources.attach(resource, []);
          return OK;
        });
      default:
        return { type: RESPONSE.UNSPECIFIED };
    }
  }

  private withResource(id: number, work: (resource: Resource) => Answer): Answer {
    const resource = this.resources.get(id);
    return resource ? work(resource) : { type: RESPONSE.INVALID_RESOURCE };
  }

  private displayInfo(): Uint8Array {
    const content = new Uint8Array(INFO.ENTRIES * INFO.ENTRY_SIZE);
    const view = new DataView(content.buffer);
    view.setUint32(8, this.width, true);
    view.setUint32(12, this.height, true);
    view.setUint32(INFO.ENABLED, 1, true);
    return content;
  }

  private getEdid(scanout: number): Answer {
    if (scanout !== 0) return { type: RESPONSE.INVALID_SCANOUT };
    const content = new Uint8Array(EDID.LENGTH);
    new DataView(content.buffer).setUint32(EDID.SIZE, EDID_SIZE, true);
    content.set(edid(this.width, this.height), EDID.DATA);
    return { type: RESPONSE.EDID, content };
  }

  private create(request: Request): Answer {
    const [id, format, width, height] = [0, 4, 8, 12].map((offset) => request.u32(offset));
    if (id === 0 || this.resources.get(id)) return { type: RESPONSE.INVALID_RESOURCE };
    if (!FORMATS.has(format) || !Resources.fits(width, height)) return { type: RESPONSE.INVALID_PARAMETER };
    return this.resources.create(id, format, width, height) ? OK : { type: RESPONSE.OUT_OF_MEMORY };
  }

  private setScanout(request: Request): Answer {
    const area = request.area(0);
    const [scanout, id] = [request.u32(16), request.u32(20)];
    if (scanout !== 0) return { type: RESPONSE.INVALID_SCANOUT };
    if (id === 0) {
      this.scanout = null;
      return OK;
    }
    return this.withResource(id, (resource) => {
      if (area.width < LEAST_SCANOUT || area.height < LEAST_SCANOUT || !within(area, resource))
        return { type: RESPONSE.INVALID_PARAMETER };
      this.scanout = { resource: id, area };
      return OK;
    });
  }

  private transfer(request: Request, resource: Resource): Answer {
    const area = request.area(0);
    if (!within(area, resource)) return { type: RESPONSE.INVALID_PARAMETER };
    const offset = request.u32(16) + request.u32(20) * 2 ** 32;
    fill(resource, area, offset, this.options.read);
    return OK;
  }

  private attach(request: Request, resource: Resource): Answer {
    const count = request.u32(4);
    const first = 8;
    if (count > MOST_ENTRIES || request.length < HEADER.SIZE + first + count * ENTRY_SIZE)
      return { type: RESPONSE.INVALID_PARAMETER };
    const pieces = Array.from({ length: count }, (_, i) => {
      const at = first + i * ENTRY_SIZE;
      return { address: request.u32(at) + (request.u32(at + 4) % 2 ** 20) * 2 ** 32, length: request.u32(at + 8) };
    });
    return this.resources.attach(resource, pieces) ? OK : { type: RESPONSE.OUT_OF_MEMORY };
  }

  /** §5.7.6.10: these have no answer but the header. */
  private moveCursor(request: Request): Answer {
    const [scanout, x, y, id, hotX, hotY] = [0, 4, 8, 16, 20, 24].map((offset) => request.u32(offset));
    if (scanout !== 0) return { type: RESPONSE.INVALID_SCANOUT };
    const { cursor } = this;
    if (request.type === COMMAND.MOVE_CURSOR) this.cursor = { ...cursor, x, y };
    else if (request.type !== COMMAND.UPDATE_CURSOR) return { type: RESPONSE.UNSPECIFIED };
    else if (id === 0) this.cursor = { ...hidden(cursor.shape + 1), x, y };
    else
      return this.withResource(id, (resource) => {
        if (resource.width !== CURSOR_SIZE || resource.height !== CURSOR_SIZE)
          return { type: RESPONSE.INVALID_PARAMETER };
        const pixels = toBgra(resource);
        const inside = (at: number): number => Math.min(at, CURSOR_SIZE - 1);
        const shape = (cursor.shape + 1) >>> 0;
        this.cursor = { visible: true, x, y, hotX: inside(hotX), hotY: inside(hotY), shape, pixels };
        return OK;
      });
    return OK;
  }

  // ---- configuration, reset and saved state ----

  readConfig(offset: number, size: number): number {
    const config = new Uint8Array(CONFIG.SIZE + 4);
    const view = new DataView(config.buffer);
    view.setUint32(CONFIG.EVENTS_READ, this.events, true);
    view.setUint32(CONFIG.SCANOUTS, 1, true);
    return offset + size <= config.length ? get(config, offset, size) : 0;
  }

  writeConfig(offset: number, size: number, value: number): void {
    if (offset === CONFIG.EVENTS_CLEAR && size === 4) this.events = (this.events & ~value) >>> 0;
  }

  reset(): void {
    this.resources.clear();
    this.scanout = null;
    this.cursor = hidden(this.cursor.shape + 1);
    this.events = 0;
  }

  /** Nothing is ever under way. */
  resume(): void {
    return;
  }

  save(): State {
    const { scanout, cursor, width, height, events } = this;
    return {
      resources: this.resources.save(),
      scanout: scanout && { resource: scanout.resource, area: { ...scanout.area } },
      cursor: { ...cursor, pixels: cursor.pixels.slice() },
      width,
      height,
      events,
    };
  }

  restore(state: State): void {
    this.resources.restore(state.resources);
    const { scanout } = state;
    const shown = scanout && this.resources.get(scanout.resource);
    if (scanout && (!shown || !within(scanout.area, shown))) throw new RangeError('a scanout of no picture');
    this.scanout = scanout && { resource: scanout.resource, area: { ...scanout.area } };
    this.cursor = { ...state.cursor, pixels: state.cursor.pixels.slice() };
    this.width = state.width;
    this.height = state.height;
    this.events = state.events;
  }
}

/** Where blue, green, red and alpha are among a pixel's bytes. */
const ORDER: Readonly<Record<string, readonly [number, number, number, number]>> = {
  bgrx: [0, 1, 2, 3],
  xrgb: [3, 2, 1, 0],
  rgbx: [2, 1, 0, 3],
  xbgr: [1, 2, 3, 0],
};

function toBgra({ pixels, format }: Resource): Uint8Array {
  const order = ORDER[format];
  const result = new Uint8Array(pixels.length);
  for (let at = 0; at < pixels.length; at += 4) order.forEach((from, to) => (result[at + to] = pixels[at + from]));
  return result;
}
