/** A virtual machine as a program in a page has it. */
import { HostError, UsageError, VitrineError } from '../../base/errors.js';
import { openFile, removeFile } from '../../host/browser/files.js';
import { BrowserMachine } from '../../runtime/browser/machine-handle.js';
import type { AcceleratorName, Frame, MachineStart, PageParts } from '../../runtime/browser/protocol.js';
import { version } from '../../runtime/browser/version.js';
import { AgentConnection, AgentGoneError } from '../agent/connection.js';
import { AGENT_PORT } from '../agent/protocol.js';
import { BOOT_TIMEOUT, describeExit, lastWords } from '../boot.js';
import { after } from '../deadline.js';
import { asError, VmError } from '../errors.js';
import { GuestFiles } from '../files.js';
import { forkIdentity, identityWords, type Identity } from '../identity.js';
import { LinuxGuest, type GuestParts } from '../linux-guest.js';
import { readNote } from '../note.js';
import { SerialPort } from '../serial.js';
import { prepareLaunch, type VmOptions } from './launch.js';

/** What every start of a machine takes. */
export interface StartOptions {
  /** Where Vitrine's files are served: the folder with `runtime/`, `cpu/` and `agent/`. Two above the file of this module unless given. */
  readonly files?: string | URL;
  readonly accel?: AcceleratorName;
  /** False: everything on one worker, even where more is possible. */
  readonly threads?: boolean;
  /** Milliseconds until the guest must answer; 120,000 unless given. */
  readonly bootTimeout?: number;
  /** Aborted: what was started so far is stopped, and the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** What the guest writes to its first serial port: its kernel's messages. */
  readonly onSerial?: (bytes: Uint8Array) => void;
  /** What has changed on the screen: the answer to `vm.machine.requestFrame()`. */
  readonly onFrame?: (frame: Frame) => void;
  /** Something worth telling the user, in a line or more. */
  readonly onReport?: (text: string) => void;
}

/** A machine that is to be made. */
export interface CreateOptions extends VmOptions, StartOptions {}

/** How a saved machine goes on. */
export interface RestoreOptions extends StartOptions {
  /** What its disks and networks need, as `create` was given: images that were chosen, a relay. */
  readonly parts?: PageParts;
}

/** A machine that is to be as another one is. */
export interface ForkOptions extends StartOptions {
  /** What the fork is not to share with this one; what is not given is chosen. false: it is the same in everything. */
  readonly identity?: Identity | false;
}

const random = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));

/**
 * A virtual machine with Linux in it, in workers of this page.
 *
 *   await using vm = await Vm.create();
 *   const { stdout } = await vm.exec('uname -a');
 */
export class Vm extends LinuxGuest<BrowserMachine> {
  private constructor(
    machine: BrowserMachine,
    parts: GuestParts,
    /** What its disks and networks need, and where Vitrine's files are, for forks. */
    private readonly begun: { readonly parts: PageParts; readonly options: StartOptions },
  ) {
    super(machine, new GuestFiles(parts.connection), parts);
  }

  /** Boots a machine; resolves when commands can be run. Rejected with a one-line error when it cannot be. */
  static async create(options: CreateOptions = {}): Promise<Vm> {
    options.signal?.throwIfAborted();
    const { config, parts } = await prepareLaunch(options, baseOf(options), options.signal);
    return Vm.start({ kind: 'create', config }, parts, options);
  }

  /**
   * Goes on with a machine at the moment of its save: a file in the page's storage by its name (`snapshot`), or a file from anywhere, such as one
   * that Node has written.
   */
  static async restore(snapshot: string | Blob, options: RestoreOptions = {}): Promise<Vm> {
    options.signal?.throwIfAborted();
    const file = typeof snapshot === 'string' ? await openFile(snapshot) : snapshot;
    const name = typeof snapshot === 'string' ? snapshot : snapshot instanceof File ? snapshot.name : 'the snapshot';
    if (!file) throw new HostError(`there is no snapshot ${name} in this page's storage`);
    return Vm.start({ kind: 'resume', name, file }, options.parts ?? {}, options);
  }

