/** What a machine is: plain data, which can be posted to a worker and is saved with the machine. */
import type { PcBoot } from '../machine/pc/build.js';
import { array, bool, bytes, nullable, oneOf, range, str, struct, type Plain } from '../snapshot/schema.js';

export interface DiskConfig {
  readonly path: string;
  readonly readOnly: boolean;
}

/** `host`: the host's time. `virtual`: time that instructions make, the same in every run. */
export type ClockKind = 'host' | 'virtual';

export interface MachineConfig {
  /** Name of a CPU model. */
  readonly cpu: string;
  /** RAM in bytes, a multiple of 4 KiB. */
  readonly memory: number;
  readonly boot: PcBoot;
  readonly disks: readonly DiskConfig[];
  /** Adds isa-debug-exit at port 0xf4. */
  readonly debugExit: boolean;
  /** A reset of the guest ends the machine. */
  readonly noReboot: boolean;
  readonly clock: ClockKind;
}

/** All of a `MachineConfig` but what it boots. */
export const configSchema = struct({
  machine: oneOf('pc'),
  cpu: str,
  memory: range(1, Number.MAX_SAFE_INTEGER),
  disks: array(struct({ path: str, readOnly: bool }), { max: 64 }),
  debugExit: bool,
  noReboot: bool,
  clock: oneOf('host', 'virtual'),
});

/** What it boots: needed again when the guest resets. */
export const bootSchema = struct({
  bios: nullable(struct({ name: str, image: bytes() })),
  kernel: nullable(
    struct({
      name: str,
      data: bytes(),
      commandLine: str,
      modules: array(struct({ name: str, data: bytes(), arguments: nullable(str) }), { max: 1024 }),
    }),
  ),
});

export function saveBoot({ bios, kernel }: PcBoot): Plain {
  return {
    bios: bios ? { name: bios.name, image: bios.image } : null,
    kernel: kernel
      ? {
          name: kernel.name,
          data: kernel.data,
          commandLine: kernel.commandLine,
          modules: kernel.modules.map((module) => ({
            name: module.name,
            data: module.data,
            arguments: module.arguments ?? null,
          })),
        }
      : null,
  };
}

export function restoreBoot(saved: Plain): PcBoot {
  const { bios, kernel } = bootSchema.check(saved, 'boot');
  return {
    ...(bios && { bios }),
    ...(kernel && {
      kernel: {
        ...kernel,
        modules: kernel.modules.map(({ name, data, arguments: words }) => ({
          name,
          data,
          ...(words !== null && { arguments: words }),
        })),
      },
    }),
  };
}
