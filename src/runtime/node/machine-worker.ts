/**
 * A machine on a thread of its own: CPU and devices, in a loop that blocks. Commands lie in the port until the run loop
 * looks for them, which the shared word WAKE tells it to; while the CPU is halted the thread sleeps on that word.
 */
import { inspect as show } from 'node:util';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { assert } from '../../base/assert.js';
import { VitrineError } from '../../base/errors.js';
import { hostTime } from '../../host/node/clock.js';
import { deflate, gunzip } from '../../host/node/deflate.js';
import { hostEntropy } from '../../host/node/entropy.js';
import { giveBack } from '../../host/node/give-back.js';
import { threadNumber } from '../../host/node/native/thread.js';
import { HostFolder } from '../../host/node/shared-folder/host-folder.js';
import { FileSource, writeFileSafely } from '../../host/node/snapshot-file.js';
import { SnapshotReader, SnapshotWriter, type SnapshotTarget } from '../../snapshot/container.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import type { DisplayAdapter } from '../../iface/display.js';
import { StreamMux } from '../../vmm/stream-mux.js';
import { readMachine } from '../../vmm/machine-snapshot.js';
import type { MachineExit, MachineHost, VirtualMachine } from '../../vmm/machine.js';
import { disassemble } from '../../cpu/x86/disassembler.js';
import { LineWriter } from '../../host/node/line-writer.js';
import { zstdReady } from '../../host/node/zstd.js';
import { OutputBuffer } from '../common/output-buffer.js';
import { QuickCommands } from '../common/quick-commands.js';
import { traceTranslation, traceVm } from '../trace.js';
import { createVm } from './create-vm.js';
import { chooseAccelerator, loadKvm, type Choice } from './choose-accelerator.js';
import type * as Kvm from './kvm.js';
import { cpuThreads } from './cpu-threads.js';
import { createTurn, openSeat } from './cpu-turns.js';
import { awaitMachine } from './awaited-machine.js';
import type { SpareWorker } from './spare-worker.js';
import { Debugging, isDebugCommand, type DebugCommand } from './debugging.js';
import { locateDisk, openDisk } from './disks.js';
import { MachineOrigin } from './machine-origin.js';
import { Networks } from './network-thread.js';
import { TranslationThreads } from './translation-threads.js';
import { WorkerDisplay } from './worker-display.js';
import {
  SHARED,
  type Answer,
  type Command,
  type Event,
  type MachineFacts,
  type PortableError,
  type WorkerAnswer,
  type WorkerData,
} from './protocol.js';

assert(parentPort !== null, 'this is the entry of a worker');
const port = parentPort;
const {
  start,
  options,
  shared: words,
  seat,
  version,
} = await awaitMachine(workerData as WorkerData | SpareWorker, port);
const post = (event: Event): void => port.postMessage(event);

/** Commands that were taken from the port and not carried out yet. */
const commands: Command[] = [];
let stopping = false;
let paused = false;

function fetchCommands(): void {
  if (Atomics.exchange(words, SHARED.WAKE, 0) === 0) return;
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    const command = next.message as Command;
    if (command.kind === 'stop') stopping = true;
    commands.push(command);
  }
}

const output = new OutputBuffer({
  post: (channel, bytes) => post({ kind: 'output', channel, bytes }),
  written: () => Atomics.load(words, SHARED.WRITTEN) >>> 0,
  wait: (seen) => {
    Atomics.wait(words, SHARED.WRITTEN, seen | 0, 100);
    fetchCommands();
    // Whoever wants the machine to end does not want to wait for a reader that may never come.
    return !stopping;
  },
});

let trace: LineWriter | undefined;
const display = new WorkerDisplay();

function portable(error: unknown): PortableError {
  const { message } = error instanceof Error ? error : new Error(String(error));
  // With what caused it.
  return { message, expected: error instanceof VitrineError, stack: show(error) };
}

const report = (text: string): void => post({ kind: 'report', text });

const turn = createTurn(openSeat(seat), 0, report);

const streams = new StreamMux((message) => post({ kind: 'stream', message }), 0);

const networks = new Networks(words);

/** What was asked for, or else the best that works. */
const choice = options.accel === undefined ? await choose() : { accel: options.accel, reason: undefined };

/** Where nothing was asked for. Which machine a file holds it tells only where it may matter. */
async function choose(): Promise<Choice> {
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
    const { config, tscHz } = readMachine(new SnapshotReader(source, deflate), start.file);
    const knowsRate = !cpuModel(config.cpu).features.has('kvm_clocksource2');
    return await chooseAccelerator({ clock: config.clock, tracesCode, ...(knowsRate && { tscHz }) });
  } finally {
    source.close();
  }
}

