/** What this process may have of its host. */
import { readFileSync } from 'node:fs';

/** Descriptors that it may have open (proc(5), /proc/PID/limits); infinite where that cannot be told. */
export function mostFiles(file = '/proc/self/limits'): number {
  try {
    const told = /^Max open files +(\d+)/m.exec(readFileSync(file, 'utf8'))?.[1];
    return told === undefined ? Infinity : Number(told);
  } catch {
    // Other systems have no such file.
    return Infinity;
  }
}
