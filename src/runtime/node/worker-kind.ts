import { UsageError } from '../../base/errors.js';

/** Whose worker a machine is in. */
export type WorkerKind = 'own' | 'shared';

const SHARES = 'a machine that shares its worker';

/** What a machine is to have of that which one in a shared worker cannot, or not all of. */
interface Wanted {
  readonly accel?: string | undefined;
  readonly cpus?: number | undefined;
  readonly trace?: object | undefined;
  readonly startStopped?: boolean | undefined;
  readonly group?: string | undefined;
  /** Processors that it keeps to. */
  readonly pin?: readonly number[] | undefined;
}

/** Throws a UsageError where a machine cannot share its worker. */
export function checkSharing({ accel, cpus = 1, trace, startStopped, group, pin }: Wanted): void {
  if (cpus > 1) throw new UsageError(`${SHARES} has one CPU`);
  if (accel === 'kvm') throw new UsageError(`${SHARES} runs on wasm or interp`);
  if (trace || startStopped) throw new UsageError(`${SHARES} can neither be traced nor wait for a debugger`);
  if (group !== undefined) throw new UsageError(`${SHARES} is in no CPU group`);
  if (pin) throw new UsageError(`${SHARES} cannot be pinned`);
}