  private static async start(start: MachineStart, parts: PageParts, options: StartOptions): Promise<Vm> {
    const { signal, onSerial, onFrame, onReport, bootTimeout = BOOT_TIMEOUT, accel, threads } = options;
    signal?.throwIfAborted();
    if (!(bootTimeout > 0)) throw new UsageError(`a boot timeout of ${bootTimeout} ms`);
    const serial = new SerialPort();
    if (onSerial) serial.onData(onSerial);
    const late: { connection?: AgentConnection } = {};
    const machine = new BrowserMachine(
      start,
      {
        output: (channel, bytes, done) => {
          if (channel === 'serial') serial.receive(bytes);
          done();
        },
        ...(onFrame && { frame: onFrame }),
        ...(onReport && { report: onReport }),
        reset: () => late.connection?.machineReset(),
      },
      {
        version,
        parts,
        workers: new URL('runtime/browser/', baseOf(options)),
        ...(accel && { accel }),
        ...(threads !== undefined && { threads }),
      },
    );
    const end = machine.exited.then(
      (exit) => new VmError(`the machine has ended: ${describeExit(exit)}; ${lastWords(serial)}`),
      asError,
    );
    const gone = machine.exited.then(
      (exit) => new AgentGoneError(`the machine has ended: ${describeExit(exit)}`),
      (error: unknown) => new AgentGoneError(`the machine broke: ${asError(error).message}`, { cause: error }),
    );
    const settled = new AbortController();
    const trouble = new Promise<never>((_, reject) => {
      void end.then(reject);
      const timer = after(bootTimeout, () => {
        reject(new VmError(`the guest did not answer within ${bootTimeout} ms; ${lastWords(serial)}`));
      });
      settled.signal.addEventListener('abort', () => clearTimeout(timer));
      signal?.addEventListener('abort', () => reject(asError(signal.reason)), { signal: settled.signal });
    });
    // It may come when nobody waits any more.
    trouble.catch(() => undefined);
    try {
      const { note } = await Promise.race([machine.started, trouble]);
      const connection = new AgentConnection(
        (listener) => {
          const stream = machine.connectPort(AGENT_PORT, listener);
          if (!stream) throw new VmError('this machine was made without the port of an agent');
          return stream;
        },
        {
          time: () => Date.now(),
          random,
          why: () => gone,
        },
        start.kind === 'resume',
      );
      late.connection = connection;
      void gone.then((error) => connection.fail(error));
      await Promise.race([connection.ready, trouble]);
      const guest = { connection, note: readNote(note), time: () => Date.now() };
      return new Vm(machine, guest, { parts, options });
    } catch (error) {
      machine.stop();
      await end;
      throw error;
    } finally {
      settled.abort();
    }
  }

  /** Saves the machine into the page's storage, for `Vm.restore`; it goes on afterwards. */
  snapshot(name: string): Promise<void> {
    return this.orGone(this.machine.save(name));
  }

  /**
   * A second machine that is as this one is now; both go on. It takes as long as a save and a restore, by way of a file in the page's storage
   * that is removed again. Its disks are temporary, read-only, on servers or chosen files. Unless told otherwise it has another name than this
   * one, another id of its machine and another hardware address.
   */
  async fork({ identity, ...options }: ForkOptions = {}): Promise<Vm> {
    options.signal?.throwIfAborted();
    const { note } = this.parts;
    const own = identity === false ? {} : forkIdentity(note, random, identity);
    // Before anything is begun.
    identityWords(own, note);
    const { parts, options: begun } = this.begun;
    const file = `.fork-${crypto.randomUUID()}`;
    try {
      await this.orGone(this.machine.save(file));
      const { files, threads, accel } = begun;
      const same = {
        ...(files !== undefined && { files }),
        ...(threads !== undefined && { threads }),
        ...(accel && { accel }),
      };
      const fork = await Vm.restore(file, { ...same, ...options, parts });
      await fork.identify(own).catch(async (error: unknown) => {
        await fork.stop();
        throw error;
      });
      return fork;
    } finally {
      await removeFile(file).catch(() => undefined);
    }
  }
}

function baseOf({ files }: StartOptions): URL {
  const given = files === undefined ? new URL('../../', import.meta.url).href : new URL(files, location.href).href;
  const base = new URL(given.endsWith('/') ? given : `${given}/`);
  // Workers come from the page's own server, whatever browsers let scripts do.
  if (base.origin !== location.origin)
    throw new VitrineError(
      `Vitrine's files have to be on ${location.origin}, the page's own server, not on ${base.origin}`,
    );
  return base;
}
