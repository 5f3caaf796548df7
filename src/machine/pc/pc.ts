/** The PC board: a Q35 memory controller with an ICH9, and the chips that a PC has always had around them. */
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { InterruptRouter, SharedLine } from '../../bus/interrupts.js';
import { Bus } from '../../bus/io-space.js';
import type { PciEnvironment } from '../../bus/pci/function.js';
import { PciBus } from '../../bus/pci/pci-bus.js';
import { HEADER } from '../../bus/pci/registers.js';
import { ApicBus } from '../../devices/apic/apic-bus.js';
import { HOTPLUG_EVENT, HOTPLUG_PORTS } from '../../devices/acpi/pci-hotplug.js';
import { ApicMsiSink } from '../../devices/apic/msi.js';
import { CoprocessorError } from '../../devices/legacy/coprocessor-error.js';
import { DebugConsole, DebugExit } from '../../devices/legacy/debug-ports.js';
import { FwCfg } from '../../devices/legacy/fw-cfg/fw-cfg.js';
import { Hpet, HPET_SIZE } from '../../devices/legacy/hpet/hpet.js';
import { I8042 } from '../../devices/legacy/i8042/i8042.js';
import { AcpiPm } from '../../devices/legacy/pm/acpi-pm.js';
import { FastA20, ResetControl } from '../../devices/legacy/reset-ports.js';
import { Rtc } from '../../devices/legacy/rtc/rtc.js';
import { Uart16550 } from '../../devices/legacy/uart/uart-16550.js';
import { HostBridge, type ShadowSegment } from '../../devices/pci/host-bridge.js';
import { LpcBridge } from '../../devices/pci/lpc-bridge.js';
import { VirtioBalloon } from '../../devices/virtio/balloon.js';
import { VirtioConsole } from '../../devices/virtio/console.js';
import { VirtioEntropy } from '../../devices/virtio/entropy.js';
import type { BiosPlacement } from '../../firmware/bios.js';
import { ich9PirqRoutes } from '../../firmware/board.js';
import type { GuestIo } from '../../iface/bus.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Vcpu } from '../../iface/vcpu.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { Board, BoardConnections } from '../common/board.js';
import { BoardCpus } from '../common/board-cpus.js';
import { InputHub } from '../common/input-hub.js';
import { BoardMemoryTaker } from '../common/memory-taker.js';
import { attachNics } from '../common/nics.js';
import { attachSharing } from '../common/sharing.js';
import type { MediaDrive } from '../common/disks.js';
import { networkDevices, type BootDevice } from './boot-order.js';
import { CardSlots } from './card-slots.js';
import { DiskControllers } from './disks.js';
import { PcDisplay, type PcDisplayOptions } from './display.js';
import { FlashChips, type PcFlash } from './flash.js';
import { PcHotplug } from './hotplug.js';
import { makeControllers, type PcControllers, type Ticking } from './interrupt-controllers.js';
import { PC } from './layout.js';
import { memorySlots, ShadowWrites } from './memory.js';

/** COM1 and COM2: ports and ISA interrupts. */
export const SERIAL_PORTS = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
] as const;

/** Where PIRQA … PIRQH lead on the 8259s, when no firmware says otherwise. */
const PIRQ_TO_ISA = [10, 10, 11, 11, 10, 10, 11, 11] as const;

export interface PcOptions {
  readonly model: CpuModel;
  /** Virtual CPUs. */
  readonly cpus: number;
  /** RAM in bytes, a multiple of 4 KiB. */
  readonly ramSize: number;
  /** Where ROM, and RAM above 4 GiB, begin in the backing, bytes. */
  readonly romOffset: number;
  readonly highOffset: number;
  /** Where a BIOS image, or flash chips in its place, are found. */
  readonly bios: BiosPlacement | undefined;
  readonly flash: readonly PcFlash[];
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  /** Adds isa-debug-exit at port 0xf4. */
  readonly debugExit: boolean;
  readonly display: PcDisplayOptions;
  /** Where display memory begins in the backing, bytes, whole pages. */
  readonly displayOffset: number;
}

/** Whoever sees a pointer can move it. */
export const hasMouse = ({ display }: PcOptions): boolean => display.vga !== 'none' && display.vga !== 'isa';

