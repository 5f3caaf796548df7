/** What happens to a machine, and what it does, as a program sees it. */
import type { MachineHandle } from '../../runtime/node/machine-handle.js';
import type { AcceleratorName } from '../../runtime/node/accelerator-names.js';
import type { CpuUsage } from '../../runtime/node/scheduler.js';
import type { Inspection } from '../../vmm/inspect.js';
import type { MachineExit } from '../../vmm/machine.js';
import { asError } from '../errors.js';
import { checkListener } from '../kinds.js';

/** Something that happens to a machine. */
export type VmEvent =
  /** The machine stands still, or goes on. */
  | { readonly kind: 'paused' }
  | { readonly kind: 'resumed' }
  /** It was reset, and boots again. */
  | { readonly kind: 'reset' }
  /** Something worth knowing, as one line or more. */
  | { readonly kind: 'report'; readonly text: string }
  /** The last one: it has ended. */
  | { readonly kind: 'exit'; readonly exit: MachineExit }
  /** The last one: it broke. */
  | { readonly kind: 'error'; readonly error: Error };

/** What a machine has done so far. */
export interface Metrics {
  /** Milliseconds since the machine was started here. */
  readonly uptime: number;
  readonly accel: AcceleratorName | undefined;
  /** Bytes of the guest's memory. */
  readonly memory: number;
  /** What each CPU has done so far; all of them together where they are on one thread. */
  readonly cpus: readonly CpuUsage[];
}

/** Events that wait for whoever iterates; older ones are lost. */
const MOST_WAITING = 1000;

/** What happens to a machine, and what it does: `vm.monitor`. */
export class Monitor {
  private readonly listeners = new Set<(event: VmEvent) => void>();
  private readonly since = performance.now();
  private machine: MachineHandle | undefined;
  private last: VmEvent | undefined;

  /** @internal */
  connect(machine: MachineHandle): void {
    this.machine = machine;
    machine.exited.then(
      (exit) => this.tell({ kind: 'exit', exit }),
      (error: unknown) => this.tell({ kind: 'error', error: asError(error) }),
    );
  }

  /** @internal */
  tell(event: VmEvent): void {
    if (event.kind === 'exit' || event.kind === 'error') this.last = event;
    for (const listener of [...this.listeners]) listener(event);
    if (this.last) this.listeners.clear();
  }

  /** Tells of events from now on, until the result is called. A machine that has ended tells so once more. */
  on(listener: (event: VmEvent) => void): () => void {
    checkListener(listener);
    const { last } = this;
    if (last) queueMicrotask(() => listener(last));
    else this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Events from now on, to the end of the machine. Ends when the signal is aborted, too, with its reason as an error. */
  async *events({ signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<VmEvent, void, undefined> {
    const waiting: VmEvent[] = [];
    let wake = (): void => {};
    const off = this.on((event) => {
      waiting.push(event);
      if (waiting.length > MOST_WAITING) waiting.shift();
      wake();
    });
    const aborted = (): void => wake();
    signal?.addEventListener('abort', aborted);
    try {
      for (;;) {
        signal?.throwIfAborted();
        const event = waiting.shift();
        if (!event) {
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        yield event;
        if (event.kind === 'exit' || event.kind === 'error') return;
      }
    } finally {
      off();
      signal?.removeEventListener('abort', aborted);
    }
  }

  /** What the machine has done so far. */
  get metrics(): Metrics {
    const { machine } = this;
    return {
      uptime: performance.now() - this.since,
      accel: machine?.facts?.accel,
      memory: machine?.facts?.memory ?? 0,
      cpus: machine?.usage ?? [],
    };
  }

  /** What the machine has: CPUs, disks, cards. */
  async inspect(): Promise<Inspection> {
    if (!this.machine) throw new Error('a monitor of no machine');
    return this.machine.inspect();
  }
}
