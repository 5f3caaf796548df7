/** Cards that are put into a machine while it runs, on boards that have slots for them. */
import type { BlockBackend } from '../../iface/block.js';
import type { BoardNic } from './nics.js';
import type { BoardShare } from './sharing.js';

/** A card and what it is connected to, which outlives it. */
export type BoardCard = {
  /** Unique among all cards of the machine. */
  readonly id: string;
  /** One of the board's hot-plug slots. */
  readonly slot: number;
} & (
  | {
      readonly kind: 'disk';
      readonly backend: BlockBackend;
      /** 1 … 16. */
      readonly queues: number;
      /** What the guest reads as the serial number; absent: that of the back end. */
      readonly serial?: string | undefined;
    }
  | { readonly kind: 'nic'; readonly nic: BoardNic }
  | { readonly kind: 'entropy' }
  | { readonly kind: 'share'; readonly share: BoardShare }
);

/** The slots of a board that cards can be put into and taken out of while it runs. */
export interface HotplugSlots {
  /** By number, ascending. */
  readonly slots: readonly number[];
  /** The lowest one without a card. */
  readonly free: number | undefined;
  /** Puts a card into its slot, which is empty, and tells the guest. */
  plug(card: BoardCard): void;
  /** Asks the guest to let go of a card; what comes of it is the guest's affair. Can be asked again. */
  requestUnplug(id: string): void;
  /** Takes a card out at once, whatever the guest makes of that: when power is off. */
  takeOut(id: string): void;
  /** Cards that the guest was asked to let go of, and has not yet: a reset takes them out. */
  readonly leaving: readonly string[];
}
