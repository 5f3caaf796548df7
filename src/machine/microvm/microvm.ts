/**
 * A board for fast starts: virtio devices over MMIO, a serial port, a clock chip and APICs; no firmware, no PCI, no 8259s and no
 * 8254.
 */
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { UsageError } from '../../base/errors.js';
import { GIB, gpa } from '../../base/units.js';
import { SharedLine } from '../../bus/interrupts.js';
import { Bus } from '../../bus/io-space.js';
import { GED_SIZE, GenericEventDevice } from '../../devices/acpi/generic-event.js';
import { ApicBus } from '../../devices/apic/apic-bus.js';
import { IO_APIC_PINS } from '../../devices/apic/io-apic-state.js';
import { IO_APIC_BASE, IO_APIC_SIZE, IoApic } from '../../devices/apic/io-apic.js';
import { DebugConsole, DebugExit } from '../../devices/legacy/debug-ports.js';
import { ResetControl } from '../../devices/legacy/reset-ports.js';
import { Rtc } from '../../devices/legacy/rtc/rtc.js';
import { Uart16550 } from '../../devices/legacy/uart/uart-16550.js';
import { VirtioBalloon } from '../../devices/virtio/balloon.js';
import { VirtioBlock } from '../../devices/virtio/block.js';
import { VirtioConsole } from '../../devices/virtio/console.js';
import { VirtioEntropy } from '../../devices/virtio/entropy.js';
import { VirtioGpu } from '../../devices/virtio/gpu/gpu.js';
import { VirtioKeyboard, VirtioTablet } from '../../devices/virtio/input/input.js';
import { splitRam } from '../../firmware/memory-map.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import type { GuestIo } from '../../iface/bus.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Vcpu } from '../../iface/vcpu.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { Board, BoardConnections, BoardDisk, BoardDisplay } from '../common/board.js';
import { fixedDisk } from '../common/disks.js';
import { BoardCpus } from '../common/board-cpus.js';
import { InputHub } from '../common/input-hub.js';
import { BoardMemoryTaker } from '../common/memory-taker.js';
import { attachNics } from '../common/nics.js';
import { attachSharing } from '../common/sharing.js';
import { MICROVM } from './layout.js';
import { MmioSlots } from './mmio-slots.js';

export interface MicroVmOptions {
  readonly model: CpuModel;
  /** Virtual CPUs. */
  readonly cpus: number;
  /** RAM in bytes, a multiple of 4 KiB. */
  readonly ramSize: number;
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  /** Adds isa-debug-exit at port 0xf4. */
  readonly debugExit: boolean;
  /** A virtio GPU. */
  readonly gpu: boolean;
  /** A keyboard and a tablet of virtio. */
  readonly input: boolean;
}

/** A display controller that is not a VGA. */
const DISPLAY_CLASS = 0x03_8000;

export class MicroVm implements Board {
  readonly bus = new Bus();
  readonly cpus: readonly Vcpu[];
  readonly serial: readonly Uart16550[];
  readonly pci = undefined;
  readonly rtc: Rtc;
  readonly display: BoardDisplay;
  readonly input: InputHub;
  readonly console: VirtioConsole;
  readonly balloon: VirtioBalloon | undefined;
  readonly slots: MmioSlots;
  readonly parts: readonly Snapshotable[];
  readonly io: GuestIo;
  readonly processors: BoardCpus;
  private readonly apicBus: ApicBus;
  private readonly events: GenericEventDevice;

