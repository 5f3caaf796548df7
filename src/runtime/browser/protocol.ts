/** What passes between the threads of a machine in a page. */
import type { InterpImage } from '../../accel/interp/image.js';
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { ImageFormat } from '../../block/open.js';
import type { MachineConfig } from '../../vmm/config.js';
import type { MachineExit } from '../../vmm/machine.js';
import type { SharingConfig } from '../../vmm/sharing-config.js';
import type { StreamMessage } from '../../vmm/stream-mux.js';
import type { Rectangle } from '../../display/rectangle.js';
import type { CursorPicture } from '../../iface/display.js';
import type { Answer, OutputChannel, QuickCommand } from '../common/commands.js';
import type { PortableError } from '../common/portable-error.js';
import type { RelayAddress } from './net-protocol.js';

export const ACCELERATORS = ['interp', 'wasm'] as const;
/** What runs the guest. */
export type AcceleratorName = (typeof ACCELERATORS)[number];

/** How the worker comes by a machine. */
export type MachineStart =
  | { readonly kind: 'create'; readonly config: MachineConfig }
  | { readonly kind: 'resume'; readonly name: string; readonly file: Blob };

/** An image in the page's storage that is made when there is none of its name: qcow2. */
export interface NewImage {
  readonly name: string;
  /** Bytes of the disk, whole sectors; absent: as many as the base has. */
  readonly size?: number | undefined;
  /** What it begins as: a file of the page's storage, one that was chosen, or an address. It is not written to. */
  readonly base?: string | undefined;
  /** Of the base; absent: what it looks like. */
  readonly format?: ImageFormat | undefined;
}

/**
 * Where the images of disks come from. A disk's `path` is an address (http:, https:), the name of a chosen file, or else that of a file in the page's
 * storage. What is written to the first two is thrown away with the machine.
 */
export interface DiskSources {
  /** Files that the user chose, by what disks call them. */
  readonly files?: Readonly<Record<string, Blob>>;
  readonly images?: readonly NewImage[];
}

/** What a machine is given by its page. */
export interface PageParts extends DiskSources {
  /** Where all networks of the machine are; absent: what `fetch` reaches. */
  readonly relay?: RelayAddress | undefined;
}

/** Memory that a machine and its owner share, where the page may have such. */
export interface SharedParts {
  /** Of SHARED. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** A MessageRing of Commands. */
  readonly commands: SharedArrayBuffer;
}

/** May come ahead of the first message: what a machine will need is loaded meanwhile. */
export interface WorkerWarm {
  readonly warm: { readonly accel: AcceleratorName; readonly cpus: number; readonly threads: boolean };
}

/** The first message to the worker of a machine. */
export interface WorkerStart {
  readonly start: MachineStart;
  readonly parts: PageParts;
  readonly accel: AcceleratorName;
  readonly version: string;
  /** Of the time that all threads have, milliseconds since 1970. */
  readonly epoch: number;
  /** Absent: Commands are further messages, for which the machine comes back to its event loop. */
  readonly shared: SharedParts | undefined;
}

/** 32-bit words. */
export const SHARED = {
  /** Not 0 when commands wait; what the worker sleeps on. */
  WAKE: 0,
  /** Bytes of output that the owner has done with, modulo 2**32. */
  WRITTEN: 1,
  /** Events of a user that the machine has taken, modulo 2**32. */
  INPUT_TAKEN: 2,
  SIZE: 3,
} as const;

export type Command =
  | Extract<
      QuickCommand,
      { kind: 'input' | 'resize' | 'press' | 'user-input' | 'prefer-size' | 'frame' | 'screen' | 'stream' }
    >
  /** Into OPFS, by a name there. */
  | { readonly kind: 'save'; readonly id: number; readonly name: string }
  | { readonly kind: 'pause' | 'resume'; readonly id: number }
  | { readonly kind: 'stop' };

/** A part of the screen that has changed: red, green, blue and 255 for each pixel, by rows. */
export interface FramePart extends Rectangle {
  readonly pixels: Uint8ClampedArray<ArrayBuffer>;
}

