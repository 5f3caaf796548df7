/** How much memory this host has left, so that machines are refused before the kernel ends the server. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

const MIB = 2 ** 20;

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Other systems have none; a control group may have no limit.
    return undefined;
  }
}

/** What is left below the limits of this process's control group and those above it (cgroup-v2, "Memory Interface Files"); bytes. */
function leftOfGroups(root: string, group: string): number {
  let left = Infinity;
  for (let folder = path.join(root, group); folder.startsWith(root); folder = path.dirname(folder)) {
    const limit = Number(read(path.join(folder, 'memory.max')) ?? NaN);
    const used = Number(read(path.join(folder, 'memory.current')) ?? NaN);
    // What was read of files and lies idle is given up first.
    const idle = Number(/^inactive_file (\d+)$/m.exec(read(path.join(folder, 'memory.stat')) ?? '')?.[1] ?? 0);
    if (Number.isFinite(limit) && Number.isFinite(used)) left = Math.min(left, limit - used + idle);
  }
  return left;
}

/** MiB that programs can have yet (proc(5), MemAvailable); undefined where that cannot be told. */
export function availableMemory(
  files = { meminfo: '/proc/meminfo', self: '/proc/self/cgroup', groups: '/sys/fs/cgroup' },
): number | undefined {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(read(files.meminfo) ?? '')?.[1];
  if (available === undefined) return undefined;
  const group = /^0::(\/.*)$/m.exec(read(files.self) ?? '')?.[1] ?? '/';
  return Math.max(0, Math.floor(Math.min(Number(available) * 1024, leftOfGroups(files.groups, group)) / MIB));
}
