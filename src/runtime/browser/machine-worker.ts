/**
 * A machine on a worker of a page: CPU and devices, in a loop. Where the page is isolated the loop blocks, commands come by shared memory, and
 * code is translated and further CPUs run on workers of their own. Elsewhere everything is on this one, which comes back to its event
 * loop every few milliseconds for what its owner has posted.
 */
import './shared-memory.js';
import { HostError, UsageError } from '../../base/errors.js';
import { disassemble } from '../../cpu/x86/disassembler.js';
import { browserTime } from '../../host/browser/clock.js';
import { deflate, gunzip } from '../../host/browser/deflate.js';
import { browserEntropy } from '../../host/browser/entropy.js';
import { BlobSource, writeFileSafely } from '../../host/browser/files.js';
import { flashDisk } from '../../vmm/firmware-config.js';
import { readMachine } from '../../vmm/machine-snapshot.js';
import type { MachineHost } from '../../vmm/machine-host.js';
import { VirtualMachine, type MachineExit } from '../../vmm/machine.js';
import { StreamMux } from '../../vmm/stream-mux.js';
import { MAX_VCPUS } from '../../memory/layout.js';
import { Unplugged } from '../../net/unplugged.js';
import { SnapshotReader, SnapshotWriter } from '../../snapshot/container.js';
import type { Answer } from '../common/commands.js';
import { kindOf, type PortableError } from '../common/portable-error.js';
import { MessageRing } from '../common/message-ring.js';
import { OutputBuffer } from '../common/output-buffer.js';
import { QuickCommands } from '../common/quick-commands.js';
import { loadBuilt, loadVariants } from './built-files.js';
import { startCpuThreads, wakeBy } from './cpu-threads.js';
import { createVm } from './create-vm.js';
import { Disks } from './disks.js';
import { NetworkThread, unplugged } from './network-thread.js';
import { SHARED, type Built, type Command, type Event, type WorkerStart, type WorkerWarm } from './protocol.js';
import { Screen } from './screen.js';
import { TranslationThread } from './thread-compiler.js';

/** Nanoseconds that a machine runs without coming back to its event loop, where commands come by that. */
const BURST = 10e6;

const post = (event: Event, transfer: Transferable[] = []): void => self.postMessage(event, { transfer });
const report = (text: string): void => post({ kind: 'report', text });

function portable(error: unknown): PortableError {
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
  return { message, kind: kindOf(error), stack };
}

async function answer(id: number, work: () => Answer | Promise<Answer>): Promise<void> {
  let result: Answer | PortableError;
  try {
    result = await work();
  } catch (error) {
    result = portable(error);
  }
  post({ kind: 'answer', id, answer: result });
}

function answerNow(id: number, work: () => Answer): void {
  let result: Answer | PortableError;
  try {
    result = work();
  } catch (error) {
    result = portable(error);
  }
  post({ kind: 'answer', id, answer: result });
}

type SlowCommand = Extract<Command, { kind: 'save' | 'stop' | 'pause' | 'resume' }>;

/** What the build made, and the thread that translates. */
interface Tools {
  readonly built: Built;
  readonly translation: TranslationThread | undefined;
}

async function loadTools(accel: WorkerStart['accel'], cpus: number, threads: boolean): Promise<Tools> {
  // Two requests of the same are one for the browser.
  const variants = loadVariants(accel);
  const translation = variants.then((bytes) =>
    bytes && threads ? TranslationThread.start(bytes, cpus > 1) : undefined,
  );
  // What loads meanwhile may fail first.
  translation.catch(() => undefined);
  const built = await loadBuilt(accel, cpus, variants);
  return { built, translation: await translation };
}

/** What was loaded ahead. */
let warmed: (WorkerWarm['warm'] & { readonly tools: Promise<Tools> }) | undefined;

/** The machine has to stand still for it. */
const isSlow = (command: Command): command is SlowCommand => ['save', 'stop', 'pause', 'resume'].includes(command.kind);

class MachineThread {
  private readonly commands: Command[] = [];
  private readonly ring: MessageRing | undefined;
  private readonly words: Int32Array<SharedArrayBuffer> | undefined;
  private readonly time;
  private readonly screen = new Screen();
  private readonly output: OutputBuffer;
  private readonly quick: QuickCommands;
  private readonly streams = new StreamMux((message) => post({ kind: 'stream', message }), 0);
  private disks: Disks | undefined;
  private networks: NetworkThread | undefined;
  private machine: VirtualMachine | undefined;
  private paused = false;
  private stopping = false;
  /** Where nobody shares memory: bytes posted, since when the machine runs, how long it has nothing to do, and how to wake it. */
  private posted = 0;
  private since = 0;
  private idle: number | undefined = 0;
  private wakeUp: (() => void) | undefined;
  private readonly ping = new MessageChannel();

