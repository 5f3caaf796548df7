/** Moving a command's data between a drive and lists of pieces of guest memory. */
import { gpa, type Gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { AtaDrive, Operation } from './drive.js';

/** A piece of guest memory, and whether the host wants to be told that it was used. */
export interface Piece {
  readonly address: Gpa;
  /** Bytes, at least 1. */
  readonly length: number;
  readonly interrupt: boolean;
}

/**
 * A list of pieces of guest memory, used from front to back. Entries are asked for when they are reached, each once and one after the
 * other, so that a list costs no more than the bytes that go through it.
 */
export class ScatterList {
  private index = 0;
  private piece: Piece | undefined;
  private used = 0;
  /** Some of it was not in RAM. */
  fault = false;
  /** A piece that asks for an interrupt has been used up. */
  interrupt = false;
  /** Bytes that went through. */
  moved = 0;

  /** `entry` reads an entry of the list; undefined: it has ended. */
  constructor(
    private readonly dma: Dma,
    private readonly entry: (index: number) => Piece | undefined,
  ) {}

  /** Copies into guest memory, as much as there is room for. */
  write(bytes: Uint8Array): number {
    return this.move(bytes, (at, begin, count) => this.dma.write(at, bytes, begin, count));
  }

  /** Copies out of guest memory, as much as there is. */
  read(into: Uint8Array): number {
    return this.move(into, (at, begin, count) => this.dma.read(at, into, begin, count));
  }

  /** Whether a piece, or a part of one, is left. */
  get more(): boolean {
    return this.current() !== undefined;
  }

  private current(): Piece | undefined {
    return (this.piece ??= this.entry(this.index));
  }

  private move(bytes: Uint8Array, copy: (at: Gpa, begin: number, count: number) => boolean): number {
    let done = 0;
    while (done < bytes.length) {
      const piece = this.current();
      if (!piece) break;
      const count = Math.min(bytes.length - done, piece.length - this.used);
      if (!copy(gpa(piece.address + this.used), done, count)) this.fault = true;
      done += count;
      this.used += count;
      if (this.used === piece.length) {
        if (piece.interrupt) this.interrupt = true;
        this.piece = undefined;
        this.used = 0;
        this.index++;
      }
    }
    this.moved += done;
    return done;
  }
}

/** Calls `step` again and again, each time when the one before has called `next`; calls do not nest. */
export function repeat(step: (next: () => void) => void): void {
  for (let again = true; again;) {
    again = false;
    let returned = false;
    step(() => {
      if (returned) repeat(step);
      else again = true;
    });
    returned = true;
  }
}

/** How the movement of data ended: all of it; the list was too short; or the drive failed at a byte. */
export type MoveResult = 'done' | 'short' | 'failed';

export interface MoveRequest {
  readonly drive: AtaDrive;
  readonly operation: Operation;
  readonly list: ScatterList;
  /** Scratch memory: data move in pieces of its size, a multiple of any medium's blocks. */
  readonly buffer: Uint8Array;
  /** False after a reset: nothing is touched any more, nobody is told. */
  readonly current: () => boolean;
  /** Nobody is told, and the drive has done with the buffer. */
  readonly dropped?: () => void;
  /** `at`: bytes that moved before. */
  readonly done: (result: MoveResult, at: number) => void;
}

/** Moves all data of an operation. */
export function moveData({ drive, operation, list, buffer, current, dropped, done }: MoveRequest): void {
  const { length, direction } = operation;
  let at = 0;
  repeat((next) => {
    if (at >= length) {
      done('done', at);
      return;
    }
    const part = buffer.subarray(0, Math.min(buffer.length, length - at));
    const moved = (ok: boolean): void => {
      if (!current()) {
        dropped?.();
        return;
      }
      if (!ok) {
        done('failed', at);
        return;
      }
      const count = direction === 'in' ? list.write(part) : part.length;
      at += count;
      if (count < part.length) done('short', at);
      else next();
    };
    if (direction === 'in') drive.send(operation, at, part, moved);
    else if (list.read(part) < part.length) done('short', at);
    else drive.receive(operation, at, part, moved);
  });
}
