/** What passes between the threads of a machine in a page. */
import type { InterpImage } from '../../accel/interp/image.js';
import type { MachineConfig } from '../../vmm/config.js';
import type { MachineExit } from '../../vmm/machine.js';
import type { Rectangle } from '../../display/rectangle.js';
import type { Answer, OutputChannel, PortableError, QuickCommand } from '../common/commands.js';

export const ACCELERATORS = ['interp', 'wasm'] as const;
export type AcceleratorName = (typeof ACCELERATORS)[number];

/** How the worker comes by a machine. */
export type MachineStart =
  | { readonly kind: 'create'; readonly config: MachineConfig }
  | { readonly kind: 'resume'; readonly name: string; readonly file: Blob };

/** Memory that a machine and its owner share, where the page may have such. */
export interface SharedParts {
  /** Of SHARED. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** A MessageRing of Commands. */
  readonly commands: SharedArrayBuffer;
}

/** The first message to the worker of a machine. */
export interface WorkerStart {
  readonly start: MachineStart;
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
  | Extract<QuickCommand, { kind: 'input' | 'resize' | 'press' | 'user-input' | 'prefer-size' | 'frame' | 'screen' }>
  /** Into OPFS, by a name there. */
  | { readonly kind: 'save'; readonly id: number; readonly name: string }
  | { readonly kind: 'pause' | 'resume'; readonly id: number }
  | { readonly kind: 'stop' };

/** A part of the screen that has changed: red, green, blue and 255 for each pixel, by rows. */
export interface FramePart extends Rectangle {
  readonly pixels: Uint8ClampedArray<ArrayBuffer>;
}

export interface Frame {
  /** Of the whole screen, pixels. */
  readonly width: number;
  readonly height: number;
  readonly parts: readonly FramePart[];
}

/** What a machine turned out to be. */
export interface MachineFacts {
  readonly accel: AcceleratorName;
  readonly cpus: number;
  /** That the CPUs are on. */
  readonly threads: number;
  /** Bytes of RAM. */
  readonly memory: number;
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
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer | PortableError }
  | { readonly kind: 'frame'; readonly frame: Frame }
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
}

/** The second one: it answers by nothing but what it does. */
export interface CpuGo {
  readonly index: number;
  readonly cpus: number;
  /** Name of the CPU model. */
  readonly model: string;
  readonly tscHz: number;
  readonly backingSize: number;
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
