/** What the owner of a machine asks of it while it runs, whatever carries the question. */
import type { BalloonStatistic } from '../../devices/virtio/balloon.js';
import type { InputEvent } from '../../iface/input.js';
import type { HotplugRequest } from '../../vmm/hotplug.js';
import type { Inspection } from '../../vmm/inspect.js';
import type { MediaRequest } from '../../vmm/media.js';
import type { StreamMessage } from '../../vmm/stream-mux.js';

/** Character devices by what they are for. */
export type OutputChannel = 'serial' | 'serial2' | 'console' | 'debug';
/** Where bytes for the guest go: its first serial port, or its console. */
export type InputChannel = 'serial' | 'console';

/** How a picture of the screen is written. */
export type PictureFormat = 'png' | 'ppm';

/** A button of the machine: reset and power, and the one that makes a non-maskable interrupt. */
export type Button = 'reset' | 'power' | 'nmi';

/** What needs no machine that stands still. */
export type QuickCommand =
  | { readonly kind: 'input'; readonly channel: InputChannel; readonly bytes: Uint8Array }
  | { readonly kind: 'resize'; readonly columns: number; readonly rows: number }
  | { readonly kind: 'screen'; readonly id: number }
  | { readonly kind: 'inspect'; readonly id: number }
  | { readonly kind: 'media'; readonly id: number; readonly request: MediaRequest }
  | { readonly kind: 'plug'; readonly id: number; readonly request: HotplugRequest }
  | { readonly kind: 'press'; readonly id: number; readonly button: Button }
  /** The screen as a picture. */
  | { readonly kind: 'screenshot'; readonly id: number; readonly format: PictureFormat }
  /** What a user does; counted. */
  | { readonly kind: 'user-input'; readonly event: InputEvent }
  /** The size, in pixels, that the guest shall show. */
  | { readonly kind: 'prefer-size'; readonly width: number; readonly height: number }
  /** Tell what has changed on the screen since the last time. */
  | { readonly kind: 'frame' }
  /** Of a stream to a socket of the host. */
  | { readonly kind: 'stream'; readonly message: StreamMessage }
  /** `target`: bytes that are to be left to the guest. */
  | { readonly kind: 'balloon'; readonly id: number; readonly target: number | undefined };

export type Answer =
  | { readonly saved: string }
  | { readonly screen: readonly string[] }
  | { readonly inspection: Inspection }
  | { readonly screenshot: Uint8Array }
  | { readonly balloon: BalloonStatus }
  | { readonly done: true };

/** What the guest has of its memory. Bytes. */
export interface BalloonStatus {
  /** What is to be left to it, and what is left to it. */
  readonly target: number;
  readonly left: number;
  /** What it told of itself last, as far as it knows: counts, or bytes. */
  readonly statistics: Readonly<Partial<Record<BalloonStatistic, bigint>>>;
}
