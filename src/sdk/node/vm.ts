/** A virtual machine as a program has it. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { UsageError, VitrineError } from '../../base/errors.js';
import type { AcceleratorName } from '../../runtime/node/accelerator-names.js';
import type { MachineHandle } from '../../runtime/node/machine-handle.js';
import { checkSharing } from '../../runtime/node/worker-kind.js';
import { keepSpareWorker } from '../../runtime/node/spare-worker.js';
import type { MachineStart } from '../../runtime/node/protocol.js';
import { furnish } from '../furnish.js';
import { forkIdentity, identityWords, type Identity } from '../identity.js';
import { checkText } from '../kinds.js';
import { LinuxGuest } from '../linux-guest.js';
import { readNote } from '../note.js';
import type { SerialPort } from '../serial.js';
import { checkCreate, checkFork, checkRestore } from './check-options.js';
import { Display } from './display.js';
import { HostGuestFiles } from './host-files.js';
import { NAMESERVER, prepareLaunch, type VmOptions } from './launch.js';
import type { Monitor } from './monitor.js';
import { PortForwards } from './ports.js';
import { pulledImage } from './pulled-image.js';
import { checkStart, startMachine, type StartedMachine, type StartOptions } from './start-machine.js';
import { hasTemplate, makeRoom, momentaryFile, settleTemplate, templateFile, templateTrouble } from './template.js';

/** A machine that is to be made. */
export interface CreateOptions extends VmOptions, StartOptions {
  /**
   * Begin with a machine of the same configuration as it was when it had started, saved the first time and kept in the cache:
   * a fraction of a second instead of a boot. Its memory is shared with others of the kind until it is written to. Its image and
   * disks are as they were, and what it writes to them goes with it.
   */
  readonly warm?: boolean;
}

/** How a saved machine goes on. */
export interface RestoreOptions extends StartOptions {
  /** Without it the best that works here; it need not be the one that the machine was saved on. */
  readonly accel?: AcceleratorName;
  /** Also where the guest misses features of the processor that it has seen. */
  readonly forceCpu?: boolean;
}

/** A machine that is to be as another one is. */
export interface ForkOptions extends RestoreOptions {
  /** What the fork is not to share with this one; what is not given is chosen. false: it is the same in everything. */
  readonly identity?: Identity | false;
}

/** Templates that are being made, and whether others can begin with them, or are to try themselves: false when they cannot be kept. */
const making = new Map<string, Promise<boolean>>();

const version = (): string => {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
};

/**
 * A virtual machine with Linux in it, in a worker of this process.
 *
 *   await using vm = await Vm.create();
 *   const { stdout } = await vm.exec('uname -a');
 */
export class Vm extends LinuxGuest<MachineHandle, HostGuestFiles> {
  /** Ports of this host that lead into the guest. */
  readonly ports: PortForwards;
  /** Its first serial port. */
  readonly serial: SerialPort;
  /** What happens to it, and what it does. */
  readonly monitor: Monitor;
  private screen: Display | undefined;

  private constructor({ machine, connection, serial, monitor }: StartedMachine) {
    const note = readNote(machine.facts?.note);
    super(machine, new HostGuestFiles(connection), { connection, note, time: () => Date.now() });
    this.serial = serial;
    this.monitor = monitor;
    this.ports = new PortForwards(connection);
    const ended = (): void => this.ports.close();
    machine.exited.then(ended, ended);
  }

  /** Boots a machine; resolves when commands can be run. Rejected with a one-line error when it cannot be. */
  static async create(options: CreateOptions = {}): Promise<Vm> {
    checkCreate(options);
    checkStart(options);
    if (options.warm) return Vm.createWarm(options);
    const { config, defaults } = await prepareLaunch(options, options.signal);
    const vm = await Vm.start({ kind: 'create', config }, options, options.accel);
    // An image that is its own init's, or whose writes are kept, is left as it is.
    if (options.image === undefined || options.init !== undefined || options.keepWrites) return vm;
    try {
      const nameserver = options.net === false ? undefined : NAMESERVER;
      await furnish(vm.fs, { hostname: vm.parts.note.hostname, nameserver, workdir: defaults.cwd });
      return vm;
    } catch (error) {
      await vm.stop();
      throw error;
    }
  }

