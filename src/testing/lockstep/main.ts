/**
 * Runs the same guest on `interp` and `wasm` side by side under virtual time, and says where they part:
 * `node dist/testing/lockstep/main.js (demo | --kernel file [--initrd file] | --bios file) [--append words] [--memory MiB]
 * [--cpu model] [--from n] [--to n] [--step n] [--memory-every n] [--hot-after n]`. Numbers may end in k, M, G.
 * Exits with 1 when they part.
 */
import * as fs from 'node:fs';
import { MIB } from '../../base/units.js';
import { buildDemo } from '../../cpu/x86/demo/image.js';
import type { BootSource } from '../../machine/common/board.js';
import type { MachineConfig } from '../../vmm/config.js';
import { narrowDown, runLockstep } from './lockstep.js';

const UNITS: Readonly<Partial<Record<string, bigint>>> = { k: 1000n, M: 1_000_000n, G: 1_000_000_000n };

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
}

function count(name: string, fallback: bigint): bigint {
  const given = option(name);
  if (given === undefined) return fallback;
  const unit = UNITS[given.at(-1) ?? ''];
  return unit === undefined ? BigInt(given) : BigInt(Math.round(Number(given.slice(0, -1)) * 1000)) * (unit / 1000n);
}

const file = (name: string): { name: string; data: Uint8Array<ArrayBuffer> } => ({
  name,
  data: new Uint8Array(fs.readFileSync(name)),
});

function whatToBoot(): BootSource {
  const [kernel, initrd, bios] = [option('kernel'), option('initrd'), option('bios')];
  const commandLine = option('append') ?? 'console=ttyS0';
  if (process.argv[2] === 'demo')
    return {
      kernel: { name: 'demo', data: buildDemo().image, commandLine: option('append') ?? '', modules: [] },
    };
  return {
    ...(bios !== undefined && { bios: { name: bios, image: file(bios).data } }),
    ...(kernel !== undefined && {
      kernel: { ...file(kernel), commandLine, modules: initrd === undefined ? [] : [file(initrd)] },
    }),
  };
}

function main(): number {
  const config: MachineConfig = {
    cpu: option('cpu') ?? 'x86-64-v2',
    memory: Number(option('memory') ?? '256') * MIB,
    boot: whatToBoot(),
    disks: [],
    debugExit: true,
    noReboot: true,
    clock: 'virtual',
  };
  const hotAfter = option('hot-after');
  const options = {
    config,
    sides: [
      { accelerator: 'interp' },
      { accelerator: 'wasm', hotAfter: hotAfter === undefined ? undefined : Number(hotAfter) },
    ],
    from: count('from', 0n),
    to: count('to', 10_000_000_000n),
    step: count('step', 1_000_000n),
    memoryEvery: Number(option('memory-every') ?? '20'),
  } as const;
  let told = Date.now();
  const result = runLockstep({
    ...options,
    onProgress: (machine) => {
      if (Date.now() - told < 10_000) return;
      told = Date.now();
      console.error(`the same up to ${String(machine.retired)}: ${machine.text.trimEnd().split('\n').at(-1) ?? ''}`);
    },
  });
  const [first] = result.machines;
  if (result.differences.length === 0) {
    console.log(`the same up to ${String(result.same)}, ${first.exit?.kind ?? 'then stopped'}`);
    return 0;
  }
  console.log(`the same up to ${String(result.same)}, not at ${String(first.retired)}:`);
  for (const line of result.differences.slice(0, 24)) console.log(line);
  console.log(narrowDown(options, result.same));
  return 1;
}

process.exitCode = main();
