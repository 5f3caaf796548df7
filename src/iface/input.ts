/** What a user does with keyboard and pointer. */

/** Buttons of a pointer, as bits. */
export const BUTTON = { LEFT: 1 << 0, RIGHT: 1 << 1, MIDDLE: 1 << 2, SIDE: 1 << 3, EXTRA: 1 << 4 } as const;

/** The far edge of a screen in coordinates that do not depend on its size; the near one is 0. */
export const POINTER_RANGE = 0x7fff;

/** What a user does with keyboard and pointer. */
export type InputEvent =
  /** A key by its name in W3C UI Events KeyboardEvent code values. Repetition comes as further `down`s. */
  | { readonly kind: 'key'; readonly code: string; readonly down: boolean }
  /** The pointer is there, 0 … POINTER_RANGE each way, with these buttons held. */
  | { readonly kind: 'point'; readonly x: number; readonly y: number; readonly buttons: number }
  /** Steps of the wheel: down and right positive. */
  | { readonly kind: 'wheel'; readonly vertical: number; readonly horizontal: number };
