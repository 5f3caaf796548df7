/** A machine of a server, from the moment that it was asked for until it is forgotten. */
import { ApiError } from '../api/errors.js';
import type { MachineInfo, MachineState, Port } from '../api/schemas.js';
import { VitrineError } from '../base/errors.js';
import type { FrameNews } from '../display/frame-news.js';
import type { CommandLine, GuestProcess, PortForward, SpawnOptions, Vm } from '../sdk/index.js';
import { MachineScreen } from './machine-screen.js';
import { OutputLog } from './output-log.js';
import type { Quota, Share } from './quota.js';

/** Bytes of each log that are kept. */
const LOG = 1 << 20;
/** Milliseconds of the longest timer that there is. */
const LONGEST = 2_147_483_647;

/** What a machine is told while it is made. */
export interface MakingHooks {
  readonly signal: AbortSignal;
  readonly onSerial: (bytes: Uint8Array) => void;
  readonly onFrame: (news: FrameNews) => void;
  readonly onProgress: (text: string) => void;
}

export interface MachineCommand {
  readonly line: CommandLine;
  readonly options: SpawnOptions;
}

export interface MachineDescription {
  readonly name: string;
  readonly image?: string | undefined;
  readonly origin?: string | undefined;
  /** MiB. */
  readonly memory: number;
  readonly cpus: number;
  readonly display: boolean;
  /** Of its processor time, as asked for. */
  readonly shares: number;
  readonly cap: number | undefined;
  /** Seconds. */
  readonly lifetime?: number | undefined;
  /** Its disks keep what is written: it is switched off where there is time. */
  readonly keepsWrites: boolean;
}

/** What a machine tells whoever keeps it. */
export interface MachineOwner {
  changed(machine: HostedMachine): void;
  /** What whoever uses it is told of an error. */
  readonly reason: (error: unknown) => string;
  /** Something that nobody waits for did not work. */
  readonly failed: (error: unknown) => void;
  /** It runs no more. */
  ended(machine: HostedMachine): void;
}

interface OpenPort {
  readonly port: Port;
  readonly forward: PortForward;
  readonly release: () => void;
}

/** Also of one that was saved elsewhere. */
function hasScreen(vm: Vm): boolean {
  try {
    return vm.display !== undefined;
  } catch {
    return false;
  }
}

const iso = (time: number): string => new Date(time).toISOString();

export class HostedMachine {
  readonly created = Date.now();
  readonly serial = new OutputLog(LOG);
  /** What its command has written. */
  output: OutputLog | undefined;
  /** Of the container image that it is made of, once that is known. */
  digest: string | undefined;
  /** Once it is there, if it has one. */
  screen: MachineScreen | undefined;
  private stateNow: MachineState = 'starting';
  private ready: number | undefined;
  private endedAt: number | undefined;
  private exit: NonNullable<MachineInfo['exit']> | undefined;
  private command: MachineInfo['command'];
  private progress: string | undefined;
  private vmNow: Vm | undefined;
  private readonly making = new AbortController();
  private readonly openPorts = new Map<number, OpenPort>();
  private nextPort = 1;
  private lifeTimer: NodeJS.Timeout | undefined;
  private expires: number | undefined;
  /** How it is to be told that it ended, if by us. */
  private asked: 'stopped' | 'expired' | 'shutdown' | 'command-ended' | undefined;
  private markEnded: () => void = () => {};
  /** It runs no more, and what it had is given back. */
  readonly over: Promise<void>;

  constructor(
    readonly description: MachineDescription,
    private readonly owner: MachineOwner,
    private readonly share: Share,
  ) {
    this.over = new Promise((resolve) => (this.markEnded = resolve));
    if (description.lifetime !== undefined) {
      this.expires = this.created + description.lifetime * 1000;
      this.armLife();
    }
  }

  get name(): string {
    return this.description.name;
  }

  get state(): MachineState {
    return this.stateNow;
  }

  /** MiB that it can write. */
  get disk(): number {
    return this.share.load.disk;
  }

  /** It turns out what it can write. Throws an ApiError when the tenant may not have that much. */
  takeDisk(quota: Quota, disk: number): void {
    // Within what the tenant may have: asked for, given back, and taken as a part of the whole.
    quota.take({ disk }).release();
    this.share.change({ disk });
  }

