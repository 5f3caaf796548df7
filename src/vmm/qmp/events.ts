/** What a monitor's clients are told without asking. */
import type { Json } from './json-text.js';
import { BOOL, NOTHING, object, oneOf, STR } from './types.js';

const CAUSE = [
  'host-qmp-quit',
  'host-qmp-system-reset',
  'host-signal',
  'host-ui',
  'guest-shutdown',
  'guest-reset',
  'guest-panic',
];
const WITH_CAUSE = object({ guest: BOOL, reason: oneOf(...CAUSE) });

/** By name, the shapes of their data. */
export const EVENTS = {
  DEVICE_DELETED: object({ 'device?': STR, path: STR }),
  DEVICE_TRAY_MOVED: object({ device: STR, id: STR, 'tray-open': BOOL }),
  POWERDOWN: NOTHING,
  RESET: WITH_CAUSE,
  RESUME: NOTHING,
  SHUTDOWN: WITH_CAUSE,
  STOP: NOTHING,
} as const;

export interface QmpEvent {
  readonly name: keyof typeof EVENTS;
  readonly data?: { readonly [key: string]: Json };
  /** Milliseconds since 1970. */
  readonly time: number;
}
