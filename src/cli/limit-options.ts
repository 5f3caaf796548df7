/** Options for what a machine may have of the host's processors. */
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { checkCpuLimits } from '../runtime/node/scheduler.js';
import { NO_LIMITS, readProcessors, type CpuLimits } from '../vmm/sched/settings.js';

export interface LimitOptions {
  readonly cpuShares?: string;
  readonly cpuCap?: string;
  readonly cpuPin?: string;
  readonly cpuGroup?: string;
}

export function addLimitOptions(command: Command): Command {
  return command
    .option(
      '--cpu-shares <n>',
      'its part of the processors, against the shares of others of its group, where they want more than there are',
      '1024',
    )
    .option('--cpu-group <name>', 'share processors with all machines, of whatever process, that name the same group')
    .option('--cpu-cap <percent>', 'no more than so many percent of a processor for all its CPUs together')
    .option('--cpu-pin <list>', 'keep its CPUs to processors of the host: 0-2,5');
}

function positive(option: string, text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new UsageError(`${option} ${text} is not a number`);
  return Number(text);
}

/** Checks them. */
export function readLimitOptions({ cpuShares, cpuCap, cpuPin }: LimitOptions): Partial<CpuLimits> {
  const pin = cpuPin === undefined ? undefined : readProcessors(cpuPin);
  if (cpuPin !== undefined && !pin)
    throw new UsageError(`--cpu-pin ${cpuPin} is no list of processors; write it as 0-2,5`);
  const limits = {
    ...(cpuShares !== undefined && { shares: positive('--cpu-shares', cpuShares) }),
    ...(cpuCap !== undefined && { cap: positive('--cpu-cap', cpuCap.replace(/%$/, '')) }),
    ...(pin && { pin }),
  };
  checkCpuLimits({ ...NO_LIMITS, ...limits });
  return limits;
}