  private armLife(): void {
    const left = (this.expires ?? 0) - Date.now();
    this.lifeTimer = setTimeout(
      () => {
        if (left > LONGEST) this.armLife();
        else this.stop('expired').catch(this.owner.failed);
      },
      Math.min(Math.max(0, left), LONGEST),
    );
    this.lifeTimer.unref();
  }

  /** Makes it. Resolves when commands can be run; rejected with why it does not come up, and it has ended then. */
  async begin(make: (hooks: MakingHooks) => Promise<Vm>, commandOf: () => MachineCommand | undefined): Promise<void> {
    let vm: Vm;
    try {
      vm = await make({
        signal: this.making.signal,
        onSerial: (bytes) => this.serial.add(bytes),
        onFrame: (news) => this.screen?.frame(news),
        onProgress: (text) => {
          if (text === this.progress) return;
          this.progress = text;
          this.owner.changed(this);
        },
      });
    } catch (error) {
      this.finish(this.asked ?? 'failed', this.owner.reason(error));
      throw error;
    }
    this.vmNow = vm;
    this.progress = undefined;
    if (this.making.signal.aborted) {
      await vm.stop();
      this.finish(this.asked ?? 'stopped');
      throw new ApiError('gone', `the machine ${this.name} was stopped while it started`);
    }
    if (hasScreen(vm)) this.screen = new MachineScreen(this.name, () => this.vmNow?.machine);
    this.ready = Date.now();
    this.stateNow = 'running';
    vm.exited.then(
      (exit) =>
        this.finish(exit.kind === 'stopped' || this.asked !== undefined ? (this.asked ?? 'stopped') : exit.kind),
      (error: unknown) => this.finish('failed', this.owner.reason(error)),
    );
    const command = commandOf();
    if (command) this.runCommand(vm, command);
    this.owner.changed(this);
  }