/** A pointer that the guest wants to be shown where the user's is. */
export interface PointerPicture extends Pick<CursorPicture, 'width' | 'height' | 'hotX' | 'hotY'> {
  /** Red, green, blue and alpha for each pixel, by rows. */
  readonly pixels: Uint8ClampedArray<ArrayBuffer>;
}

/** What has changed on the screen. */
export interface Frame {
  /** Of the whole screen, pixels. */
  readonly width: number;
  readonly height: number;
  readonly parts: readonly FramePart[];
  /** `none`: the adapter has none; if the guest shows one, it is in the picture. */
  readonly pointer: PointerPicture | 'same' | 'hidden' | 'none';
}

/** What a machine turned out to be. */
export interface MachineFacts {
  readonly accel: AcceleratorName;
  readonly cpus: number;
  /** That the CPUs are on. */
  readonly threads: number;
  /** Bytes of RAM. */
  readonly memory: number;
  /** The guest can be told what size its screen shall have. */
  readonly resizable: boolean;
  /** Of its configuration. */
  readonly note: string | undefined;
}

export type Event =
  | { readonly kind: 'started'; readonly facts: MachineFacts }
  | { readonly kind: 'output'; readonly channel: OutputChannel; readonly bytes: Uint8Array }
  /** Bytes of input that the guest has taken. */
  | { readonly kind: 'taken'; readonly count: number }
  /** So many events of the user have been taken; where no word tells it. */
  | { readonly kind: 'input-taken' }
  | { readonly kind: 'report'; readonly text: string }
  | { readonly kind: 'reset' }
  /** The thread of a CPU, whose end the machine's owner shall tell by `SmpWords.lose`: the machine's own looks at no events. */
  | { readonly kind: 'cpu-thread'; readonly index: number; readonly life: string; readonly words: SharedArrayBuffer }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer | PortableError }
  | { readonly kind: 'frame'; readonly frame: Frame }
  | { readonly kind: 'stream'; readonly message: StreamMessage }
  /** What it shares with its owner. */
  | { readonly kind: 'sharing'; readonly config: SharingConfig }
  | { readonly kind: 'exit'; readonly exit: MachineExit }
  | { readonly kind: 'error'; readonly error: PortableError };

/** What the build made, loaded and compiled once for all threads. */
export interface Built {
  readonly image: InterpImage;
  /** The variant of each handler, as a file; for the translator. */
  readonly variants: Uint8Array | undefined;
}

/** The first message to the thread of a CPU, which answers by `ready`. */
export interface CpuPrepare {
  readonly built: Built;
  readonly cpus: number;
  readonly epoch: number;
  /** The lock by which others see that it lives. */
  readonly life: string;
}

/** The second one: it answers by nothing but what it does. */
export interface CpuGo {
  readonly index: number;
  readonly cpus: number;
  /** Name of the CPU model. */
  readonly model: string;
  readonly tscHz: number;
  readonly backingSize: number;
  /** The CPU's. */
  readonly cpuid: readonly CpuidEntry[];
  /** `Vm.share` of the machine's. */
  readonly memory: WebAssembly.Memory;
  /** Of `SmpWords`. */
  readonly words: SharedArrayBuffer;
  /** What the threads of CPUs sleep on, by their indices. */
  readonly wakes: Int32Array<SharedArrayBuffer>;
  /** What the machine's thread sleeps on. */
  readonly wake: Int32Array<SharedArrayBuffer>;
  /** MessageRings: CpuCommands come in, CpuMessages go out. */
  readonly commands: SharedArrayBuffer;
  readonly messages: SharedArrayBuffer;
}

/** The first message to a thread that translates, which answers by `ready`; PortableRequests follow. */
export interface TranslationStart {
  readonly variants: Uint8Array;
  /** A MessageRing for what comes of them. */
  readonly answers: SharedArrayBuffer;
  /** The code is for any CPU of the machine. */
  readonly anyCpu: boolean;
}

export const READY = 'ready';
