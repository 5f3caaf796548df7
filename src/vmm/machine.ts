/** A virtual machine: its memory and CPUs on some accelerator, its board, and the loop that runs it. */
import { randomUuid } from './uuid.js';
import { assertNever } from '../base/assert.js';
import { HostError, UsageError } from '../base/errors.js';
import { MIB } from '../base/units.js';
import type { BlockBackend } from '../iface/block.js';
import type { Entropy } from '../iface/clock.js';
import type { MachineControl } from '../iface/lines.js';
import type { CpuidWords, DebugReason, DebugRequest, Vcpu, Vm } from '../iface/vcpu.js';
import { DEFAULT_TSC_HZ, type Board, type BootServices, type VmRequest } from '../machine/common/board.js';
import { asSeen, featureLeaves, missingFeatures } from '../machine/common/cpu-features.js';
import { describeCpu } from '../machine/common/describe-cpu.js';
import type { BoardNic } from '../machine/common/nics.js';
import type { BoardSharing } from '../machine/common/sharing.js';
import type { SnapshotReader, SnapshotWriter } from '../snapshot/container.js';
import { createBuilder, type MachineBuilder } from './boards.js';
import type { DiskConfig, MachineConfig } from './config.js';
import { ConsoleInput } from './console-input.js';
import { awaitRequests, closeAll, DiskImages, settleAll } from './disk-images.js';
import { Hotplug, type HotplugRequest } from './hotplug.js';
import { afterFirstStart, bootOptions } from './firmware-config.js';
import type { MediaRequest } from './media.js';
import { MachineClock } from './machine-clock.js';
import type { MachineHost } from './machine-host.js';
import {
  readMachine,
  restoreParts,
  saveMachine,
  type KeptApart,
  type MachineImage,
  type MemoryForm,
  type SavedMachine,
} from './machine-snapshot.js';
import { openNics } from './net-config.js';
import { inTurns } from './cpu-turns.js';
import { RunLoop, type LoopExit, type Pause } from './run-loop.js';
import { CpuThreads } from './smp/cpu-threads.js';
import { openSharing } from './sharing-config.js';
import { SerialListening } from './serial-listening.js';
import { SeededEntropy } from './seeded-entropy.js';
import { VIRTUAL_START, VirtualTime } from './virtual-time.js';

/** Why `run` came back. */
export type MachineExit =
  /** The guest switched the machine off. */
  | { readonly kind: 'power-off' }
  /** isa-debug-exit. */
  | { readonly kind: 'exit'; readonly code: number }
  /** The guest reset the machine, which was not to happen (`noReboot`). */
  | { readonly kind: 'reset' }
  /** Likewise by a triple fault; with the CPU's state as text. */
  | { readonly kind: 'triple-fault'; readonly cpu: string }
  | { readonly kind: 'debug'; readonly reason: DebugReason }
  /** `stop` was called. */
  | { readonly kind: 'stopped' };

/** Nanoseconds between two reports of triple faults. */
const BETWEEN_REPORTS = 10e9;

export class VirtualMachine {
  private readonly diskImages: DiskImages;
  private currentConfig: MachineConfig;
  /** Input for COM1, and for the virtio console. */
  readonly serialInput: ConsoleInput;
  readonly consoleInput = new ConsoleInput();
  readonly vm: Vm;
  /** Replaced when the machine is reset. */
  private current: {
    readonly board: Board;
    readonly clock: MachineClock;
    readonly loop: RunLoop;
    /** Sets it off. */
    readonly start: () => string;
  };
  private readonly builder: MachineBuilder;
  private readonly vmRequest: VmRequest;
  private readonly sharing: BoardSharing;
  private readonly threads: CpuThreads | undefined;
  private readonly nics: readonly BoardNic[];
  /** What was added while it runs. */
  readonly hotplug: Hotplug;
  private readonly virtualTime: VirtualTime | undefined;
  private debugRequest: DebugRequest | undefined;
  private readonly seeded: SeededEntropy | undefined;
  private readonly entropy: Entropy;
  /** Ticks of the guest's time-stamp counters per second. */
  readonly tscHz: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** When the owner was last told of a triple fault. */
  private reported: number | undefined;
  private readonly serialListening = new SerialListening();

