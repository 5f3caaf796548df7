/** A machine on a thread, CPU and devices: how it begins, what it is given of its host, and how it ends. */
import type { MessagePort } from 'node:worker_threads';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { disassemble } from '../../cpu/x86/disassembler.js';
import { hostTime } from '../../host/node/clock.js';
import { deflate, gunzip } from '../../host/node/deflate.js';
import { DiskTransfers } from '../../host/node/disk-transfers.js';
import { hostEntropy } from '../../host/node/entropy.js';
import { discard, giveBack } from '../../host/node/give-back.js';
import { LineWriter } from '../../host/node/line-writer.js';
import { threadNumber } from '../../host/node/native/thread-number.js';
import { HostFolder } from '../../host/node/shared-folder/host-folder.js';
import { FileSource } from '../../host/node/snapshot-file.js';
import { zstdReady } from '../../host/node/zstd.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import { SnapshotReader } from '../../snapshot/container.js';
import { readMachine } from '../../vmm/machine-snapshot.js';
import type { MachineHost } from '../../vmm/machine-host.js';
import type { MachineExit, VirtualMachine } from '../../vmm/machine.js';
import type { Seat } from '../../vmm/sched/words.js';
import { StreamMux } from '../../vmm/stream-mux.js';
import { OutputBuffer } from '../common/output-buffer.js';
import { traceTranslation, traceVm } from '../trace.js';
import { collectGarbage } from './collect-garbage.js';
import { chooseAccelerator, loadKvm, type Choice } from './choose-accelerator.js';
import { cpuThreads } from './cpu-threads.js';
import { createTurn, createTurnAmongOthers, openSeat } from './cpu-turns.js';
import { createVm } from './create-vm.js';
import { Debugging } from './debugging.js';
import { diskBuffers, locateDisk, openDisk, type DiskBuffers } from './disks.js';
import type * as Kvm from './kvm.js';
import { MachineCommands, portable } from './machine-commands.js';
import { MachineOrigin } from './machine-origin.js';
import { JoinedNetworks, Networks } from './network-thread.js';
import {
  SHARED,
  type Event,
  type MachineFacts,
  type MachineStart,
  type WorkerData,
  type WorkerOptions,
} from './protocol.js';
import { JoinedTranslation, TranslationThreads } from './translation-threads.js';
import { checkSharing } from './worker-kind.js';

/** Why is told only of what was not asked for. */
type Chosen = Pick<Choice, 'accel'> & Partial<Choice>;

/** A machine that has begun. */
interface Life {
  readonly machine: VirtualMachine;
  readonly debugging: Debugging;
  /** It is between two runs, in which its owner or a debugger may hold it. */
  stands: boolean;
}

/** Of the machines that take turns on this thread. */
const joined = { translation: new JoinedTranslation(), networks: new JoinedNetworks() };

/** Milliseconds without anything from outside after which a machine among others gives back memory that it can do without. */
const QUIET = 2000;

/** Milliseconds after its beginning when a machine on a thread of its own, once it sleeps, collects what the beginning has left. */
const TIDY = 1000;

/** What was asked for, or else the best that works. Which machine a file holds it tells only where it may matter. */
async function choose(start: MachineStart, options: WorkerOptions): Promise<Chosen> {
  if (options.accel !== undefined) return { accel: options.accel };
  const tracesCode = options.trace?.kinds.some((kind) => kind === 'exec' || kind === 'translate') ?? false;
  if (start.kind === 'create') {
    const { clock } = start.config;
    return chooseAccelerator({ clock, tracesCode });
  }
  const any = await chooseAccelerator({ clock: 'host', tracesCode });
  // Whoever forks a machine says what the other one runs on.
  if (any.accel !== 'kvm' || start.kind === 'branch') return any;
  const source = new FileSource(start.file, 'snapshot');
  try {
    const { config, tscHz, cpuid } = readMachine(new SnapshotReader(source, deflate), start.file);
    const knowsRate = !cpuModel(config.cpu).features.has('kvm_clocksource2');
    return await chooseAccelerator({ clock: config.clock, tracesCode, seen: cpuid, ...(knowsRate && { tscHz }) });
  } finally {
    source.close();
  }
}

/** What a machine runs on, with KVM, when it is that. */
type Accelerator = Chosen & { readonly kvm: typeof Kvm | undefined };