export class Pc implements Board {
  readonly bus = new Bus();
  readonly cpus: readonly Vcpu[];
  readonly serial: readonly Uart16550[];
  readonly pci: PciBus;
  readonly hostBridge: HostBridge;
  readonly lpc: LpcBridge;
  readonly pm: AcpiPm;
  readonly rtc: Rtc;
  readonly keyboard: I8042;
  readonly display: PcDisplay;
  readonly input: InputHub;
  readonly fwCfg: FwCfg;
  readonly console: VirtioConsole;
  readonly balloon: VirtioBalloon | undefined;
  /** Where PCI functions claim windows and send messages. */
  readonly pciEnvironment: PciEnvironment;
  readonly router: InterruptRouter;

  private readonly devices: Snapshotable[] = [];
  private readonly controllers: readonly Snapshotable[];
  private readonly cards: CardSlots;
  private readonly diskControllers: DiskControllers;
  readonly hotplug: PcHotplug;
  readonly flash: FlashChips;
  /** The bus as CPUs see it. */
  readonly io: GuestIo;
  readonly processors: BoardCpus;
  private readonly coprocessorError: CoprocessorError;
  private readonly apicBus: ApicBus;
  private readonly interrupts: PcControllers;
  private readonly shadow: ShadowWrites;

  constructor(
    readonly options: PcOptions,
    private readonly connections: BoardConnections,
  ) {
    const { clock, control } = connections;
    const { ports, memory } = this.bus;

    // ---- interrupt controllers and CPU ----
    const { chips } = connections.vm;
    this.apicBus = new ApicBus(chips && ((message, destination) => chips.send(message, destination)));
    // Whichever timer ticks on interrupt 0 gives ticks that it owes.
    const ticking: Ticking[] = [];
    const tickEnded = (): void => {
      for (const timer of ticking) timer.acknowledged();
    };
    const intr: IrqLine = {
      set: (asserted) => {
        // It is quiet until there are CPUs.
        this.processors.setLint(0, asserted);
      },
    };
    const interrupts = makeControllers({ chips, bus: this.bus, apicBus: this.apicBus, intr, tickEnded });
    this.interrupts = interrupts;
    this.router = new InterruptRouter(
      (pin) => interrupts.pic.input(pin),
      (pin) => interrupts.ioApic.pin(pin),
    );
    this.coprocessorError = new CoprocessorError(this.router.isa(13));
    const { vm, entropy, observe, threads } = connections;
    const { model, tscHz } = options;
    this.io = observe?.(this.bus) ?? this.bus;
    this.processors = new BoardCpus(options.cpus, {
      model,
      tscHz,
      vm,
      clock,
      entropy,
      io: this.io,
      apicBus: this.apicBus,
      threads,
      bus: {
        setFerr: (asserted) => this.coprocessorError.setFerr(asserted),
        acknowledgeExtInt: () => this.interrupts.acknowledge(),
        endOfInterrupt: (vector) => this.endOfInterrupt(vector),
      },
    });
    this.cpus = this.processors.all;

    // ---- PCI ----
    this.shadow = new ShadowWrites(connections.vm);
    memory.claim('shadow', PC.SHADOW_END - PC.SHADOW, this.shadow, PC.SHADOW);
    this.pciEnvironment = { ports, memory, msi: new ApicMsiSink(this.apicBus) };
    this.pm = new AcpiPm(this.router.isa(9), control, clock);
    this.lpc = new LpcBridge(this.pciEnvironment, this.router, this.pm);
    this.pci = new PciBus((slot, pin) => this.lpc.intx(slot, pin));
    this.hostBridge = new HostBridge(this.pciEnvironment, this.pci, (segments) => {
      this.updateMemory(segments);
    });
    this.pci.attach(PC.LPC_SLOT, this.lpc.pci);

    // ---- legacy chips at their fixed places ----
    // In legacy replacement mode the HPET takes the interrupts of the 8254 and the RTC.
    const hpet = new Hpet(
      {
        isa0: this.router.isa(0),
        isa8: this.router.isa(8),
        ioApic: (pin) => this.router.ioApicPin(pin),
        replacePit: interrupts.replacePit,
      },
      clock,
    );
    const pit = interrupts.pit(hpet.pit, clock);
    ticking.push(...(pit.ticking ? [pit.ticking] : []), hpet);
    this.rtc = new Rtc(hpet.rtc, clock, () => {
      this.pm.rtcAlarm();
    });
    this.serial = SERIAL_PORTS.map(
      ({ irq }, i) => new Uart16550(`serial${String(i)}`, this.router.isa(irq), connections.serial[i], clock),
    );
    const a20Gate = new SharedLine((open) => this.setA20(open));
    this.keyboard = new I8042(
      { irq1: this.router.isa(1), irq12: this.router.isa(12), a20: a20Gate.driver() },
      control,
      clock,
      { mouse: hasMouse(options) },
    );
    const a20 = new FastA20(a20Gate.driver(), control);
    this.fwCfg = new FwCfg(connections.vm.dma);
    const resetControl = new ResetControl(control);
    ports.claim('i8042', 5, this.keyboard, 0x60);
    ports.claim('rtc', 4, this.rtc.ports, 0x70);
    ports.claim('fast-a20', 1, a20, 0x92);
    ports.claim('apm', 2, this.pm.apmPorts, 0xb2);
    ports.claim('coprocessor-error', 1, this.coprocessorError, 0xf0);
    // After the host bridge, whose configuration address spans this port.
    ports.claim('reset-control', 1, resetControl, 0xcf9);
    for (const [i, { port }] of SERIAL_PORTS.entries()) ports.claim(`serial${String(i)}`, 8, this.serial[i], port);
    ports.claim('fw-cfg', 2, this.fwCfg.ports, PC.FW_CFG);
    ports.claim('fw-cfg-dma', 8, this.fwCfg.dmaPorts, PC.FW_CFG + 4);
    const debugConsole = new DebugConsole(connections.debugConsole);
    ports.claim('debugcon', 1, debugConsole, 0xe9);
    ports.claim('debugcon-bios', 1, debugConsole, 0x402);
    if (options.debugExit) ports.claim('debug-exit', 4, new DebugExit(control), 0xf4);
    memory.claim('hpet', HPET_SIZE, hpet, PC.HPET);

    // In the order in which they are restored: bridges first, since they say where things are; interrupt controllers
    // last, so that they see no edges that never were; the HPET after those whose interrupts pass through it.
    this.devices.push(this.hostBridge, this.lpc, this.pm, pit.part, this.rtc, hpet, ...this.serial, this.keyboard, a20);
    this.devices.push(this.coprocessorError, resetControl, this.fwCfg);

    this.flash = new FlashChips({
      chips: options.flash,
      vm: connections.vm,
      memory,
      offset: options.romOffset,
      changed: () => this.mapMemory(),
    });
    this.devices.push(...this.flash.parts);

    // ---- cards ----
    this.cards = new CardSlots({ pci: this.pci, environment: this.pciEnvironment, dma: connections.vm.dma });
    this.display = new PcDisplay({
      options: options.display,
      clock,
      bus: this.bus,
      environment: this.pciEnvironment,
      cards: this.cards,
      vm: connections.vm,
      memoryOffset: options.displayOffset,
      moved: () => this.mapMemory(),
    });
    this.devices.push(...this.display.parts);
    const { keyboard, tablet, adapter } = this.display;
    this.input = new InputHub({ ps2: this.keyboard, keyboard, tablet, adapter });
    this.console = new VirtioConsole('virtio-console0', connections.console, connections.sharing?.ports);
    this.cards.attachVirtio(this.console);
    this.cards.attachVirtio(new VirtioEntropy('virtio-rng0', connections.entropy));
    this.diskControllers = new DiskControllers(connections.disks, {
      cards: this.cards,
      pci: this.pci,
      environment: this.pciEnvironment,
      dma: connections.vm.dma,
      ports,
      isa: (irq) => this.router.isa(irq),
    });
    const { sharing } = connections;
    if (sharing) attachSharing(sharing, this.cards);
    if (sharing?.balloon) {
      this.balloon = new VirtioBalloon(
        'virtio-balloon0',
        new BoardMemoryTaker(vm, options.ramSize, PC.LOW_RAM_LIMIT, sharing.balloon.giveBack, options.highOffset),
      );
      this.cards.attachVirtio(this.balloon);
    }
    attachNics(connections.nics ?? [], this.cards, clock);
    this.devices.push(...this.cards.parts, ...this.diskControllers.parts);
    this.hotplug = new PcHotplug({
      ...{ pci: this.pci, environment: this.pciEnvironment, dma: vm.dma, clock, entropy },
      slots: this.cards.freeFrom(PC.FIRST_HOT_SLOT),
      raise: () => this.pm.raiseGpe(HOTPLUG_EVENT),
      ejected: (id) => connections.cardEjected?.(id),
    });
    ports.claim('pci-hotplug', HOTPLUG_PORTS, this.hotplug.registers, PC.HOTPLUG);
    this.devices.push(this.hotplug.registers);
    for (const card of connections.cards ?? []) this.hotplug.insert(card);

    this.controllers = [interrupts.pic, interrupts.ioApic, this.apicBus, ...this.processors.parts];
  }

