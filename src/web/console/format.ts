/** Figures as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes, with three digits or so. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export const formatMemory = (mib: number): string => formatBytes(mib * 2 ** 20);

/** A count, with three digits or so. */
export function formatCount(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e8 ? 0 : 1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(value >= 1e5 ? 0 : 1)} k`;
  return value >= 100 ? String(Math.round(value)) : value.toFixed(value >= 10 ? 0 : 1);
}

/** How long ago that was, ISO 8601. */
export function formatAge(since: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(since)) / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** When that was, ISO 8601, where the reader is. */
export const formatTime = (iso: string): string => new Date(iso).toLocaleString();

/** For names of what is made by a click: 20260131-235959, UTC. */
export const stamp = (now = new Date()): string =>
  now
    .toISOString()
    .replace(/[-:]|\..*$/g, '')
    .replace('T', '-');