/** KVM, when it is that. */
let kvm: typeof Kvm | undefined;

/** What translates for several CPUs. */
let translation: TranslationThreads | undefined;
const translationFor = (cpu: number): ReturnType<TranslationThreads['links']> | undefined => translation?.links(cpu);

/** Absent: what is written down of several CPUs is in one order. */
const threads = options.trace
  ? undefined
  : cpuThreads({
      accel: choice.accel,
      wake: { buffer: words.buffer, index: words.byteOffset / 4 + SHARED.WAKE },
      seat,
      yields: () => turn.yield(),
      report,
      translation: translationFor,
      watch: (index, life, cpuWords) => {
        port.postMessage({ kind: 'cpu-thread', index, life, words: cpuWords } satisfies Event, [life]);
      },
    });

/** Whatever of it the host has lent: threads end by themselves, descriptors of a KVM do not. */
let lent: Vm | undefined;

function createOn(request: VmRequest): Vm {
  if (kvm) {
    // CPUs that take turns must not wait for interrupts inside.
    const taking = threads === undefined && request.cpus > 1;
    return kvm.createKvmVm(request, report, taking ? 'off' : options.kernelIrqchip);
  }
  translation?.close();
  translation = choice.accel !== 'interp' && request.cpus > 1 ? new TranslationThreads(request.cpus) : undefined;
  return createVm(request, {
    accel: choice.accel === 'kvm' ? undefined : choice.accel,
    translation: translationFor,
    report,
    observe: options.trace?.kinds.includes('translate')
      ? (translation) => traceTranslation(translation, (line) => trace?.line(line))
      : undefined,
  });
}

/** The CPUs are about to sleep. True: not now. */
function settle(): boolean {
  output.flush();
  return commands.length > 0 || networks.settle();
}

const base: MachineHost = {
  version,
  time: hostTime,
  entropy: hostEntropy,
  serial: [output.sink('serial'), output.sink('serial2')],
  debugConsole: output.sink('debug'),
  console: output.sink('console'),
  holdInput: options.holdInput ?? false,
  createVm: (request) => {
    const vm = createOn(request);
    lent = vm;
    return trace ? traceVm(vm, new Set(options.trace?.kinds), (line) => trace?.line(line)) : vm;
  },
  threads,
  turn,
  disassemble,
  openDisk: (disk) => openDisk(disk, (text) => post({ kind: 'report', text })),
  locate: locateDisk,
  sharing: { openFolder: ({ path, readOnly }) => new HostFolder(path, readOnly), streams, giveBack },
  networks: {
    openNetworks: (configs) => networks.open(configs, kvm !== undefined),
    openNetwork: (config, id) => networks.add(config, id),
  },
  gunzip,
  poll: () => {
    output.flush();
    fetchCommands();
    if (commands.length > 0) quickCommands();
    if (machine) quick.reportTaken(machine);
    networks.poll();
  },
  settle,
  sleep: (nanoseconds) => {
    if (settle()) return;
    Atomics.wait(words, SHARED.WAKE, 0, nanoseconds === undefined ? Infinity : nanoseconds / 1e6);
  },
  report,
  wasReset: () => post({ kind: 'reset' }),
  cardRemoved: (card) => post({ kind: 'card-removed', card }),
  trayMoved: (disk, open) => post({ kind: 'tray', disk, open }),
};

const origin = new MachineOrigin(start);

let machine: VirtualMachine | undefined;
/** What the screen shows, and the time of the machine's clock. */
const shownBy = (on: VirtualMachine): [DisplayAdapter | undefined, number] => [
  on.board.display.adapter,
  on.clock.now(),
];

const quick = new QuickCommands({
  answer,
  frame: (on) => post({ kind: 'frame', news: display.frame(...shownBy(on)) }),
  screenshot: (on, format) => display.screenshot(format, ...shownBy(on)),
  userInputTaken: () => Atomics.add(words, SHARED.INPUT_TAKEN, 1),
  inputTaken: (count) => post({ kind: 'taken', count }),
  streams,
});

/** Carries out what does not need the machine to stand still; stops it for the rest. */
function quickCommands(): void {
  if (machine === undefined) return;
  for (let command = commands.at(0); command; command = commands.at(0)) {
    if (isSlow(command)) {
      machine.stop();
      return;
    }
    commands.shift();
    quick.carryOut(machine, command);
  }
}

type SlowCommand = Extract<Command, { kind: 'save' | 'branch' | 'stop' | 'pause' | 'resume' }> | DebugCommand;