  setFerr(asserted: boolean): void {
    this.coprocessorError.setFerr(asserted);
  }

  acknowledgeExtInt(): number {
    return this.interrupts.acknowledge();
  }

  endOfInterrupt(vector: number): void {
    this.apicBus.broadcastEoi(vector);
  }

  private setA20(enabled: boolean): void {
    for (const cpu of this.cpus) cpu.setA20(enabled);
  }

  private updateMemory(segments: readonly ShadowSegment[]): void {
    this.shadow.segments = segments;
    this.mapMemory();
  }

  private mapMemory(): void {
    const { options, shadow, connections } = this;
    // While the host bridge is made there are no display and no flash yet.
    const { display, flash } = this as Partial<Pick<Pc, 'display' | 'flash'>>;
    const hidden = flash?.hidden ?? [];
    connections.vm.setSlots([...memorySlots(options, shadow.segments, hidden), ...(display?.slots ?? [])]);
  }

  /**
   * Does what firmware would have done before it hands over: shadow RAM open, ECAM and ACPI registers in place, PCI
   * interrupts routed, ACPI mode on. For kernels that are loaded without firmware.
   */
  setUpWithoutFirmware(): void {
    for (let i = 0; i < 7; i++) this.hostBridge.pci.config.write(0x90 + i, 1, 0x33);
    this.hostBridge.enableEcam(PC.ECAM as never);
    this.lpc.enablePm(PC.PM_BASE);
    this.lpc.routePirqs(PIRQ_TO_ISA);
    // For kernels without ACPI: PCI interrupts are level-triggered, and each function says which one it has.
    const { pic } = this.interrupts;
    const state = pic.save();
    pic.restore({ ...state, second: { ...state.second, elcr: (1 << (10 - 8)) | (1 << (11 - 8)) } });
    for (const [devfn, { config, interruptPin }] of this.pci.attached)
      if (interruptPin > 0)
        config.write(HEADER.INTERRUPT_LINE, 1, PIRQ_TO_ISA[ich9PirqRoutes[devfn >> 3][interruptPin - 1]]);
    this.pm.enterAcpiMode();
  }

  /** The drive of a disk, if its medium can be changed. */
  mediaDrive(disk: number): MediaDrive | undefined {
    return this.diskControllers.mediaDrive(disk);
  }

  /** Types of floppy disk drives, as CMOS memory tells them. */
  get floppies(): readonly number[] {
    return this.diskControllers.floppies;
  }

  /** What firmware can boot from. */
  get bootDevices(): readonly BootDevice[] {
    return [...this.diskControllers.bootDevices, ...networkDevices(this.pci)];
  }

  /** All parts but CPUs and memory, in the order in which they are restored. */
  get parts(): readonly Snapshotable[] {
    return [...this.devices, ...this.hotplug.parts, ...this.controllers];
  }

  pressPowerButton(): void {
    this.pm.pressPowerButton();
  }

  /** Lets devices go on with what was under way, after all of a machine was restored. */
  resumeDevices(): void {
    this.cards.resume();
    this.hotplug.resume();
    this.diskControllers.resume();
  }
}
