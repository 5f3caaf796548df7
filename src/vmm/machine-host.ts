import type { BlockBackend } from '../iface/block.js';
import type { GuestIo } from '../iface/bus.js';
import type { Entropy } from '../iface/clock.js';
import type { CharSink } from '../iface/lines.js';
import type { Vm } from '../iface/vcpu.js';
import type { VmRequest } from '../machine/common/board.js';
import type { Disassemble } from '../machine/common/describe-cpu.js';
import type { DiskConfig } from './config.js';
import type { TimeSource } from './machine-clock.js';
import type { NetHost } from './net-config.js';
import type { MachineTurn } from './run-loop.js';
import type { SharingHost } from './sharing-config.js';
import type { ThreadHost } from './smp/cpu-threads.js';

/** What a machine is given by whoever hosts it. */
export interface MachineHost {
  /** Version of the product, for firmware tables and snapshots. */
  readonly version: string;
  readonly time: TimeSource;
  readonly entropy: Entropy;
  /** COM1 and COM2. */
  readonly serial: readonly [CharSink, CharSink];
  /** isa-debugcon. */
  readonly debugConsole: CharSink;
  /** The virtio console. */
  readonly console: CharSink;
  /** Whether input for COM1 waits until the guest has switched on the receiver's interrupt. */
  readonly holdInput?: boolean;
  /** Ticks per second of the time-stamp counters of new machines, where the accelerator has no choice. */
  readonly tscHz?: number;
  /** Whether the accelerator counts instructions, which virtual time is made of. Default true. */
  readonly countsInstructions?: boolean;
  /** Memory and CPUs on an accelerator. Throws a one-line error when it cannot give that much. */
  createVm(request: VmRequest): Vm;
  /** `mayDiffer`: runs of the machine need not be alike, so requests may be answered whenever the host has done them. */
  openDisk(disk: DiskConfig, mayDiffer: boolean): BlockBackend;
  /** The same file by a name that is good in any folder; absent: names are that already. */
  locate?(path: string): string;
  gunzip(data: Uint8Array): Uint8Array;
  /** Takes what has arrived from outside. Called between slices; must be cheap. */
  poll(): void;
  /** Sleeps until something arrives from outside, at most that long. */
  sleep(nanoseconds: number | undefined): void;
  /** Passes on what waits until the CPUs sleep. True: there is more of it. Absent: nothing does. */
  settle?(): boolean;
  /** Something that its owner may want to know, as one line or more. */
  report(text: string): void;
  /** The machine was reset and boots again. */
  wasReset?(): void;
  /** The tray of a drive for CDs has moved, by the guest or by `changeMedia`. */
  trayMoved?(disk: number, open: boolean): void;
  /** A card that was plugged while the machine runs has gone: the guest has let go of it. */
  cardRemoved?(id: string): void;
  /** Puts something between CPUs and bus, such as a trace. */
  readonly observe?: (io: GuestIo) => GuestIo;
  /** For descriptions of a CPU that crashed. */
  readonly disassemble?: Disassemble;
  /** Absent: the machine's thread may always run. */
  readonly turn?: MachineTurn;
  /** Absent: all CPUs take turns on the machine's thread. */
  readonly threads?: ThreadHost | undefined;
  /** Absent: nothing of the host can be shared. */
  readonly sharing?: SharingHost;
  /** Absent: there are no networks. */
  readonly networks?: NetHost;
}