export class MachineOnThread {
  private readonly words: Int32Array<SharedArrayBuffer>;
  private readonly output: OutputBuffer;
  private readonly streams = new StreamMux((message) => this.post({ kind: 'stream', message }), 0);
  private readonly networks: Networks;
  /** Absent: others on this thread would wait with it, and a CPU that KVM runs would see late that something is done. */
  private readonly transfers: DiskTransfers | undefined;
  /** Once there is memory. */
  private buffers: DiskBuffers | undefined;
  private readonly origin: MachineOrigin;
  private readonly commands: MachineCommands;
  private readonly turn: ReturnType<typeof createTurn>;
  private readonly seat: Seat;
  /** Absent: what is written down of several CPUs is in one order; or there is but one CPU. */
  private readonly threads: ReturnType<typeof cpuThreads> | undefined;
  /** What translates for several CPUs. */
  private translation: TranslationThreads | undefined;
  private trace: LineWriter | undefined;
  private machine: VirtualMachine | undefined;
  /** When it will have been quiet for so long that it gives back memory. Milliseconds. */
  private quietAt = performance.now() + QUIET;
  /** When it collects garbage if it sleeps. Milliseconds. */
  private tidyAt = performance.now() + TIDY;
  /** Of a machine that is given turns. */
  private life: Life | undefined;
  /** Whatever of it the host has lent: threads end by themselves, descriptors of a KVM do not. */
  private lent: Vm | undefined;

  private constructor(
    private readonly data: WorkerData,
    private readonly port: MessagePort,
    private readonly accelerator: Accelerator,
  ) {
    const { start, options, shared: words, seat } = data;
    this.words = words;
    this.output = new OutputBuffer({
      post: (channel, bytes) => this.post({ kind: 'output', channel, bytes }),
      written: () => Atomics.load(words, SHARED.WRITTEN) >>> 0,
      wait: (seen) => this.waitForReader(seen),
    });
    this.networks = new Networks(words, data.together ? joined.networks : undefined);
    if (!data.together && !accelerator.kvm) this.transfers = new DiskTransfers();
    this.origin = new MachineOrigin(start);
    this.commands = new MachineCommands({ port, words }, this.origin, this.streams);
    const report = (text: string): void => this.report(text);
    this.seat = openSeat(seat);
    const turn = data.together ? createTurnAmongOthers(this.seat, report) : createTurn(this.seat, 0, report);
    this.turn = turn;
    if (options.trace || data.together) return;
    this.threads = cpuThreads({
      accel: accelerator.accel,
      wake: { buffer: words.buffer, index: words.byteOffset / 4 + SHARED.WAKE },
      seat,
      yields: () => turn.yield(),
      report,
      translation: (cpu) => this.translation?.links(cpu),
      watch: (index, life, cpuWords) => {
        port.postMessage({ kind: 'cpu-thread', index, life, words: cpuWords } satisfies Event, [life]);
      },
    });
  }

  /** Loads what the machine will need. Its commands come in `port`, which what it tells goes into. */
  static async prepare(data: WorkerData, port: MessagePort): Promise<MachineOnThread> {
    const { start, options } = data;
    const choice = await choose(start, options);
    // It takes some 30 ms, and may be what an image needs.
    if (start.kind !== 'create' || start.config.disks.length > 0) await zstdReady();
    const kvm = choice.accel === 'kvm' ? await loadKvm() : undefined;
    return new MachineOnThread(data, port, { ...choice, kvm });
  }

  /** What machines have had together that take turns on this thread. None of them is left. */
  static endShared(): void {
    joined.translation.close();
    joined.networks.close();
  }

  private post(event: Event): void {
    this.port.postMessage(event);
  }

  private report(text: string): void {
    this.post({ kind: 'report', text });
  }

  private waitForReader(seen: number): boolean {
    // Others are not held up: the machine has no turn until its reader has caught up.
    if (this.data.together) return false;
    Atomics.wait(this.words, SHARED.WRITTEN, seen | 0, 100);
    this.commands.fetch();
    // Whoever wants the machine to end does not want to wait for a reader that may never come.
    return !this.commands.isStopping;
  }

  private createOn(request: VmRequest): Vm {
    const { options } = this.data;
    const { accel, kvm } = this.accelerator;
    if (this.data.together) checkSharing({ cpus: request.cpus });
    if (kvm) {
      // CPUs that take turns must not wait for interrupts inside.
      const taking = this.threads === undefined && request.cpus > 1;
      return kvm.createKvmVm(request, (text) => this.report(text), taking ? 'off' : options.kernelIrqchip);
    }
    this.translation?.close();
    this.translation = accel !== 'interp' && request.cpus > 1 ? new TranslationThreads(request.cpus) : undefined;
    return createVm(request, {
      accel: accel === 'kvm' ? undefined : accel,
      translation: (cpu) => this.translation?.links(cpu),
      joinTranslation: this.data.together ? () => joined.translation.join() : undefined,
      report: (text) => this.report(text),
      observe: options.trace?.kinds.includes('translate')
        ? (translation) => traceTranslation(translation, (line) => this.trace?.line(line))
        : undefined,
    });
  }