  constructor(private readonly given: WorkerStart) {
    const { shared, epoch } = given;
    this.words = shared?.words;
    this.ring = shared && new MessageRing(shared.commands);
    this.time = browserTime(epoch);
    this.ping.port1.onmessage = () => this.wakeUp?.();
    const { words } = this;
    this.output = new OutputBuffer({
      post: (channel, bytes) => {
        this.posted = (this.posted + bytes.length) >>> 0;
        post({ kind: 'output', channel, bytes });
      },
      written: () => (words ? Atomics.load(words, SHARED.WRITTEN) >>> 0 : this.posted),
      wait: (seen) => {
        if (words) Atomics.wait(words, SHARED.WRITTEN, seen | 0, 100);
        this.fetchCommands();
        return !this.stopping;
      },
    });
    this.quick = new QuickCommands({
      answer: answerNow,
      frame: ({ board, clock }) => {
        const frame = this.screen.frame(board.display.adapter, clock.now());
        post(
          { kind: 'frame', frame },
          frame.parts.map(({ pixels }) => pixels.buffer),
        );
      },
      streams: this.streams,
      screenshot: () => {
        throw new HostError('a page takes pictures of its canvas');
      },
      userInputTaken: () => {
        if (words) Atomics.add(words, SHARED.INPUT_TAKEN, 1);
        else post({ kind: 'input-taken' });
      },
      inputTaken: (count) => post({ kind: 'taken', count }),
    });
  }

  /** A command that came by the event loop. */
  receive(command: Command): void {
    if (command.kind === 'stop') this.stopping = true;
    this.commands.push(command);
    this.wakeUp?.();
  }

  private fetchCommands(): void {
    const { words, ring } = this;
    if (!words || !ring || Atomics.exchange(words, SHARED.WAKE, 0) === 0) return;
    // From code of our own, in the page that started this worker.
    for (let next = ring.take(); next !== undefined; next = ring.take()) this.receive(next as unknown as Command);
  }

  /** Carries out what does not need the machine to stand still; stops it for the rest. */
  private quickCommands(): void {
    const { machine, commands } = this;
    if (!machine) return;
    for (let command = commands.at(0); command; command = commands.at(0)) {
      if (isSlow(command)) {
        machine.stop();
        return;
      }
      commands.shift();
      this.quick.carryOut(machine, command);
    }
  }

  private poll(): void {
    this.output.flush();
    this.fetchCommands();
    if (this.commands.length > 0) this.quickCommands();
    if (!this.machine) return;
    this.quick.reportTaken(this.machine);
    this.networks?.poll();
    if (this.words || this.time.now() - this.since < BURST) return;
    this.idle = 0;
    this.machine.stop();
  }

  private sleep(nanoseconds: number | undefined): void {
    this.output.flush();
    if (this.commands.length > 0 || this.networks?.settle()) return;
    if (this.words) {
      Atomics.wait(this.words, SHARED.WAKE, 0, nanoseconds === undefined ? Infinity : nanoseconds / 1e6);
      return;
    }
    this.idle = nanoseconds;
    this.machine?.stop();
  }

  /** Lets events happen: until there is a command, or `idle` nanoseconds are over. */
  private async turn(): Promise<void> {
    const { idle } = this;
    let timer: number | undefined;
    await new Promise<void>((resolve) => {
      this.wakeUp = resolve;
      // A timer would take 4 ms at least.
      if (idle !== undefined && idle < 1e6) this.ping.port2.postMessage(0);
      else if (idle !== undefined) timer = self.setTimeout(resolve, idle / 1e6);
      if (this.commands.length > 0) resolve();
    });
    this.wakeUp = undefined;
    clearTimeout(timer);
  }

  /** Carries out what the machine stands still for. False: it ends. */
  private async slowCommands(machine: VirtualMachine): Promise<boolean> {
    const { commands } = this;
    for (let command = commands.at(0); command; command = commands.at(0)) {
      if (!isSlow(command)) break;
      commands.shift();
      if (command.kind === 'stop') return false;
      const { id, kind } = command;
      if (command.kind === 'save') {
        const { name } = command;
        await answer(id, async () => {
          // What images are is asked of the browser, which takes an event loop.
          for (const disk of machine.disks) disk?.flush(() => {});
          await this.disks?.settle();
          await writeFileSafely(name, (target) => machine.save(new SnapshotWriter(target, deflate)));
          return { saved: name };
        });
        continue;
      }
      this.paused = kind === 'pause';
      answerNow(id, () => ({ done: true }));
    }
    return true;
  }

  private async runToEnd(machine: VirtualMachine): Promise<MachineExit> {
    while (await this.slowCommands(machine)) {
      if (this.paused) {
        this.output.flush();
        if (this.commands.length > 0) this.quickCommands();
        else if (this.words) Atomics.wait(this.words, SHARED.WAKE, 0);
        else {
          this.idle = undefined;
          await this.turn();
        }
        this.fetchCommands();
        continue;
      }
      this.since = this.time.now();
      const exit = machine.run();
      if (exit.kind !== 'stopped') return exit;
      if (this.words || this.commands.some(isSlow)) continue;
      // Only its CPUs rest meanwhile, not its clock.
      machine.clock.resume();
      await this.turn();
      if (this.commands.some(isSlow)) machine.clock.pause();
    }
    return { kind: 'stopped' };
  }

