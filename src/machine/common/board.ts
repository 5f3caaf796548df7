/** What every board is to whoever runs a machine, and what a board is connected to. */
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { Bus } from '../../bus/io-space.js';
import type { PciBus } from '../../bus/pci/pci-bus.js';
import type { Rtc } from '../../devices/legacy/rtc/rtc.js';
import type { Uart16550 } from '../../devices/legacy/uart/uart-16550.js';
import type { Vga } from '../../devices/legacy/vga/vga.js';
import type { VirtioBalloon } from '../../devices/virtio/balloon.js';
import type { VirtioConsole } from '../../devices/virtio/console.js';
import type { BootModule } from '../../firmware/loaders/request.js';
import type { BlockBackend } from '../../iface/block.js';
import type { GuestIo } from '../../iface/bus.js';
import type { Clock, Entropy } from '../../iface/clock.js';
import type { DisplayAdapter } from '../../iface/display.js';
import type { CharSink, MachineControl } from '../../iface/lines.js';
import type { Vcpu, Vm } from '../../iface/vcpu.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { DiskAttachment, DiskMedia, MediaDrive } from './disks.js';
import type { BoardCard, HotplugSlots } from './cards.js';
import type { BoardCpus } from './board-cpus.js';
import type { CpuThreads } from './cpu.js';
import type { InputHub } from './input-hub.js';
import type { BoardNic } from './nics.js';
import type { BoardSharing } from './sharing.js';

/** A kernel to boot, as the user gave it. */
export interface BootKernel {
  /** How messages call it. */
  readonly name: string;
  readonly data: Uint8Array;
  readonly commandLine: string;
  /** Linux takes one initrd, multiboot kernels any number of modules. */
  readonly modules: readonly BootModule[];
}

/** A BIOS image that runs in the guest. */
export interface BiosImage {
  /** How messages call it. */
  readonly name: string;
  readonly image: Uint8Array;
}

/** What starts a machine: a kernel, or a BIOS (which can be handed a Linux kernel). */
export interface BootSource {
  readonly bios?: BiosImage;
  readonly kernel?: BootKernel;
}

/** What starting a machine takes. */
export interface BootServices {
  readonly vm: Vm;
  readonly entropy: Entropy;
  readonly uuid: Uint8Array;
  readonly version: string;
  gunzip(data: Uint8Array): Uint8Array;
}

/** What an accelerator has to provide. */
export interface VmRequest {
  readonly cpus: number;
  readonly model: CpuModel;
  readonly cpuid: (index: number) => readonly CpuidEntry[];
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  /** RAM, ROM and display memory, in bytes. */
  readonly backingSize: number;
  /** Bytes of RAM besides, which only some accelerators can give; absent: none. */
  readonly farSize?: number;
}

export interface BoardDisk {
  /** Absent: a drive for CDs or floppies with nothing in it. */
  readonly backend: BlockBackend | undefined;
  /** Of the drive, whatever is in it. */
  readonly serial: string;
  /** The tray of a drive for CDs has moved. */
  readonly trayMoved?: (open: boolean) => void;
  readonly attach: DiskAttachment;
  readonly media: DiskMedia;
  /** Of a virtio disk, 1 … 16; absent: one. */
  readonly queues?: number;
}

/** What a board is connected to. */
export interface BoardConnections {
  readonly vm: Vm;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly control: MachineControl;
  /** COM1 and COM2. */
  readonly serial: readonly [CharSink, CharSink];
  /** isa-debugcon at ports 0xe9 and 0x402; what firmware has to say. */
  readonly debugConsole: CharSink;
  /** The virtio console's output. */
  readonly console: CharSink;
  /** In the order in which they are attached. */
  readonly disks: readonly BoardDisk[];
  /** Absent: nothing. */
  readonly sharing?: BoardSharing;
  /** Network cards; absent: none. */
  readonly nics?: readonly BoardNic[];
  /** Cards in the slots of `Board.hotplug`; absent: none. */
  readonly cards?: readonly BoardCard[];
  /** The guest has let go of one of them. Called in the middle of an access. */
  readonly cardEjected?: (id: string) => void;
  /** Absent: all CPUs run on the machine's thread. */
  readonly threads?: CpuThreads | undefined;
  /** Puts something between CPUs and bus, such as a trace. */
  readonly observe?: (io: GuestIo) => GuestIo;
}

/** What its user sees of a machine. */
export interface BoardDisplay {
  readonly vga?: Vga | undefined;
  readonly adapter?: DisplayAdapter | undefined;
}

/** What CPUs on other threads reach of a board. */
export interface CpuBus {
  /** The bus as CPUs see it. */
  readonly io: GuestIo;
  setFerr(asserted: boolean): void;
  /** INTA of the 8259. */
  acknowledgeExtInt(): number;
  /** Of a level-triggered interrupt: tells the I/O APIC. */
  endOfInterrupt(vector: number): void;
}

export interface Board extends CpuBus {
  readonly processors: BoardCpus;
  readonly bus: Bus;
  readonly cpus: readonly Vcpu[];
  readonly serial: readonly Uart16550[];
  readonly console: VirtioConsole;
  readonly balloon: VirtioBalloon | undefined;
  readonly rtc: Rtc;
  readonly display: BoardDisplay;
  readonly input: InputHub;
  /** Undefined: the board has no PCI. */
  readonly pci: PciBus | undefined;
  /** All parts but CPUs and memory, in the order in which they are restored. */
  readonly parts: readonly Snapshotable[];
  /** Absent: the board has no slots for cards that come while it runs. */
  readonly hotplug?: HotplugSlots;
  pressPowerButton(): void;
  /** The drive of a disk, if its medium can be changed; absent: the board has no such drives. */
  mediaDrive?(disk: number): MediaDrive | undefined;
  /** Lets devices go on with what was under way, after all of a machine was restored. */
  resumeDevices(): void;
}

/** Makes boards of one description: the same one anew after each reset. */
export interface BoardBuilder<Options> {
  readonly vmRequest: VmRequest;
  /** A new board as it is when power comes on, and what sets it off, which returns what is started, for people. */
  assemble(
    connections: BoardConnections,
    services: BootServices,
    options: Options,
  ): { readonly board: Board; readonly start: () => string };
}

/** Ticks of the time-stamp counter per second: a nanosecond each. */
export const DEFAULT_TSC_HZ = 1e9;
