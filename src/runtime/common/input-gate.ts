import type { InputEvent } from '../../iface/input.js';

/** Events that may wait for a machine that does not look at them. */
const MOST_WAITING = 256;

/**
 * Lets input through to a machine as long as the machine takes it. A machine that stands still would otherwise gather all that a
 * client can think of. What was pressed before is still released.
 */
export class InputGate {
  private readonly pressed = new Set<string>();
  private sent = 0;

  /** `taken` counts the events that the machine has taken so far, modulo 2**32. */
  constructor(private readonly taken: () => number) {}

  /** Whether the event is to be sent. */
  admit(event: InputEvent): boolean {
    const key = event.kind === 'key' ? event : undefined;
    const free = (this.sent - this.taken()) >>> 0 < MOST_WAITING;
    const releases = key && !key.down && this.pressed.has(key.code);
    if (!free && !releases) return false;
    if (key?.down) this.pressed.add(key.code);
    else if (key) this.pressed.delete(key.code);
    this.sent = (this.sent + 1) >>> 0;
    return true;
  }
}
