/** What the parts of the console share. */
import type { ApiClient } from '../../api/client.js';
import type { ServerInfo } from '../../api/schemas.js';
import type { Feed } from './feed.js';
import type { Notices } from './notices.js';

/** A part of the page. */
export interface View {
  readonly element: HTMLElement;
  /** It comes into sight. */
  show?(): void;
  /** It goes out of sight, and may come again. */
  hide?(): void;
  /** It is not needed any more. */
  close?(): void;
}

/** Whose server it is, and what leads there. */
export interface Session {
  readonly client: ApiClient;
  readonly feed: Feed;
  readonly notices: Notices;
  readonly info: ServerInfo;
}

export const machineLink = (name: string): string => `#/machines/${encodeURIComponent(name)}`;

/** The key that leads out of what takes all others: terminals and screens. */
export const isWayOut = (event: KeyboardEvent): boolean => event.ctrlKey && event.key === 'F6';
