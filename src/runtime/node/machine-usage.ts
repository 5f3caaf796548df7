import { hostTime } from '../../host/node/clock.js';
import type { MachineUsage } from '../../vmm/qmp/machine.js';
import type { MachineHandle } from './machine-handle.js';

/** What a machine of this process does, for its monitor. */
export function usageOf({ facts, usage, limits }: MachineHandle): MachineUsage {
  const { user, system } = process.cpuUsage();
  return {
    pid: process.pid,
    accel: facts?.accel,
    cpus: facts?.cpus ?? 0,
    memory: facts?.memory ?? 0,
    now: hostTime.now(),
    threads: usage,
    processTime: (user + system) * 1000,
    limits,
  };
}