  private constructor(
    config: MachineConfig,
    private readonly host: MachineHost,
    saved: SavedMachine | undefined,
  ) {
    this.currentConfig = config;
    const mayDiffer = config.clock === 'host';
    const openDisk = (disk: DiskConfig): BlockBackend => host.openDisk(disk, mayDiffer);
    const trayMoved = (disk: number, open: boolean): void => host.trayMoved?.(disk, open);
    this.diskImages = new DiskImages(config, { openDisk, trayMoved }, (disks) => {
      this.currentConfig = { ...this.currentConfig, disks };
    });
    this.tscHz = saved?.tscHz ?? host.tscHz ?? DEFAULT_TSC_HZ;
    this.builder = createBuilder(config, this.diskImages.flash, this.tscHz);
    this.sharing = openSharing(config.sharing, host.sharing);
    this.nics = openNics(config.networks ?? [], host.networks);
    this.hotplug = new Hotplug(config.plugged, {
      openDisk,
      networks: host.networks,
      sharing: host.sharing,
      mayDiffer,
      macs: (config.networks ?? []).map(({ mac }) => mac),
      changed: (plugged) => {
        this.currentConfig = { ...this.currentConfig, plugged };
      },
    });
    const { vmRequest } = this.builder;
    const seen = saved?.cpuid ?? [];
    this.vmRequest = { ...vmRequest, cpuid: (index) => asSeen(vmRequest.cpuid(index), seen) };
    this.vm = host.createVm(this.vmRequest);
    if (vmRequest.farSize !== undefined && !this.vm.far)
      throw new UsageError(`${String(Math.floor(config.memory / MIB))} MiB of memory take KVM: --accel kvm`);
    // Several threads are not the same in every run.
    if (vmRequest.cpus > 1 && host.threads && mayDiffer)
      this.threads = new CpuThreads(this.vm, this.vmRequest, host.threads);
    if (config.clock === 'virtual') {
      if (host.countsInstructions === false)
        throw new UsageError('--clock virtual needs an accelerator that counts instructions: wasm or interp');
      this.virtualTime = new VirtualTime(saved?.virtual?.time ?? VIRTUAL_START);
      this.seeded = new SeededEntropy(saved?.virtual?.entropy ?? 0n);
    }
    this.entropy = this.seeded ?? host.entropy;
    this.uuid = saved?.uuid ?? randomUuid(this.entropy);
    this.serialInput = new ConsoleInput(
      () => !host.holdInput || this.serialListening.isReady(this.board.serial[0], this.clock),
    );
    this.current = this.assemble(saved?.time ?? 0);
  }

  /** A machine that is about to boot. Throws a one-line error when it cannot be. */
  static create(config: MachineConfig, host: MachineHost): VirtualMachine {
    const machine = new VirtualMachine(config, host, undefined);
    // It costs no time of the guest's; `run` lets the clock go.
    machine.clock.pause();
    machine.current.start();
    return machine;
  }

  /** The machine that a snapshot holds. Throws a one-line error when it does not fit. */
  static restore(
    snapshot: SnapshotReader,
    host: MachineHost,
    options: {
      readonly name: string;
      readonly noReboot?: boolean;
      readonly forceCpu?: boolean;
      /** See `readMachine`. */
      readonly bootLater?: boolean;
      /** What the snapshot does not hold; absent: it holds everything. */
      readonly apart?: KeptApart;
    },
  ): VirtualMachine {
    const { name, noReboot, forceCpu = false, bootLater = false, apart } = options;
    const saved = readMachine(snapshot, name, apart ? () => apart.readBoot() : bootLater ? 'later' : 'now');
    const config = { ...saved.config, noReboot: noReboot ?? saved.config.noReboot };
    const machine = new VirtualMachine(config, host, saved);
    machine.checkFeatures(saved, name, forceCpu);
    machine.clock.pause();
    restoreParts(machine, snapshot, { saved, file: name, apart });
    machine.board.resumeDevices();
    return machine;
  }

  /** What CPUID tells the guest of features. */
  get cpuid(): readonly CpuidWords[] {
    return featureLeaves(this.vm.seenCpuid ?? this.vmRequest.cpuid(0));
  }

  /** A guest may use whatever it has seen: what is not there any more ends it in the middle of something. */
  private checkFeatures({ cpuid }: SavedMachine, name: string, forced: boolean): void {
    const missing = missingFeatures(cpuid, this.cpuid);
    if (missing.length === 0) return;
    const text = `the guest in ${name} has seen a processor with ${missing.join(', ')}, which it would not find here`;
    if (!forced) throw new HostError(`${text} (--force-cpu lets it go on all the same)`);
    this.host.report(text);
  }

