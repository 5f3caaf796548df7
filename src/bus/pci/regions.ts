import { assert } from '../../base/assert.js';
import type { IoHandler } from '../../iface/bus.js';
import { allOnes } from './config-space.js';

interface Region {
  readonly start: number;
  readonly end: number;
  readonly handler: IoHandler;
}

/** Several register blocks behind one BAR. What lies between them reads all ones. */
export class Regions implements IoHandler {
  private readonly regions: Region[] = [];

  add(start: number, size: number, handler: IoHandler): void {
    const end = start + size;
    assert(!this.regions.some((other) => start < other.end && other.start < end), `region ${start} overlaps another`);
    this.regions.push({ start, end, handler });
  }

  read(offset: number, size: number): number {
    const region = this.find(offset);
    return region ? region.handler.read(offset - region.start, size) : allOnes(size);
  }

  write(offset: number, size: number, value: number): void {
    const region = this.find(offset);
    region?.handler.write(offset - region.start, size, value);
  }

  peek(offset: number, size: number): number {
    const region = this.find(offset);
    return region?.handler.peek?.(offset - region.start, size) ?? allOnes(size);
  }

  private find(offset: number): Region | undefined {
    return this.regions.find(({ start, end }) => offset >= start && offset < end);
  }
}