  private createTracedVm(request: VmRequest): Vm {
    const vm = this.createOn(request);
    this.lent = vm;
    this.buffers = diskBuffers(vm.staging);
    const { trace } = this.data.options;
    return trace ? traceVm(vm, new Set(trace.kinds), (line) => this.trace?.line(line)) : vm;
  }

  /** The CPUs are about to sleep. True: not now. */
  private settle(): boolean {
    this.output.flush();
    return this.commands.areWaiting || this.networks.settle();
  }

  private poll(): void {
    this.output.flush();
    this.commands.fetch();
    if (this.machine) {
      this.commands.carryOutQuick(this.machine);
      this.commands.reportTaken(this.machine);
    }
    this.networks.poll();
    this.transfers?.collect();
  }

  private sleep(nanoseconds = Infinity): void {
    if (this.settle()) return;
    const untidy = this.tidyAt - performance.now();
    if (untidy <= 0) {
      this.tidyAt = Infinity;
      collectGarbage();
    }
    if (this.transfers?.areOpen) this.transfers.sleep(nanoseconds);
    else Atomics.wait(this.words, SHARED.WAKE, 0, Math.min(nanoseconds / 1e6, Math.max(untidy, 0)));
  }

  private host(): MachineHost {
    const { options, version } = this.data;
    const { kvm } = this.accelerator;
    const { output, networks, streams } = this;
    const report = (text: string): void => this.report(text);
    return {
      version,
      time: hostTime,
      entropy: hostEntropy,
      serial: [output.sink('serial'), output.sink('serial2')],
      debugConsole: output.sink('debug'),
      console: output.sink('console'),
      holdInput: options.holdInput ?? false,
      createVm: (request) => this.createTracedVm(request),
      threads: this.threads,
      turn: this.turn,
      disassemble,
      openDisk: (disk, mayDiffer) =>
        openDisk(disk, {
          warn: report,
          transfers: mayDiffer ? this.transfers : undefined,
          buffers: () => this.buffers,
        }),
      locate: locateDisk,
      sharing: { openFolder: ({ path, readOnly }) => new HostFolder(path, readOnly), streams, giveBack },
      networks: {
        openNetworks: (configs) => networks.open(configs, kvm !== undefined),
        openNetwork: (config, id) => networks.add(config, id),
      },
      gunzip,
      poll: () => this.poll(),
      settle: () => this.settle(),
      sleep: (nanoseconds) => this.sleep(nanoseconds),
      report,
      wasReset: () => this.post({ kind: 'reset' }),
      cardRemoved: (card) => this.post({ kind: 'card-removed', card }),
      trayMoved: (disk, open) => this.post({ kind: 'tray', disk, open }),
      ...(kvm && { tscHz: kvm.kvmTscHz(), countsInstructions: false }),
    };
  }

  /** Runs the machine, from its beginning to its end. Resolves when nothing of it is left. `begun`: it is there. */
  async live(begun: () => void): Promise<void> {
    try {
      const life = this.bringUp();
      begun();
      this.finish(life.machine, this.runToEnd(life));
    } catch (error) {
      this.fail((await this.threads?.explain(error)) ?? error);
    }
    this.letGo();
  }

  /** Begins a machine that is then given turns. False: that has failed, and nothing of it is left. */
  begin(): boolean {
    return this.unlessItFails(() => {
      this.life = this.bringUp();
      return true;
    });
  }

  /** There is something for it, whatever it waits for. */
  get isCalled(): boolean {
    return Atomics.load(this.words, SHARED.WAKE) !== 0;
  }

  /** What it is to get of the thread, beside others. */
  get shares(): number {
    return this.seat.shares;
  }

  /** Runs a slice. Milliseconds for which the machine has nothing to do then, unless it is called; undefined: it has ended, and nothing of it is left. */
  takeTurn(): number | undefined {
    const { life } = this;
    if (!life) return undefined;
    if (this.isCalled) this.quietAt = performance.now() + QUIET;
    const rest = this.unlessItFails(() => {
      const end = this.slice(life);
      if (typeof end === 'number') return end;
      this.finish(life.machine, end);
      this.letGo();
      return false;
    });
    return rest === false ? undefined : rest;
  }

  private unlessItFails<T>(work: () => T): T | false {
    try {
      return work();
    } catch (error) {
      this.fail(error);
      this.letGo();
      return false;
    }
  }