  /** All files that a machine that goes on needs as they are: disks, flash, and what was added. */
  get images(): readonly MachineImage[] {
    return [...this.diskImages.all, ...this.hotplug.images];
  }

  /** Media of the drives; undefined: it has none. */
  get disks(): readonly (BlockBackend | undefined)[] {
    return this.diskImages.media;
  }

  /** As it is now: media may have been changed; the order of the first start has gone after a reset. */
  get config(): MachineConfig {
    return this.currentConfig;
  }

  get board(): Board {
    return this.current.board;
  }

  get clock(): MachineClock {
    return this.current.clock;
  }

  get cpus(): readonly Vcpu[] {
    return this.board.cpus;
  }

  /** Threads that CPUs are on. */
  get threadCount(): number {
    return this.threads ? this.cpus.length : 1;
  }

  /** RAM besides, which only some accelerators have. */
  get farRam(): readonly Uint8Array[] {
    return this.vm.far ?? [];
  }

  /** The guest's RAM, but for what is far. */
  get ram(): Uint8Array {
    return this.vm.backing.subarray(0, this.config.memory - (this.vmRequest.farSize ?? 0));
  }

  private get services(): BootServices {
    const { host, uuid, vm, entropy } = this;
    return { vm, uuid, entropy, version: host.version, gunzip: (data) => host.gunzip(data) };
  }

  /** A board in its reset state, with a clock that goes on at a time. */
  private assemble(time: number): typeof this.current {
    const { host, virtualTime, entropy } = this;
    const clock = new MachineClock(virtualTime ?? host.time, time);
    const late: { loop?: RunLoop } = {};
    const stop = (exit: Parameters<RunLoop['stop']>[0]): void => late.loop?.stop(exit);
    const control: MachineControl = {
      powerOff: () => stop({ kind: 'power-off' }),
      reset: () => stop({ kind: 'reset' }),
      exit: (code) => stop({ kind: 'exit', code }),
    };
    const { serial, debugConsole, console, observe } = host;
    const { threads } = this;
    threads?.setClock(clock);
    const { board, start } = this.builder.assemble(
      {
        vm: threads?.boardVm ?? this.vm,
        threads,
        clock,
        entropy,
        control,
        serial,
        debugConsole,
        console,
        disks: this.diskImages.boardDisks(),
        sharing: this.sharing,
        cards: this.hotplug.cards,
        cardEjected: (id) => {
          this.hotplug.ejected(id);
          host.cardRemoved?.(id);
        },
        nics: this.nics.map((nic) => ({
          ...nic,
          rom: this.config.firmware?.netRoms.find(({ model }) => model === nic.model)?.image,
        })),
        ...(observe && { observe }),
      },
      this.services,
      bootOptions(this.config.firmware),
    );
    threads?.setBoard(board);
    const cpu = threads ? threads.first(board.cpus[0]) : inTurns(board.cpus);
    virtualTime?.attach(cpu);
    host.turn?.watch(cpu, () => board.bus.accesses);
    const loop = new RunLoop({
      cpu,
      turn: host.turn,
      clock,
      poll: () => {
        host.poll();
        board.processors.takeIn();
        const end = threads?.poll();
        if (end) stop(end);
        this.serialInput.feed();
      },
      sleep: (nanoseconds) => host.sleep(nanoseconds),
      settle: () => host.settle?.() ?? false,
      virtual: virtualTime,
    });
    late.loop = loop;
    if (this.debugRequest) for (const each of board.cpus) each.setDebug(this.debugRequest);
    this.current = { board, clock, loop, start };
    this.serialInput.connect(board.serial[0]);
    this.consoleInput.connect(board.console);
    return this.current;
  }

  /** Runs until something ends it or somebody stops it; can be called again after `debug` and `stopped`. */
  run(): MachineExit {
    this.clock.resume();
    for (;;) {
      if (this.vm.chips) for (const cpu of this.cpus) cpu.resume?.();
      this.threads?.go();
      const end = this.current.loop.run();
      this.threads?.stop();
      const exit = this.takeEnd(end);
      if (exit) return exit;
    }
  }

