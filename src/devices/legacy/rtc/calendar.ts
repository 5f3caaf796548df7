/** Between milliseconds and the calendar bytes of an MC146818. */

/** Register B bits that say how the bytes are coded. */
export const CODING = { BINARY: 1 << 2, HOURS_24: 1 << 1 } as const;
/** Set in an hour of the 12-hour mode after noon. */
const PM = 0x80;

/** A point in time as the chip keeps it: bytes 0, 2, 4 … 9, and the century of CMOS byte 0x32. */
export interface Calendar {
  readonly second: number;
  readonly minute: number;
  readonly hour: number;
  /** 1 … 7, Sunday is 1. */
  readonly weekday: number;
  readonly day: number;
  readonly month: number;
  readonly year: number;
  readonly century: number;
}

const toBcd = (value: number): number => (Math.floor(value / 10) << 4) | (value % 10);
const fromBcd = (value: number): number => (value >> 4) * 10 + (value & 15);

const encode = (value: number, coding: number): number => (coding & CODING.BINARY ? value : toBcd(value));
const decode = (value: number, coding: number): number => (coding & CODING.BINARY ? value : fromBcd(value));

/** The bytes that show `time` (milliseconds since 1970-01-01 UTC). `shift` is added to the day of the week. */
export function encodeCalendar(time: number, coding: number, shift: number): Calendar {
  const date = new Date(time);
  const hours = date.getUTCHours();
  const hour =
    coding & CODING.HOURS_24
      ? encode(hours, coding)
      : encode(hours % 12 === 0 ? 12 : hours % 12, coding) | (hours >= 12 ? PM : 0);
  const year = date.getUTCFullYear();
  return {
    second: encode(date.getUTCSeconds(), coding),
    minute: encode(date.getUTCMinutes(), coding),
    hour,
    weekday: encode(((date.getUTCDay() + shift) % 7) + 1, coding),
    day: encode(date.getUTCDate(), coding),
    month: encode(date.getUTCMonth() + 1, coding),
    year: encode(year % 100, coding),
    century: encode(Math.floor(year / 100) % 100, coding),
  };
}

/** The time that the bytes show, and by how much their day of the week is off. Impossible dates are carried over. */
export function decodeCalendar(calendar: Calendar, coding: number): { time: number; shift: number } {
  let hour = decode(calendar.hour & (coding & CODING.HOURS_24 ? 0xff : ~PM), coding);
  if (!(coding & CODING.HOURS_24)) hour = (hour % 12) + (calendar.hour & PM ? 12 : 0);
  const date = new Date(0);
  // Not Date.UTC, which takes the years 0 … 99 for 1900 … 1999.
  date.setUTCFullYear(
    decode(calendar.century, coding) * 100 + decode(calendar.year, coding),
    decode(calendar.month, coding) - 1,
    decode(calendar.day, coding),
  );
  date.setUTCHours(hour, decode(calendar.minute, coding), decode(calendar.second, coding));
  const weekday = decode(calendar.weekday, coding) - 1;
  return { time: date.getTime(), shift: (((weekday - date.getUTCDay()) % 7) + 7) % 7 };
}
