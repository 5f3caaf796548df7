import { VitrineError } from '../base/errors.js';

/** A snapshot cannot be read: damaged, truncated, of a newer version, or none at all. The message is one line. */
export class SnapshotError extends VitrineError {
  override readonly name = 'SnapshotError';
}
