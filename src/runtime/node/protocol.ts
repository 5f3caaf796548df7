/** What passes between a machine's worker and the thread that owns the machine. */
import type { FrameNews } from '../../display/frame-news.js';
import type { MemoryLayers } from '../../host/node/layered-memory.js';
import type { AcceleratorName, KernelIrqchip } from './accelerator-names.js';
import type { CodeOfBranch } from './code-file.js';
import type { SeatData } from './cpu-turns.js';
import type { MachineConfig } from '../../vmm/config.js';
import type { TraceKind } from '../trace-kinds.js';
import type { SharingConfig } from '../../vmm/sharing-config.js';
import type { StreamMessage } from '../../vmm/stream-mux.js';
import type { MachineExit } from '../../vmm/machine.js';
import type { Answer, OutputChannel, QuickCommand } from '../common/commands.js';
import type { PortableError } from '../common/portable-error.js';

export type { Answer, BalloonStatus, Button, InputChannel, OutputChannel, PictureFormat } from '../common/commands.js';

/** How the worker comes by a machine. */
export type MachineStart =
  | { readonly kind: 'create'; readonly config: MachineConfig }
  | {
      readonly kind: 'resume';
      readonly file: string;
      readonly noReboot?: boolean;
      /** Also where the guest would miss features that it has seen. */
      readonly forceCpu?: boolean;
      /** The file is a template: saved as one, of a machine without a BIOS, and never changed. It is mapped instead of being read. */
      readonly template?: boolean;
    }
  | { readonly kind: 'branch'; readonly branch: Branch; readonly forceCpu?: boolean };

/**
 * What another machine of this process begins with that is as this one was at a moment. Descriptors of files of the process, which belong
 * to whoever has it.
 */
export interface Branch {
  /**
   * A snapshot without what follows.
   * @internal
   */
  readonly state: Uint8Array;
  /**
   * A file with what the machine boots: see `readBoot`.
   * @internal
   */
  readonly boot: number;
  /** @internal */
  readonly memory: MemoryLayers;
  /** @internal */
  readonly code: CodeOfBranch | undefined;
}

export interface WorkerData {
  readonly start: MachineStart;
  readonly options: WorkerOptions;
  /** Of SHARED, which are those of its seat. */
  readonly shared: Int32Array<SharedArrayBuffer>;
  /** Among the machines of the process. */
  readonly seat: SeatData;
  readonly version: string;
  /** It takes turns with others on its thread. */
  readonly together: boolean;
}

export interface WorkerOptions {
  /** Absent: the best that works, and its owner is told which that is. */
  readonly accel?: AcceleratorName;
  /** Who has the interrupt controllers on KVM; absent: as it is best for the machine. */
  readonly kernelIrqchip?: KernelIrqchip;
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
  /** Where in the same memory the word is that the machine's thread sleeps on instead, if it has several machines; else 0. `wakeThread` knows both. */
  ALSO: 1,
  /** Bytes of output that have left the process, modulo 2**32; what the worker waits for when too many have not. */
  WRITTEN: 2,
  /** Events of a user that the machine has taken, modulo 2**32. */
  INPUT_TAKEN: 3,
  /** The machine's thread, as the host numbers it, where it may wait in KVM_RUN, which takes a signal; otherwise 0. */
  THREAD: 4,
  SIZE: 5,
} as const;

export type Command =
  | QuickCommand
  | {
      readonly kind: 'save';
      readonly id: number;
      readonly file: string;
      readonly template: boolean;
      readonly momentary: boolean;
    }
  /** What another machine begins with that is to be as this one is now. `among`: machines that the process has. */
  | { readonly kind: 'branch'; readonly id: number; readonly among: number }
  /** The machine stands still, and its time with it. */
  | { readonly kind: 'pause' | 'resume'; readonly id: number }
  /** A debugger's connection is there, sends, or has gone. */
  | { readonly kind: 'gdb-open' }
  | { readonly kind: 'gdb-data'; readonly bytes: Uint8Array }
  | { readonly kind: 'gdb-close' }
  | { readonly kind: 'stop' };

/** `branch`: undefined where that cannot be had. */
export type WorkerAnswer = Answer | { readonly branch: Branch | undefined };

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

/** A port that closes when a thread ends: what is needed of one, so that programs that use this need none of Node's types. */
export interface LifePort {
  on(event: 'close', listener: () => void): unknown;
  start(): void;
  unref(): void;
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
      readonly life: LifePort;
      readonly words: SharedArrayBuffer;
    }
  /** The machine was reset and boots again. */
  | { readonly kind: 'reset' }
  /** A drive's tray has moved. */
  | { readonly kind: 'tray'; readonly disk: number; readonly open: boolean }
  /** A card that was plugged has gone. */
  | { readonly kind: 'card-removed'; readonly card: string }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: WorkerAnswer | PortableError }
  | { readonly kind: 'frame'; readonly news: FrameNews }
  /** For the debugger. */
  | { readonly kind: 'gdb-data'; readonly bytes: Uint8Array }
  /** The debugger wants nothing more. */
  | { readonly kind: 'gdb-end' }
  | { readonly kind: 'exit'; readonly exit: MachineExit }
  | { readonly kind: 'error'; readonly error: PortableError };