/** The machine has to stand still for it. */
function isSlow(command: Command): command is SlowCommand {
  return ['save', 'branch', 'stop', 'pause', 'resume'].includes(command.kind) || isDebugCommand(command);
}

function answer(id: number, work: () => WorkerAnswer): void {
  let result: WorkerAnswer | PortableError;
  try {
    result = work();
  } catch (error) {
    result = portable(error);
  }
  post({ kind: 'answer', id, answer: result });
}

function save({ file, template, momentary }: Extract<Command, { kind: 'save' }>): Answer {
  assert(machine !== undefined, 'there is a machine to save');
  const from = machine;
  const write = (target: SnapshotTarget): void =>
    from.save(new SnapshotWriter(target, deflate), template ? 'mappable' : 'packed');
  writeFileSafely(file, 'snapshot', write, !momentary);
  return { saved: file };
}

function branch(among: number): WorkerAnswer {
  assert(machine !== undefined, 'there is a machine to fork');
  return { branch: origin.branch(machine, among) };
}

/** Carries out what the machine stands still for. False: it ends. */
function slowCommands(debugging: Debugging): boolean {
  for (let command = commands.at(0); command; command = commands.at(0)) {
    if (command.kind === 'stop') return false;
    if (isDebugCommand(command)) {
      commands.shift();
      if (!debugging.command(command)) return false;
      continue;
    }
    if (!isSlow(command)) break;
    commands.shift();
    if (command.kind === 'save') {
      const request = command;
      answer(request.id, () => save(request));
      continue;
    }
    if (command.kind === 'branch') {
      const { among } = command;
      answer(command.id, () => branch(among));
      if (!paused && !debugging.stopped) machine?.catchUp();
      continue;
    }
    paused = command.kind === 'pause';
    answer(command.id, () => ({ done: true }));
  }
  return true;
}

/** Carries out commands between two runs, for as long as a debugger has the machine or its owner wants it to pause. False: it ends. */
function standStill(debugging: Debugging): boolean {
  while (slowCommands(debugging)) {
    if (!debugging.stopped && !paused) return true;
    output.flush();
    if (commands.length > 0) quickCommands();
    else Atomics.wait(words, SHARED.WAKE, 0);
    fetchCommands();
  }
  return false;
}

function runToEnd(debugging: Debugging, running: VirtualMachine): MachineExit {
  while (standStill(debugging)) {
    const ending = debugging.takeEnding();
    if (ending) return ending;
    const exit = running.run();
    if (debugging.ends(exit)) return exit;
  }
  return { kind: 'stopped' };
}

function factsOf({ config, cpus, threadCount, board }: VirtualMachine): MachineFacts {
  const resizable = board.display.adapter?.prefer !== undefined;
  const { memory, note } = config;
  return { accel: choice.accel, cpus: cpus.length, threads: threadCount, memory, resizable, note };
}

function main(): void {
  if (options.trace) trace = new LineWriter(options.trace.file, 'trace');
  machine = origin.begin(kvm ? { ...base, tscHz: kvm.kvmTscHz(), countsInstructions: false } : base);
  // From here on there is a CPU, whose signals are no danger.
  if (machine.vm.chips) Atomics.store(words, SHARED.THREAD, threadNumber());
  networks.check();
  if (choice.reason !== undefined) report(`accelerator ${choice.accel}: ${choice.reason}`);
  if (machine.config.sharing) post({ kind: 'sharing', config: machine.config.sharing });
  trace?.begin();
  const debugging = new Debugging(machine, post, options.startStopped ?? false);
  post({ kind: 'started', facts: factsOf(machine) });
  const exit = runToEnd(debugging, machine);
  output.flush();
  trace?.close();
  machine.close();
  if (options.stats) for (const cpu of machine.cpus) report(cpu.describeWork?.().join('\n') ?? '');
  post({ kind: 'exit', exit });
}

/** The machine has failed already: that is told, not what fails besides. */
function closeDisks(): void {
  try {
    machine?.close();
  } catch {
    // What the guest made durable is.
  }
}

try {
  // It takes some 30 ms, and may be what an image needs.
  if (start.kind !== 'create' || start.config.disks.length > 0) await zstdReady();
  if (choice.accel === 'kvm') kvm = await loadKvm();
  main();
} catch (error) {
  output.flush();
  trace?.close();
  closeDisks();
  post({ kind: 'error', error: portable((await threads?.explain(error)) ?? error) });
}
Atomics.store(words, SHARED.THREAD, 0);
lent?.dispose();
threads?.settle();
networks.close();
origin.close();
// Whatever else may keep the thread alive: it has nothing left to do.
port.close();