  private slice(life: Life): MachineExit | number {
    const { machine, debugging } = life;
    if (life.stands) {
      this.commands.fetch();
      const ends = !this.commands.carryOutSlow(machine, debugging);
      if (ends) return { kind: 'stopped' };
      const ending = debugging.takeEnding();
      if (ending) return ending;
      if (debugging.stopped || this.commands.isPaused) return this.attend(machine, debugging);
      life.stands = false;
    }
    if (this.output.isBehind) {
      this.commands.fetch();
      if (!this.commands.isStopping) return Infinity;
    }
    const end = machine.turn();
    if (end.kind === 'slice-over') return 0;
    if (end.kind === 'asleep') return this.settle() ? 0 : this.rest(machine, end.nanoseconds);
    if (debugging.ends(end)) return end;
    life.stands = true;
    return 0;
  }

  /** The guest sleeps. Milliseconds for which the machine has nothing to do, unless it is called. */
  private rest({ vm }: VirtualMachine, nanoseconds = Infinity): number {
    const now = performance.now();
    if (now >= this.quietAt) {
      this.quietAt = Infinity;
      for (const bytes of vm.forget?.() ?? []) discard(bytes);
    }
    return Math.min(nanoseconds / 1e6, this.quietAt - now);
  }

  private bringUp(): Life {
    const { options } = this.data;
    const { reason } = this.accelerator;
    if (options.trace) this.trace = new LineWriter(options.trace.file, 'trace');
    const machine = this.origin.begin(this.host());
    this.machine = machine;
    // From here on there is a CPU, whose signals are no danger.
    if (machine.vm.chips) Atomics.store(this.words, SHARED.THREAD, threadNumber());
    this.networks.check();
    if (reason !== undefined) this.report(`accelerator ${this.accelerator.accel}: ${reason}`);
    if (machine.config.sharing) this.post({ kind: 'sharing', config: machine.config.sharing });
    this.trace?.begin();
    const debugging = new Debugging(machine, (event) => this.post(event), options.startStopped ?? false);
    this.post({ kind: 'started', facts: this.factsOf(machine) });
    return { machine, debugging, stands: true };
  }

  private factsOf({ config, cpus, threadCount, board }: VirtualMachine): MachineFacts {
    const resizable = board.display.adapter?.prefer !== undefined;
    const { memory, note } = config;
    return { accel: this.accelerator.accel, cpus: cpus.length, threads: threadCount, memory, resizable, note };
  }

  private runToEnd({ machine, debugging }: Life): MachineExit {
    while (this.standStill(machine, debugging)) {
      const ending = debugging.takeEnding();
      if (ending) return ending;
      const exit = machine.run();
      if (debugging.ends(exit)) return exit;
    }
    return { kind: 'stopped' };
  }

  /** Carries out commands between two runs, for as long as a debugger has the machine or its owner wants it to pause. False: it ends. */
  private standStill(machine: VirtualMachine, debugging: Debugging): boolean {
    while (this.commands.carryOutSlow(machine, debugging)) {
      if (!debugging.stopped && !this.commands.isPaused) return true;
      if (this.attend(machine, debugging) > 0) Atomics.wait(this.words, SHARED.WAKE, 0);
      this.commands.fetch();
    }
    return false;
  }

  /** The machine stands still, and its owner may want something all the same. Milliseconds until the next look, unless the machine is called. */
  private attend(machine: VirtualMachine, debugging: Debugging): number {
    this.output.flush();
    if (!this.commands.areWaiting) return Infinity;
    this.commands.carryOutQuick(machine);
    // A debugger has to see it from its first instruction on, and does when it goes on.
    if (!debugging.stopped) machine.resetIfAsked();
    return 0;
  }

  private finish(machine: VirtualMachine, exit: MachineExit): void {
    this.output.flush();
    this.trace?.close();
    machine.close();
    if (this.data.options.stats) for (const cpu of machine.cpus) this.report(cpu.describeWork?.().join('\n') ?? '');
    this.post({ kind: 'exit', exit });
  }

  private fail(error: unknown): void {
    this.output.flush();
    this.trace?.close();
    try {
      this.machine?.close();
    } catch {
      // The machine has failed already: that is told, not what fails besides. What the guest made durable is.
    }
    this.post({ kind: 'error', error: portable(error) });
  }

  /** Nothing of the machine is left. */
  private letGo(): void {
    Atomics.store(this.words, SHARED.THREAD, 0);
    this.lent?.dispose();
    this.threads?.settle();
    this.networks.close();
    this.transfers?.close();
    this.origin.close();
    this.life = undefined;
  }
}
