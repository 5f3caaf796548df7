import { FINISHED, type FrameInfo, type NicOffloads } from '../iface/net.js';
import { OFFLOAD, type FrameRing } from './frame-ring.js';
import type { FrameSink } from './user/ip-output.js';

/** The network's end of the ring to the guest. */
export class RingSink implements FrameSink {
  private reserved: Uint8Array | undefined;
  private full = false;

  /** `observe` sees each frame that is sent. */
  constructor(
    private readonly ring: FrameRing,
    private readonly wake: () => void,
    private readonly observe: (frame: Uint8Array) => void,
  ) {}

  get offloads(): NicOffloads {
    const { offloads } = this.ring;
    return {
      checksum: (offloads & OFFLOAD.CHECKSUM) !== 0,
      tcp4: (offloads & OFFLOAD.TCP4) !== 0,
      tcp6: (offloads & OFFLOAD.TCP6) !== 0,
    };
  }

  reserve(length: number): Uint8Array | undefined {
    this.reserved = this.ring.reserve(length);
    if (!this.reserved) {
      this.ring.waitForRoom();
      // The reader may have made room just before it could know.
      this.reserved = this.ring.reserve(length);
      this.full ||= this.reserved === undefined;
    }
    return this.reserved;
  }

  commit(info: FrameInfo): void {
    if (this.reserved) this.observe(this.reserved);
    this.ring.commit(info);
    this.wake();
  }

  /** Sends a finished frame, or loses it. */
  sendWhole(frame: Uint8Array): void {
    this.sendCopy(frame, FINISHED);
  }

  /** Sends a frame. False: there is no room. */
  sendCopy(frame: Uint8Array, info: FrameInfo): boolean {
    const room = this.reserve(frame.length);
    if (!room) return false;
    room.set(frame);
    this.commit(info);
    return true;
  }

  /** Whether `reserve` gave nothing before, and may now. */
  hasRoomAgain(): boolean {
    if (!this.full || !this.ring.reserve(0x1_0000)) return false;
    this.full = false;
    return true;
  }
}
