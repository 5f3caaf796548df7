/** What passes between a machine's worker and the thread that owns the machine. */
import type { MessagePort } from 'node:worker_threads';
import type { FrameNews } from '../../display/frame-news.js';
import type { InputEvent } from '../../iface/input.js';
import type { AcceleratorName } from './accelerators.js';
import type { SeatData } from './cpu-turns.js';
import type { MachineConfig } from '../../vmm/config.js';
import type { Inspection } from '../../vmm/inspect.js';
import type { MediaRequest } from '../../vmm/media.js';
import type { TraceKind } from '../trace.js';
import type { BalloonStatistic } from '../../devices/virtio/balloon.js';
import type { SharingConfig } from '../../vmm/sharing-config.js';
import type { StreamMessage } from '../../vmm/stream-mux.js';
import type { MachineExit } from '../../vmm/machine.js';

/** Character devices by what they are for. */
export type OutputChannel = 'serial' | 'serial2' | 'console' | 'debug';
export type InputChannel = 'serial' | 'console';

/** How the worker comes by a machine. */
export type MachineStart =
  | { readonly kind: 'create'; readonly config: MachineConfig }
  | {
      readonly kind: 'resume';
      readonly file: string;
      readonly noReboot?: boolean;
      /** Also where the guest would miss features that it has seen. */
      readonly forceCpu?: boolean;
    };

export interface WorkerData {
  readonly start: MachineStart;
  readonly options: WorkerOptions;
  /** Of SHARED, which are those of its seat. */
  readonly shared: Int32Array<SharedArrayBuffer>;
  /** Among the machines of the process. */
  readonly seat: SeatData;
  readonly version: string;
}

export interface WorkerOptions {
  /** Absent: the best that works, and its owner is told which that is. */
  readonly accel?: AcceleratorName;
  /** Input for COM1 waits until the guest listens: for input from a pipe, which is there from the first moment. */
  readonly holdInput?: boolean;
  /** The machine waits for a debugger before its first instruction. */
  readonly startStopped?: boolean;
  /** At the end the owner is told what was done and how. */
  readonly stats?: boolean;
  /** What is written down of what the guest does, and where. */
  readonly trace?: { readonly kinds: readonly TraceKind[]; readonly file: string };
}

/** 32-bit words that a machine and its owner share. */
export const SHARED = {
  /** Not 0 when commands wait; what the worker sleeps on. The first one: whoever gives it a processor wakes it, too. */
  WAKE: 0,
  /** Bytes of output that have left the process, modulo 2**32; what the worker waits for when too many have not. */
  WRITTEN: 1,
  /** Events of a user that the machine has taken, modulo 2**32. */
  INPUT_TAKEN: 2,
  SIZE: 3,
} as const;

/** How a picture of the screen is written. */
export type PictureFormat = 'png' | 'ppm';

export type Button = 'reset' | 'power' | 'nmi';

export type Command =
  | { readonly kind: 'input'; readonly channel: InputChannel; readonly bytes: Uint8Array }
  | { readonly kind: 'resize'; readonly columns: number; readonly rows: number }
  | { readonly kind: 'save'; readonly id: number; readonly file: string }
  | { readonly kind: 'screen'; readonly id: number }
  | { readonly kind: 'inspect'; readonly id: number }
  | { readonly kind: 'media'; readonly id: number; readonly request: MediaRequest }
  | { readonly kind: 'press'; readonly id: number; readonly button: Button }
  /** The machine stands still, and its time with it. */
  | { readonly kind: 'pause' | 'resume'; readonly id: number }
  /** The screen as PNG. */
  | { readonly kind: 'screenshot'; readonly id: number; readonly format: PictureFormat }
  /** What a user does; counted in INPUT_TAKEN. */
  | { readonly kind: 'user-input'; readonly event: InputEvent }
  /** The size, in pixels, that the guest shall show. */
  | { readonly kind: 'prefer-size'; readonly width: number; readonly height: number }
  /** Bring the shared frame up to date, and answer by a `frame`. */
  | { readonly kind: 'frame' }
  /** A debugger's connection is there, sends, or has gone. */
  | { readonly kind: 'gdb-open' }
  | { readonly kind: 'gdb-data'; readonly bytes: Uint8Array }
  | { readonly kind: 'gdb-close' }
  /** Of a stream to a socket of the host. */
  | { readonly kind: 'stream'; readonly message: StreamMessage }
  /** `target`: bytes that are to be left to the guest. */
  | { readonly kind: 'balloon'; readonly id: number; readonly target: number | undefined }
  | { readonly kind: 'stop' };

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

/** An error on its way between threads, which keeps only what it says. */
export interface PortableError {
  readonly message: string;
  /** For the user to act on, as a `VitrineError`; else a bug. */
  readonly expected: boolean;
  readonly stack: string;
}

/** What a machine turned out to be. */
export interface MachineFacts {
  readonly accel: AcceleratorName;
  readonly cpus: number;
  /** That the CPUs are on. */
  readonly threads: number;
  /** Bytes of RAM. */
  readonly memory: number;
  /** The display can tell the guest what size to show. */
  readonly resizable: boolean;
  /** Of the machine's description. */
  readonly note: string | undefined;
}

export type Event =
  | { readonly kind: 'started'; readonly facts: MachineFacts }
  | { readonly kind: 'output'; readonly channel: OutputChannel; readonly bytes: Uint8Array }
  /** Bytes of input that the guest has taken. */
  | { readonly kind: 'taken'; readonly count: number }
  | { readonly kind: 'report'; readonly text: string }
  /** What the machine shares with sockets of the host. */
  | { readonly kind: 'sharing'; readonly config: SharingConfig }
  | { readonly kind: 'stream'; readonly message: StreamMessage }
  /** The thread of a CPU has begun, which closes the port when it ends. `words`: of SmpWords. */
  | {
      readonly kind: 'cpu-thread';
      readonly index: number;
      readonly life: MessagePort;
      readonly words: SharedArrayBuffer;
    }
  /** The machine was reset and boots again. */
  | { readonly kind: 'reset' }
  /** A drive's tray has moved. */
  | { readonly kind: 'tray'; readonly disk: number; readonly open: boolean }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer | PortableError }
  | { readonly kind: 'frame'; readonly news: FrameNews }
  /** For the debugger. */
  | { readonly kind: 'gdb-data'; readonly bytes: Uint8Array }
  /** The debugger wants nothing more. */
  | { readonly kind: 'gdb-end' }
  | { readonly kind: 'exit'; readonly exit: MachineExit }
  | { readonly kind: 'error'; readonly error: PortableError };
