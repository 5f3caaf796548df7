/** 9P2000.L messages as a guest makes them, for tests. */
import { fields } from './fuse-messages.js';

export const u16le = (value: number): Uint8Array => Uint8Array.of(value, value >> 8);

/** len[2] and so many bytes. */
export const p9Text = (value: string): Uint8Array => Buffer.concat([u16le(value.length), Buffer.from(value, 'latin1')]);

/** A request with its header, tag 9. */
export function p9Message(type: number, ...values: Parameters<typeof fields>): Uint8Array {
  const body = fields(...values);
  return fields(7 + body.length, Uint8Array.of(type), u16le(9), body);
}
