import type { Plain, Schema } from './schema.js';

/**
 * Anything whose state is saved with the machine. There is no default: a part that is forgotten does not compile.
 *
 * `version` counts changes of the state's shape, from 1. `restore` is handed data of the current version that the
 * schema has accepted; older data passes through `upgrade` first.
 */
export interface Snapshotable<S extends Plain = Plain> {
  /** Unique within the machine and stable between versions: `serial0`, `pci.virtio-blk0`. */
  readonly id: string;
  readonly stateVersion: number;
  readonly stateSchema: Schema<S>;
  /** A copy of the state: later changes of the device do not show in it. */
  save(): S;
  /** Puts the device into a saved state, output lines included. The lines' receivers restore themselves. */
  restore(state: S): void;
  /** Brings data of an older version to the current one. Needed from version 2 on. */
  upgrade?(state: Plain, fromVersion: number): Plain;
}