  /** All of it that can fail for want of something is done here, and all workers are started. */
  private async prepare(): Promise<() => VirtualMachine> {
    const { start, parts, accel, version, epoch } = this.given;
    const reader =
      start.kind === 'resume' ? new SnapshotReader(new BlobSource(start.file, start.name), deflate) : undefined;
    const config = start.kind === 'create' ? start.config : reader && readMachine(reader, start.name).config;
    const { cpus = 1, clock, disks = [], networks = [], firmware } = config ?? {};
    // Before there is a worker for each.
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_VCPUS)
      throw new UsageError(`a machine has 1 to ${MAX_VCPUS} CPUs`);
    const { words } = this;
    const isWarm = warmed?.accel === accel && warmed.cpus === cpus && warmed.threads === (words !== undefined);
    const loading = isWarm && warmed ? warmed.tools : loadTools(accel, cpus, words !== undefined);
    loading.catch(() => undefined);
    const wake = words?.subarray(SHARED.WAKE, SHARED.WAKE + 1);
    const wakeMachine = wake ? wakeBy(wake) : (): void => this.wakeUp?.();
    this.disks = await Disks.open([...disks, ...(firmware?.flash ?? []).map(flashDisk)], parts, report);
    this.networks = await NetworkThread.open(networks, { relay: parts.relay, wake, wakeMachine });
    const { disks: opened, networks: plugged } = this;
    const { built, translation } = await loading;
    const onThreads = words !== undefined && cpus > 1 && clock === 'host';
    const watch = (index: number, life: string, of: SharedArrayBuffer): void =>
      post({ kind: 'cpu-thread', index, life, words: of });
    const threads = onThreads && wake ? await startCpuThreads({ built, cpus, epoch, wake, report, watch }) : undefined;
    const { output } = this;
    const host: MachineHost = {
      version,
      time: this.time,
      entropy: browserEntropy,
      serial: [output.sink('serial'), output.sink('serial2')],
      debugConsole: output.sink('debug'),
      console: output.sink('console'),
      createVm: (request) => createVm(request, { built, translation, report }),
      threads,
      disassemble,
      openDisk: (disk) => opened.openDisk(disk),
      networks: {
        openNetworks: (configs) => plugged?.networks ?? unplugged(configs),
        openNetwork: (_, id) => ({ backend: new Unplugged(`net.${id}`), close: () => undefined }),
      },
      sharing: {
        openFolder: ({ path }) => {
          throw new UsageError(`a page has no folders to share: ${path}`);
        },
        streams: this.streams,
        giveBack: () => false,
      },
      gunzip,
      poll: () => this.poll(),
      sleep: (nanoseconds) => this.sleep(nanoseconds),
      report,
      wasReset: () => post({ kind: 'reset' }),
    };
    if (start.kind === 'create') return () => VirtualMachine.create(start.config, host);
    return () => {
      if (!reader) throw new Error('a snapshot has a reader');
      return VirtualMachine.restore(reader, host, { name: start.name });
    };
  }

  /** The machine has failed already: that is told, not what fails besides. */
  private closeDisks(): void {
    try {
      this.machine?.close();
    } catch {
      // What the guest made durable is.
    }
  }

  async run(): Promise<void> {
    try {
      const create = await this.prepare();
      const machine = create();
      this.machine = machine;
      const { cpus, threadCount, config, board } = machine;
      if (config.sharing) post({ kind: 'sharing', config: config.sharing });
      const facts = {
        accel: this.given.accel,
        cpus: cpus.length,
        threads: threadCount,
        memory: config.memory,
        resizable: board.display.adapter?.prefer !== undefined,
        note: config.note,
      };
      post({ kind: 'started', facts });
      const exit = await this.runToEnd(machine);
      this.output.flush();
      machine.close();
      await this.disks?.end();
      post({ kind: 'exit', exit });
    } catch (error) {
      this.output.flush();
      this.closeDisks();
      await this.disks?.end();
      post({ kind: 'error', error: portable(error) });
    }
  }
}

let thread: MachineThread | undefined;
self.onmessage = ({ data }: MessageEvent<WorkerWarm | WorkerStart | Command>) => {
  if ('warm' in data) {
    const { accel, cpus, threads } = data.warm;
    warmed = { ...data.warm, tools: loadTools(accel, cpus, threads) };
    // It is told when it is needed.
    warmed.tools.catch(() => undefined);
  } else if ('start' in data) {
    thread = new MachineThread(data);
    void thread.run();
  } else thread?.receive(data);
};