  private static async createWarm({
    signal,
    onSerial,
    onFrame,
    bootTimeout,
    worker,
    warm: _,
    ...wanted
  }: CreateOptions): Promise<Vm> {
    const startOptions = {
      ...(signal && { signal }),
      ...(onSerial && { onSerial }),
      ...(onFrame && { onFrame }),
      ...(bootTimeout !== undefined && { bootTimeout }),
      ...(worker && { worker }),
    };
    if (worker !== 'shared') keepSpareWorker();
    const { image, ...others } = wanted;
    const { onProgress } = others;
    const root = typeof image === 'string' ? await pulledImage(image, { onProgress, signal }) : image;
    const rest = { ...others, ...(root && { image: root }) };
    const file = await templateFile(rest, version());
    let isStuck = false;
    for (;;) {
      // Another machine of this process may be making it. Nothing is waited for between a look at that and saying that this one does.
      const other = making.get(file);
      if (other) {
        if (await other) continue;
        return Vm.create({ ...rest, ...startOptions });
      }
      if (isStuck || !hasTemplate(file)) break;
      try {
        return await Vm.begin(file, startOptions, rest.accel);
      } catch (error) {
        // What the machine's own thread refuses: a template of another version, or a damaged one. It is made anew.
        if (!(error instanceof VitrineError) || error.name !== 'VitrineError') throw error;
        // In a cache that can only be read it stays, and none can be kept instead.
        await rm(file, { force: true }).catch(() => (isStuck = true));
      }
    }
    const work = Vm.makeTemplate(file, { ...rest, ...startOptions });
    const settled = work
      .then(
        ({ kept }) => kept,
        () => true,
      )
      .finally(() => making.delete(file));
    making.set(file, settled);
    return (await work).vm;
  }

  /** A machine that has booted, and whether it is the template of others from now on. */
  private static async makeTemplate(
    file: string,
    options: CreateOptions,
  ): Promise<{ readonly vm: Vm; readonly kept: boolean }> {
    const vm = await Vm.create(options);
    try {
      await makeRoom();
      await vm.machine.save(file, { template: true });
      await settleTemplate(file);
      return { vm, kept: true };
    } catch (error) {
      if (vm.over) throw error;
      // The cache is full, or can only be read. The machine runs; it took longer than it was to, that is all.
      options.onProgress?.({
        text: `started cold: the template for warm machines cannot be kept: ${templateTrouble(error)}`,
      });
      return { vm, kept: false };
    }
  }

  /** A machine that begins with a template. */
  private static begin(file: string, options: StartOptions, accel: AcceleratorName | undefined): Promise<Vm> {
    return Vm.start({ kind: 'resume', file, template: true }, options, accel);
  }

  /** Goes on with a machine that `snapshot` saved, at the moment of its save. The file is not used afterwards. */
  static async restore(file: string, options: RestoreOptions = {}): Promise<Vm> {
    checkText(file, 'a file');
    checkRestore(options);
    checkStart(options);
    const { forceCpu } = options;
    const start: MachineStart = { kind: 'resume', file, ...(forceCpu !== undefined && { forceCpu }) };
    return Vm.start(start, options, options.accel);
  }

  private static async start(
    start: MachineStart,
    options: StartOptions,
    accel: AcceleratorName | undefined,
    identity?: readonly string[],
  ): Promise<Vm> {
    return new Vm(await startMachine(start, { ...options, ...(accel && { accel }), version: version(), identity }));
  }

  /** Its screen. Throws a UsageError when it was made without one. */
  get display(): Display {
    if (!this.parts.note.display) throw new UsageError('this machine has no screen: it was made without "display"');
    return (this.screen ??= new Display(this.machine));
  }

  override async pause(): Promise<void> {
    await super.pause();
    this.monitor.tell({ kind: 'paused' });
  }

  override async resume(): Promise<void> {
    await super.resume();
    this.monitor.tell({ kind: 'resumed' });
  }

  /** Saves the machine to a file, for `Vm.restore`; it goes on afterwards. The file is this user's only: it holds all memory. */
  async snapshot(file: string): Promise<void> {
    checkText(file, 'a file');
    await this.orGone(this.machine.save(file));
  }

  /**
   * A second machine that is as this one is now; both go on. They share the memory that neither of them writes to. Its disks are
   * temporary or read-only. Unless told otherwise it has another name than this one, another id of its machine and another hardware address.
   */
  async fork(options: ForkOptions = {}): Promise<Vm> {
    checkFork(options);
    const { identity, ...given } = options;
    const rest = { ...given, worker: given.worker ?? this.machine.worker };
    checkStart(rest);
    const words =
      identity === false
        ? undefined
        : identityWords(forkIdentity(this.parts.note, randomBytes, identity), this.parts.note);
    const { forceCpu, accel = this.machine.facts?.accel } = rest;
    if (rest.worker === 'own') keepSpareWorker();
    else checkSharing({ accel, cpus: this.machine.facts?.cpus });
    const branch = await this.orGone(this.machine.branch());
    const forced = forceCpu !== undefined && { forceCpu };
    if (branch) return Vm.start({ kind: 'branch', branch, ...forced }, rest, accel, words);
    const file = await momentaryFile();
    try {
      await this.orGone(this.machine.save(file, { template: true, momentary: true }));
      return await Vm.start({ kind: 'resume', file, template: true, ...forced }, rest, accel, words);
    } finally {
      await rm(file, { force: true });
    }
  }

  override stop(): Promise<void> {
    this.ports.close();
    return super.stop();
  }
}
