/** Fields of tar's headers: POSIX.1-2017 "pax", and GNU tar's manual, "Basic Tar Format". */
import type { ByteString, Timestamp } from '../block/ext4/tree.js';
import { OciError } from './errors.js';

const damaged = (what: string): OciError => new OciError('damaged', `the archive is damaged: ${what}`);

/** Bytes up to the first NUL. */
export function textField(header: Uint8Array, at: number, length: number): ByteString {
  let end = at;
  while (end < at + length && header[end] !== 0) end++;
  return latin1(header.subarray(at, end));
}

export function latin1(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** A number in octal digits between blanks; or, with the first bit set, in two's complement (GNU tar). */
export function numberField(header: Uint8Array, at: number, length: number): number {
  const first = header[at];
  if ((first & 0x80) !== 0) {
    // Bit 6 is the sign.
    let value = (first & 0x40) !== 0 ? first - 0x100 : first & 0x3f;
    for (let i = 1; i < length; i++) value = value * 256 + header[at + i];
    if (!Number.isSafeInteger(value)) throw damaged('a number in it is too large');
    return value;
  }
  const text = textField(header, at, length).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw damaged('a number in it is none');
  return Number.parseInt(text, 8);
}

/** Whether the sum of a header's bytes is what it says; its own field counts as blanks. */
export function checksumMatches(header: Uint8Array): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < 512; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : header[i];
    unsigned += byte;
    // What some old programs add up.
    signed += (byte << 24) >> 24;
  }
  const text = textField(header, 148, 8).trim();
  const sum = /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : NaN;
  return sum === unsigned || sum === signed;
}

/** Records of a pax header: "LENGTH KEY=VALUE\n" each, the length in bytes and of all of it. */
export function paxRecords(bytes: Uint8Array): [key: string, value: Uint8Array][] {
  const records: [string, Uint8Array][] = [];
  for (let at = 0; at < bytes.length;) {
    let digits = at;
    while (digits < bytes.length && digits - at < 10 && bytes[digits] >= 0x30 && bytes[digits] <= 0x39) digits++;
    const length = Number(latin1(bytes.subarray(at, digits)));
    const end = at + length;
    const equals = bytes.indexOf(0x3d, digits);
    const whole = digits > at && bytes[digits] === 0x20 && end <= bytes.length && bytes[end - 1] === 0x0a;
    if (!whole || equals <= digits + 1 || equals >= end) throw damaged('a record of a pax header is none');
    records.push([latin1(bytes.subarray(digits + 1, equals)), bytes.slice(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** Decimal digits of a pax record. */
export function paxNumber(value: Uint8Array): number {
  const text = latin1(value);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw damaged(`${text.slice(0, 40)} is no number`);
  return Number(text);
}

/** Seconds with a fraction, which may be negative. */
export function paxTime(value: Uint8Array): Timestamp {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(latin1(value));
  if (!match) throw damaged('a time in it is none');
  const [, sign, whole, fraction = ''] = match;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (sign === '') return { seconds: Number(whole), nanoseconds };
  return nanoseconds === 0
    ? { seconds: -Number(whole), nanoseconds }
    : { seconds: -Number(whole) - 1, nanoseconds: 1e9 - nanoseconds };
}