  /** Runs a machine of one CPU for one slice, and comes back instead of sleeping. Otherwise as `run`. */
  turn(): MachineExit | Pause {
    this.clock.resume();
    const end = this.current.loop.turn();
    if (end.kind === 'asleep' || end.kind === 'slice-over') return end;
    return this.takeEnd(end) ?? { kind: 'slice-over' };
  }

  /** What the end of a loop means for the machine. Undefined: it goes on. */
  private takeEnd(exit: LoopExit): MachineExit | undefined {
    switch (exit.kind) {
      case 'power-off':
      case 'exit':
        return exit;
      case 'debug':
      case 'stopped':
        this.clock.pause();
        return exit;
      case 'reset':
        if (this.config.noReboot) return exit;
        this.reset();
        return undefined;
      case 'shutdown':
        if (this.config.noReboot) return { kind: 'triple-fault', cpu: this.describeCpu() };
        this.reportTripleFault();
        this.reset();
        return undefined;
      default:
        return assertNever(exit);
    }
  }

  /** Not every time: a guest may do nothing else. */
  private reportTripleFault(): void {
    const now = this.clock.now();
    if (this.reported !== undefined && now - this.reported < BETWEEN_REPORTS) return;
    this.reported = now;
    this.host.report('triple fault: the machine is reset (--no-reboot shows the state of the CPU)');
  }

  /** Makes `run` return. Callable from the host's `poll`. */
  stop(): void {
    this.current.loop.stop({ kind: 'stopped' });
  }

  /** What the reset button does. Callable from the host's `poll`. */
  pressReset(): void {
    this.current.loop.stop({ kind: 'reset' });
  }

  /** Who pauses it and presses reset looks at a machine that was reset, and is still paused. Only while `run` is not running. */
  resetIfAsked(): void {
    if (this.config.noReboot || this.current.loop.asked?.kind !== 'reset') return;
    this.reset();
    this.clock.pause();
  }

  /** Power-on reset: a new board on the same memory, with the battery-backed memory of the old one, boots again. */
  private reset(): void {
    const { board, clock } = this;
    const { hotplug } = board;
    // What the old board has asked for comes into the memory of the new one otherwise.
    awaitRequests(this.images);
    // As in QEMU: with power off, whoever waited for a card gets it.
    for (const id of hotplug?.leaving ?? []) hotplug?.takeOut(id);
    const rtc = board.rtc.save();
    const { firmware } = this.config;
    if (firmware) this.currentConfig = { ...this.config, firmware: afterFirstStart(firmware) };
    const { board: fresh, start } = this.assemble(clock.now());
    this.serialListening.reset();
    fresh.rtc.restoreAfterReset(rtc);
    this.host.wasReset?.();
    this.clock.pause();
    start();
    this.clock.resume();
  }

  /** What a debugger wants to be told of, from the next `run` on, resets included. */
  setDebug(request: DebugRequest): void {
    this.debugRequest = request;
    for (const cpu of this.cpus) cpu.setDebug(request);
  }

  /** Changes the medium in a drive. Throws a one-line error when that cannot be. Callable from the host's `poll`. */
  changeMedia(request: MediaRequest): void {
    this.diskImages.change(request, this.board.mediaDrive?.(request.disk));
  }

  /** Adds something to the machine, or takes it away. Throws a one-line error when that cannot be. Callable from the host's `poll`. */
  plug(request: HotplugRequest): void {
    this.hotplug.carryOut(request, this.board.hotplug);
  }

  /** Makes the disks durable, and lets go of them. Throws what the host refuses. Only while `run` is not running. */
  close(): void {
    this.hotplug.close();
    closeAll(this.images);
  }

  describeCpu(): string {
    return this.cpus.map((cpu) => describeCpu(cpu, this.vm.dma, this.host.disassemble)).join('\n');
  }

  /** It has stood still for a moment which is not to be missing in its time. Only while `run` is not running. */
  catchUp(): void {
    this.clock.follow(this.clock.origin);
  }

  /** Saves everything. Only while `run` is not running. */
  save(writer: SnapshotWriter, memory: MemoryForm = 'packed'): void {
    this.clock.pause();
    settleAll(this.images);
    saveMachine(writer, {
      machine: this,
      uuid: this.uuid,
      version: this.host.version,
      memory,
      locate: (path) => (path === '' ? '' : (this.host.locate?.(path) ?? path)),
      virtual: this.virtualTime && this.seeded && { time: this.virtualTime.save(), entropy: this.seeded.state },
    });
  }
}
