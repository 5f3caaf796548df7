import { KIB } from '../base/units.js';

/** Bytes for people. */
export function readableSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = bytes < KIB ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const number = bytes / 2 ** (10 * power);
  return `${Number.isInteger(number) ? number : number.toFixed(1)} ${units[power]}`;
}
