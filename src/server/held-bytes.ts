/** Bytes that a tenant's requests keep in the server's memory at a time: what comes with them, and what they are answered. */
import { ApiError } from '../api/errors.js';

export class HeldBytes {
  private held = 0;

  constructor(private readonly most: number) {}

  get now(): number {
    return this.held;
  }

  /** What one request keeps, until it is over. */
  hold(): HeldPart {
    let part = 0;
    let over = false;
    return {
      add: (bytes) => {
        if (over) return;
        if (this.held + bytes > this.most)
          throw new ApiError('limit', `your requests keep more than ${this.most} bytes at a time`);
        this.held += bytes;
        part += bytes;
      },
      release: () => {
        over = true;
        this.held -= part;
        part = 0;
      },
    };
  }
}

export interface HeldPart {
  /** Throws an ApiError (`limit`) when that is too much. */
  add(bytes: number): void;
  release(): void;
}
