import { GSO, type FrameInfo, type NicOffloads } from '../../../iface/net.js';
import { TapDevice, TUN_OFFLOAD, VNET_HEADER, watchTap } from '../native/tun.js';

/** Frames that are read before others get their turn, and the longest there is. */
const BATCH = 64;
const LONGEST = 65_553;

/** virtio_net_hdr as the kernel has it: VIRTIO 1.2 §5.1.6, little-endian. Offsets. */
const HEADER = { FLAGS: 0, TYPE: 1, LENGTH: 2, SEGMENT: 4, START: 6, OFFSET: 8 } as const;
const NEEDS_CHECKSUM = 1;
/** Added to the type of segmentation for explicit congestion notification. */
const ECN = 0x80;

export interface TapEvents {
  /** A frame, valid during the call. False: there is no room; `room` is called when there is. */
  frame(frame: Uint8Array, info: FrameInfo): boolean;
  /** What the card takes now. */
  offloads(): NicOffloads;
}

/** A tap interface of the host as a network: the kernel does what is left undone of a frame, and leaves undone what the card takes. */
export class Tap {
  private readonly input = new Uint8Array(VNET_HEADER + LONGEST);
  private readonly inputView = new DataView(this.input.buffer);
  private readonly output = new Uint8Array(VNET_HEADER + LONGEST);
  private readonly outputView = new DataView(this.output.buffer);
  private readonly watch: { pause: () => void; resume: () => void };
  /** Bytes of a frame in `input` that there was no room for. */
  private waiting = 0;

  private constructor(
    private readonly device: TapDevice,
    private readonly events: TapEvents,
  ) {
    this.takeOffloads();
    this.watch = watchTap(device, () => this.read());
  }

  /** Throws a one-line error when the interface cannot be had. */
  static open(name: string, events: TapEvents): Tap {
    return new Tap(TapDevice.open(name), events);
  }

  /** As the kernel calls it. */
  get name(): string {
    return this.device.name;
  }

  /** The kernel leaves undone what the card takes. */
  private takeOffloads(): void {
    const { checksum, tcp4, tcp6 } = this.events.offloads();
    const { CHECKSUM, TCP4, TCP6 } = TUN_OFFLOAD;
    this.device.setOffloads(checksum ? CHECKSUM | (tcp4 ? TCP4 : 0) | (tcp6 ? TCP6 : 0) : 0);
  }

  private read(): void {
    this.takeOffloads();
    for (let i = 0; i < BATCH; i++) {
      const length = this.device.read(this.input);
      if (length === 0) return;
      if (length > VNET_HEADER && !this.deliver(length)) {
        this.waiting = length;
        this.watch.pause();
        return;
      }
    }
  }

  private deliver(length: number): boolean {
    const { input, inputView: view } = this;
    const checksum = (input[HEADER.FLAGS] & NEEDS_CHECKSUM) !== 0;
    const type = input[HEADER.TYPE] & ~ECN;
    const gso = type === GSO.TCP4 || type === GSO.TCP6 ? type : GSO.NONE;
    return this.events.frame(input.subarray(VNET_HEADER, length), {
      checksumStart: checksum ? view.getUint16(HEADER.START, true) : 0,
      checksumOffset: checksum ? view.getUint16(HEADER.OFFSET, true) : 0,
      gso,
      segmentSize: gso === GSO.NONE ? 0 : view.getUint16(HEADER.SEGMENT, true),
    });
  }

  /** There is room for frames again. */
  room(): void {
    if (this.waiting === 0 || !this.deliver(this.waiting)) return;
    this.waiting = 0;
    this.watch.resume();
    this.read();
  }

  /** Gives a frame to the host. What it cannot take is lost, as on a wire. */
  send(frame: Uint8Array, info: FrameInfo): void {
    const { output, outputView: view } = this;
    if (frame.length > LONGEST) return;
    output.fill(0, 0, VNET_HEADER);
    if (info.checksumStart > 0) {
      output[HEADER.FLAGS] = NEEDS_CHECKSUM;
      view.setUint16(HEADER.START, info.checksumStart, true);
      view.setUint16(HEADER.OFFSET, info.checksumOffset, true);
    }
    if (info.gso !== GSO.NONE) {
      output[HEADER.TYPE] = info.gso;
      view.setUint16(HEADER.SEGMENT, info.segmentSize, true);
      const header = info.checksumStart + (frame[info.checksumStart + 12] >> 4) * 4;
      view.setUint16(HEADER.LENGTH, header, true);
    }
    output.set(frame, VNET_HEADER);
    this.device.write(output, VNET_HEADER + frame.length);
  }
}