  /** Throws a one-line error when there is no place for something. */
  constructor(
    readonly options: MicroVmOptions,
    connections: BoardConnections,
  ) {
    const { vm, clock, entropy, control, observe, sharing, threads } = connections;
    const { ports, memory } = this.bus;
    const { model, tscHz, ramSize } = options;
    vm.setSlots(memorySlots(ramSize));

    const { chips } = vm;
    if (chips?.controllers)
      throw new UsageError('the machine microvm has no 8259s and no 8254 that KVM could have: --kernel-irqchip split');
    const apicBus = new ApicBus(chips && ((message, destination) => chips.send(message, destination)));
    this.apicBus = apicBus;
    const ioApic = new IoApic(apicBus, (entries) => {
      chips?.setRedirections(entries);
    });
    const pins = Array.from(
      { length: IO_APIC_PINS },
      (_, pin) => new SharedLine((asserted) => ioApic.pin(pin).set(asserted)),
    );
    const gsi = (number: number): IrqLine => pins[number].driver();
    this.io = observe?.(this.bus) ?? this.bus;
    this.processors = new BoardCpus(options.cpus, {
      model,
      tscHz,
      vm,
      clock,
      entropy,
      io: this.io,
      apicBus,
      threads,
      bus: {
        acknowledgeExtInt: () => this.acknowledgeExtInt(),
        endOfInterrupt: (vector) => this.endOfInterrupt(vector),
      },
    });
    this.cpus = this.processors.all;

    this.events = new GenericEventDevice(gsi(MICROVM.GED_GSI), control);
    this.rtc = new Rtc(gsi(MICROVM.RTC_IRQ), clock);
    const serial = new Uart16550('serial0', gsi(MICROVM.COM1.irq), connections.serial[0], clock);
    this.serial = [serial];
    ports.claim('rtc', 4, this.rtc.ports, 0x70);
    ports.claim('serial0', 8, serial, MICROVM.COM1.port);
    // Kernels that jump to the BIOS's reset vector come here, as Linux does with hardware-reduced ACPI.
    const resetControl = new ResetControl(control);
    ports.claim('reset-control', 1, resetControl, 0xcf9);
    const debugConsole = new DebugConsole(connections.debugConsole);
    ports.claim('debugcon', 1, debugConsole, 0xe9);
    if (options.debugExit) ports.claim('debug-exit', 4, new DebugExit(control), 0xf4);
    memory.claim('ioapic', IO_APIC_SIZE, ioApic, IO_APIC_BASE);
    memory.claim('acpi-ged', GED_SIZE, this.events, MICROVM.GED);

    this.slots = new MmioSlots({ memory, dma: vm.dma, gsi });
    this.console = new VirtioConsole('virtio-console0', connections.console, sharing?.ports);
    this.slots.attachVirtio(this.console);
    this.slots.attachVirtio(new VirtioEntropy('virtio-rng0', entropy));
    this.attachDisks(connections.disks);
    if (sharing) attachSharing(sharing, this.slots);
    if (sharing?.balloon) {
      const taker = new BoardMemoryTaker(vm, ramSize, MICROVM.LOW_RAM_LIMIT, sharing.balloon.giveBack);
      this.balloon = new VirtioBalloon('virtio-balloon0', taker);
      this.slots.attachVirtio(this.balloon);
    }
    attachNics(connections.nics ?? [], this.slots, clock);
    this.display = this.attachDisplay(connections);
    this.input = this.attachInput();

    // In the order in which they are restored: interrupt controllers last, so that they see no edges that never were.
    const controllers = [ioApic, apicBus, ...this.processors.parts];
    this.parts = [this.events, resetControl, this.rtc, serial, ...this.slots.parts, ...controllers];
  }

  /** It has no x87 interrupt. */
  setFerr(): void {
    return;
  }

  /** Nothing drives LINT0: the spurious vector is never asked for. */
  acknowledgeExtInt(): number {
    return 0xff;
  }

  endOfInterrupt(vector: number): void {
    this.apicBus.broadcastEoi(vector);
  }

  private attachDisks(disks: readonly BoardDisk[]): void {
    for (const [i, { backend, attach, media, queues = 1 }] of disks.entries()) {
      if (attach !== 'virtio' || media !== 'disk')
        throw new UsageError(`the machine microvm has virtio disks alone, no ${attach} and no drives for CDs`);
      this.slots.attachVirtio(new VirtioBlock({ id: `virtio-blk${i}`, backend: fixedDisk(backend), queues }));
    }
  }

  private attachDisplay({ vm: { dma } }: BoardConnections): BoardDisplay {
    if (!this.options.gpu) return {};
    const read = (from: Parameters<typeof dma.read>[0], into: Uint8Array): boolean => dma.read(from, into);
    const gpu = new VirtioGpu({ id: 'virtio-gpu0', classCode: DISPLAY_CLASS, read });
    this.slots.attachVirtio(gpu);
    return {
      adapter: {
        picture: () => gpu.picture(),
        pointer: () => gpu.pointer(),
        prefer: (width, height) => gpu.prefer(width, height),
      },
    };
  }

  private attachInput(): InputHub {
    const { adapter } = this.display;
    if (!this.options.input) return new InputHub({ adapter });
    const keyboard = new VirtioKeyboard('virtio-keyboard0');
    const tablet = new VirtioTablet('virtio-tablet0');
    this.slots.attachVirtio(keyboard);
    this.slots.attachVirtio(tablet);
    return new InputHub({ keyboard, tablet, adapter });
  }

  pressPowerButton(): void {
    this.events.pressPowerButton();
  }

  resumeDevices(): void {
    this.slots.resume();
  }
}

/** RAM from 0 in one piece, and what does not fit below the devices at 4 GiB. */
function memorySlots(ramSize: number): MemorySlot[] {
  const { low, high } = splitRam(ramSize, MICROVM.LOW_RAM_LIMIT);
  const slots: MemorySlot[] = [{ start: gpa(0), size: low, offset: 0, kind: 'ram' }];
  if (high > 0) slots.push({ start: gpa(4 * GIB), size: high, offset: low, kind: 'ram' });
  return slots;
}
