/** A machine as its monitor sees it, from another thread. */
import type { InputEvent } from '../../iface/input.js';
import type { ForwardConfig } from '../../iface/net-config.js';
import type { HotplugRequest } from '../hotplug.js';
import type { MediaRequest } from '../media.js';
import type { Inspection } from '../inspect.js';
import type { CpuLimits } from '../sched/settings.js';

/** 0 … POINTER_RANGE each way, and `BUTTON`s. */
export interface QmpPointer {
  x: number;
  y: number;
  buttons: number;
}

export interface VncPeer {
  readonly host: string;
  readonly port: number;
  readonly isWebSocket: boolean;
}

export interface VncState {
  readonly host: string;
  readonly port: number;
  readonly hasPassword: boolean;
  /** Those that have been let in. */
  readonly clients: readonly VncPeer[];
}

export interface MachineUsage {
  readonly pid: number;
  /** Undefined: it has not started yet. */
  readonly accel: string | undefined;
  /** CPUs, 0 before it has started; they may be on fewer threads. */
  readonly cpus: number;
  /** Bytes of RAM. */
  readonly memory: number;
  /** Nanoseconds since some time, when this was asked. */
  readonly now: number;
  /** By threads of CPUs. Nanoseconds of processor time, instructions, how often each was left; undefined: not known. */
  readonly threads: readonly {
    readonly time: number | undefined;
    readonly retired: bigint | undefined;
    readonly exits: number;
  }[];
  /** Nanoseconds of processor time of the whole process. */
  readonly processTime: number;
  readonly limits: CpuLimits;
}

export interface QmpMachine {
  /** What it is called, if it has a name. */
  readonly name?: string;
  isPaused(): boolean;
  inspect(): Promise<Inspection>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  press(button: 'reset' | 'power' | 'nmi'): Promise<void>;
  /** Writes the screen to a file. Throws a one-line error when that cannot be written. */
  screendump(file: string, format: 'ppm' | 'png'): Promise<void>;
  /** Presses keys (W3C KeyboardEvent codes) behind those of earlier calls, and releases them so many milliseconds later. */
  typeKeys(codes: readonly string[], holdTime: number): void;
  /** A user does something, now. */
  input(event: InputEvent): void;
  /** Where the pointer is and what is pressed on it, as clients have last said. */
  readonly pointer: QmpPointer;
  /** The VNC server and its clients; undefined: there is none. */
  vnc(): VncState | undefined;
  /** Bytes that the guest has; `target`: that it is to have. Throws a QmpError where there is no balloon. */
  balloon(target?: number): Promise<number>;
  /** Changes the medium in a drive. Throws a one-line error when that cannot be. */
  changeMedia(request: MediaRequest): Promise<void>;
  /** Adds something to the machine, or takes it away. Throws a one-line error when that cannot be. */
  plug(request: HotplugRequest): Promise<void>;
  /** A forwarded port as people write it. Throws a one-line error when it is none. */
  parseForward(text: string): ForwardConfig;
  /** What it does, and what it may have of the host's processors. */
  usage(): MachineUsage;
  /** Changes that. Throws a one-line error when it cannot be. */
  limit(limits: Partial<CpuLimits>): void;
  /** Ends it, like pulling the plug. */
  quit(): void;
}
