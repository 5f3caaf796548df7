import type { Snapshotable } from '../snapshot/snapshotable.js';

/** `gso`: what segmentation a frame still needs; the values of VIRTIO 1.2 §5.1.6. */
export const GSO = { NONE: 0, TCP4: 1, TCP6: 4 } as const;
export type Gso = (typeof GSO)[keyof typeof GSO];

/**
 * What the sender of a frame left to whoever passes it on. Data of the moment: read it before the call returns.
 */
export interface FrameInfo {
  /**
   * The checksum from `checksumStart` to the end of the frame is still to be put at `checksumStart + checksumOffset`, where
   * the sum of the pseudo-header stands. 0: nothing is left to do. Bytes from the start of the frame.
   */
  readonly checksumStart: number;
  readonly checksumOffset: number;
  /** A TCP segment that is longer than a packet may be; then its checksum is left to do, too. */
  readonly gso: Gso;
  /** Bytes of payload in each packet that such a segment becomes. */
  readonly segmentSize: number;
}

/** A frame that is finished. */
export const FINISHED: FrameInfo = { checksumStart: 0, checksumOffset: 0, gso: GSO.NONE, segmentSize: 0 };

/** The longest frame there is, with a TCP segment that is still to be cut: an Ethernet header, a VLAN tag, and an IP packet. */
export const MAX_FRAME = 14 + 4 + 65535;
/** An Ethernet header. */
export const MIN_FRAME = 14;

/** What a network card takes without help. */
export interface NicOffloads {
  /** Frames whose checksum is left to do. */
  readonly checksum: boolean;
  /** Frames of `gso` TCP4 and TCP6. */
  readonly tcp4: boolean;
  readonly tcp6: boolean;
}

/** A network card as its back end sees it. All calls are made on the machine's thread. */
export interface Nic {
  readonly offloads: NicOffloads;
  /** A frame from the network. False: no room; `receiveReady` follows when there is some. */
  receive(frame: Uint8Array, info: FrameInfo): boolean;
  /** The last of a batch has been received: the guest may be told. */
  received(): void;
  /** `reserve`, which gave nothing before, may be tried again. */
  sendReady(): void;
  /** The guest's CPUs have nothing to do: what was kept back goes out. True: the guest was told something. */
  settle(): boolean;
  /** A cable was plugged in or pulled out. */
  linkChanged(up: boolean): void;
}

/** What a network card is connected to. Outlives the card when the machine is reset. */
export interface NetBackend extends Snapshotable {
  /** Whether there is a network at the other end. */
  readonly linkUp: boolean;
  /** Takes the place of the card that was connected before. */
  connect(nic: Nic): void;
  /** Room for a frame that the card then fills and commits; undefined: none now, `sendReady` follows. At most MAX_FRAME. */
  reserve(length: number): Uint8Array | undefined;
  commit(info: FrameInfo): void;
  /** The last of a batch has been committed. */
  flush(): void;
  /** The card has room again, or takes other frames than before. */
  receiveReady(): void;
}
