/** Framing of the gdb remote serial protocol, gdb manual §E.1. */

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Undefined when it is not pairs of hexadecimal digits. */
export function unhex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

function checksum(data: string): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (sum + data.charCodeAt(i)) & 0xff;
  return sum;
}

/** `$data#checksum`, with `}`, `$`, `#` and `*` escaped. */
export function frame(data: string): Uint8Array {
  const escaped = data.replace(/[}$#*]/g, (c) => `}${String.fromCharCode(c.charCodeAt(0) ^ 0x20)}`);
  return Uint8Array.from(`$${escaped}#${checksum(escaped).toString(16).padStart(2, '0')}`, (c) => c.charCodeAt(0));
}

export const ACK = encoder.encode('+');
export const NAK = encoder.encode('-');

/** What arrives: a packet with a good or a bad checksum, or the interrupt byte. */
export type GdbInput =
  | { readonly kind: 'packet'; readonly data: string }
  | { readonly kind: 'damaged' }
  | { readonly kind: 'interrupt' };

/** Ctrl-C as gdb sends it. */
const INTERRUPT = '\u0003';

/** More than any packet that we accept; a sender that goes on is cut off. */
const MAX_PACKET = 64 * 1024;

/** Cuts a byte stream into packets. Bytes stand for characters one to one (latin1). */
export class PacketReader {
  private buffer = '';

  push(bytes: Uint8Array): GdbInput[] {
    this.buffer += decoder.decode(bytes);
    const found: GdbInput[] = [];
    for (;;) {
      const starts = [this.buffer.indexOf('$'), this.buffer.indexOf(INTERRUPT)].filter((at) => at >= 0);
      const start = starts.length > 0 ? Math.min(...starts) : -1;
      if (start < 0) {
        this.buffer = '';
        return found;
      }
      if (this.buffer[start] === INTERRUPT) {
        found.push({ kind: 'interrupt' });
        this.buffer = this.buffer.slice(start + 1);
        continue;
      }
      const end = this.buffer.indexOf('#', start);
      if (end < 0 || end + 2 >= this.buffer.length) {
        if (this.buffer.length > MAX_PACKET) this.buffer = '';
        return found;
      }
      const body = this.buffer.slice(start + 1, end);
      const sum = checksum(body);
      const good = parseInt(this.buffer.slice(end + 1, end + 3), 16) === sum;
      this.buffer = this.buffer.slice(end + 3);
      const data = body.replace(/}([\s\S])/g, (_, c: string) => String.fromCharCode(c.charCodeAt(0) ^ 0x20));
      found.push(good ? { kind: 'packet', data } : { kind: 'damaged' });
    }
  }
}