  private runCommand(vm: Vm, { line, options }: MachineCommand): void {
    const output = new OutputLog(LOG);
    this.output = output;
    const shown = typeof line === 'string' ? ['/bin/sh', '-c', line] : [...line];
    this.command = { line: shown };
    const settle = (
      end: { readonly exitCode: number; readonly signal?: string | undefined },
      message?: string,
    ): void => {
      const { exitCode, signal } = end;
      this.command = { line: shown, exitCode, ...(signal !== undefined && { signal }) };
      if (message !== undefined) output.add(Buffer.from(`${message}\n`));
      this.finishCommand().catch(this.owner.failed);
    };
    let process: GuestProcess;
    try {
      process = vm.spawn(line, options);
    } catch (error) {
      settle({ exitCode: 127 }, error instanceof Error ? error.message : String(error));
      return;
    }
    process.end();
    const drain = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
      for await (const bytes of stream) output.add(bytes);
    };
    const drained = Promise.allSettled([drain(process.stdout), drain(process.stderr)]);
    process.exited.then(
      (status) => void drained.then(() => settle(status)),
      (error: unknown) => {
        // When the machine has ended there is nobody to say how the command did.
        if (this.stateNow === 'ended' || this.asked !== undefined) output.end();
        else settle({ exitCode: 127 }, error instanceof Error ? error.message : String(error));
      },
    );
  }

  private async finishCommand(): Promise<void> {
    this.asked ??= 'command-ended';
    if (this.description.keepsWrites) await this.vmNow?.shutdown({ grace: 1000 });
    else await this.vmNow?.stop();
  }

  private finish(kind: string, message?: string): void {
    if (this.stateNow === 'ended') return;
    this.stateNow = 'ended';
    this.endedAt = Date.now();
    this.exit = { kind, ...(message !== undefined && { message }) };
    clearTimeout(this.lifeTimer);
    for (const id of [...this.openPorts.keys()]) this.closePort(id);
    this.serial.end();
    this.output?.end();
    this.screen?.close();
    this.vmNow = undefined;
    this.share.release();
    this.markEnded();
    this.owner.ended(this);
    this.owner.changed(this);
  }

  /** The machine, which runs or stands still. Throws an ApiError. */
  get vm(): Vm {
    if (!this.vmNow) throw this.absence;
    return this.vmNow;
  }

  /** The machine, whose guest answers. Throws an ApiError. */
  get guest(): Vm {
    const { vm } = this;
    if (this.stateNow === 'paused') throw new ApiError('conflict', `the machine ${this.name} is paused`);
    return vm;
  }

  /** Throws an ApiError where it is not there yet, or no more. */
  assertThere(): void {
    if (!this.vmNow) throw this.absence;
  }

  private get absence(): ApiError {
    if (this.stateNow === 'ended') return new ApiError('gone', `the machine ${this.name} has ended`);
    return new ApiError('conflict', `the machine ${this.name} is still starting`);
  }

  /** Its machine while there is one. */
  get current(): Vm | undefined {
    return this.vmNow;
  }

  async pause(): Promise<void> {
    await this.vm.pause();
    if (this.stateNow !== 'running') return;
    this.stateNow = 'paused';
    this.owner.changed(this);
  }

  async resume(): Promise<void> {
    await this.vm.resume();
    if (this.stateNow !== 'paused') return;
    this.stateNow = 'running';
    this.owner.changed(this);
  }

  /** Ends it at once; resolves when it has. */
  async stop(why: 'stopped' | 'expired' = 'stopped'): Promise<void> {
    if (this.stateNow === 'ended') return;
    this.asked ??= why;
    const text = why === 'expired' ? 'has lived as long as it may' : 'was stopped';
    this.making.abort(new ApiError('gone', `the machine ${this.name} ${text}`));
    await this.vmNow?.stop();
    await this.over;
  }

  /** Has the guest end; resolves when it has. */
  async shutdown(grace: number | undefined): Promise<void> {
    const { vm } = this;
    if (this.stateNow === 'paused') await this.resume();
    this.asked ??= 'shutdown';
    await vm.shutdown(grace === undefined ? {} : { grace });
    await this.over;
  }

  // ---- ports ----

  get ports(): Port[] {
    return [...this.openPorts.values()].map(({ port }) => port);
  }

  /** `release` is called when it is closed. */
  addPort(forward: PortForward, guestPort: number, release: () => void = () => {}): Port {
    const id = this.nextPort++;
    const { hostAddress, hostPort } = forward;
    const port = { id, guestPort, hostAddress, hostPort };
    this.openPorts.set(id, { port, forward, release });
    this.owner.changed(this);
    return port;
  }

  /** False: there is none of that number. */
  closePort(id: number): boolean {
    const found = this.openPorts.get(id);
    if (!found) return false;
    this.openPorts.delete(id);
    found.forward.close();
    found.release();
    if (this.stateNow !== 'ended') this.owner.changed(this);
    return true;
  }

  get info(): MachineInfo {
    const { description, command, exit, progress } = this;
    const { name, image, origin, memory, cpus, display } = description;
    const facts = this.vmNow?.machine.facts;
    return {
      name,
      state: this.stateNow,
      created: iso(this.created),
      ...(this.ready !== undefined && { ready: iso(this.ready) }),
      ...(this.endedAt !== undefined && { ended: iso(this.endedAt) }),
      ...(this.expires !== undefined && this.stateNow !== 'ended' && { expires: iso(this.expires) }),
      ...(image !== undefined && { image }),
      ...(origin !== undefined && { origin }),
      memory: facts ? facts.memory / 2 ** 20 : memory,
      cpus: facts?.cpus ?? cpus,
      ...(facts && { accel: facts.accel }),
      display: display || this.screen !== undefined,
      ...(command && { command }),
      ...(exit && { exit }),
      ...(progress !== undefined && this.stateNow === 'starting' && { progress }),
      ports: this.ports,
    };
  }

  /** Milliseconds since its guest answered. */
  get uptime(): number {
    return this.ready === undefined ? 0 : (this.endedAt ?? Date.now()) - this.ready;
  }

  /** What it may have of the host's processors. */
  limit(shares: number, cap: number | undefined): void {
    try {
      this.vmNow?.machine.limit({ shares, cap });
    } catch (error) {
      // It ends at this moment.
      if (!(error instanceof VitrineError)) throw error;
    }
  }
}
