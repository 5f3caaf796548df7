/** Two machines that should do the same, side by side: where they part, and which instruction it is. */
import { GPR_NAMES, type VcpuState } from '../../arch/x86/state.js';
import { gpa } from '../../base/units.js';
import { disassemble } from '../../cpu/x86/disassembler.js';
import type { MachineConfig } from '../../vmm/config.js';
import { compareMemory, compareStates } from './compare.js';
import { SteppedMachine, type SteppedOptions } from './machine.js';

export interface LockstepOptions {
  readonly config: MachineConfig;
  readonly sides: readonly [SteppedOptions, SteppedOptions];
  /** Instructions: where comparing begins and ends, and between two comparisons. */
  readonly from: bigint;
  readonly to: bigint;
  readonly step: bigint;
  /** Comparisons between two of all memory; 0: only at the end. */
  readonly memoryEvery: number;
  readonly onProgress?: (machine: SteppedMachine) => void;
}

export interface LockstepResult {
  /** Instructions that both executed the same way. */
  readonly same: bigint;
  readonly machines: readonly [SteppedMachine, SteppedMachine];
  /** Empty when they did not part. */
  readonly differences: readonly string[];
}

function differences([a, b]: readonly SteppedMachine[], withMemory: boolean): string[] {
  const found = compareStates(a.state, b.state);
  if (a.retired !== b.retired) found.unshift(`retired: ${String(a.retired)}, ${String(b.retired)}`);
  if (a.exit?.kind !== b.exit?.kind) found.unshift(`end: ${String(a.exit?.kind)}, ${String(b.exit?.kind)}`);
  if (a.text !== b.text) found.push('what they wrote differs');
  return withMemory ? [...found, ...compareMemory(a.machine.vm.backing, b.machine.vm.backing)] : found;
}

export function runLockstep(options: LockstepOptions): LockstepResult {
  const { config, sides, from, to, step, memoryEvery } = options;
  const machines = [SteppedMachine.boot(config, sides[0]), SteppedMachine.boot(config, sides[1])] as const;
  let same = 0n;
  for (let at = from, n = 1; ; at += step, n++) {
    const last = at >= to;
    for (const machine of machines) machine.advance(last ? to : at);
    const isEnd = last || machines.some(({ exit }) => exit !== undefined);
    const found = differences(machines, isEnd || (memoryEvery > 0 && n % memoryEvery === 0));
    if (found.length > 0 || isEnd)
      return { same: found.length > 0 ? same : machines[0].retired, machines, differences: found };
    same = machines[0].retired;
    options.onProgress?.(machines[0]);
  }
}

/** Registers, and the code at RIP. */
export function describeCpu({ machine, state }: SteppedMachine): string {
  const [cpu] = machine.cpus;
  const bytes = new Uint8Array(48);
  const at = cpu.translate(cpu.location.linear);
  const registers = (s: VcpuState): string => GPR_NAMES.map((name, n) => `${name}=${s.gpr[n].toString(16)}`).join(' ');
  const lines = [`rip=${state.rip.toString(16)} rflags=${state.rflags.toString(16)} ${registers(state)}`];
  if (at === undefined || !machine.vm.dma.read(gpa(at), bytes)) return lines[0];
  for (let offset = 0, n = 0; n < 6 && offset < 32; n++) {
    const address = state.rip + BigInt(offset);
    const { text, length } = disassemble(bytes.subarray(offset, offset + 15), cpu.location.bits, address);
    lines.push(`  ${address.toString(16)}  ${text}`);
    offset += length;
  }
  return lines.join('\n');
}

/**
 * From `same` on, where both are the same, they part within `step`: goes there again with short slices, then repeats the slice with
 * fewer and fewer instructions. Returns what can be said.
 */
export function narrowDown(options: LockstepOptions, same: bigint): string {
  const { config, sides } = options;
  const closer = runLockstep({ ...options, from: same, to: same + 2n * options.step, step: 1n, memoryEvery: 1 });
  if (closer.differences.length === 0) return 'they do not part when they are looked at more often';
  const machines = [SteppedMachine.boot(config, sides[0]), SteppedMachine.boot(config, sides[1])] as const;
  for (const machine of machines) machine.advance(closer.same);
  const budget = Number(closer.machines[0].retired - closer.same);
  const saved = machines.map(({ memory }) => memory.slice());
  const attempt = (instructions: number): string[] => {
    machines.forEach(({ machine, memory }, n) => {
      memory.set(saved[n]);
      machine.cpus[0].run(instructions);
    });
    return differences(machines, true);
  };
  let low = 0;
  let high = budget;
  let wrong = attempt(budget);
  if (wrong.length === 0)
    return [
      `they part between ${String(closer.same)} and ${String(closer.same + BigInt(budget))}, through devices:`,
      ...closer.differences,
    ].join('\n');
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const found = attempt(middle);
    if (found.length > 0) [high, wrong] = [middle, found];
    else low = middle;
  }
  attempt(0);
  const start = describeCpu(machines[0]);
  attempt(low);
  const before = describeCpu(machines[0]);
  attempt(high);
  const [a, b] = machines.map(describeCpu);
  return [
    `the slice from ${String(closer.same)} on differs when it has ${String(high)} instructions, not when it has ${String(low)}:`,
    ...wrong.slice(0, 24),
    `at its start: ${start}`,
    `after ${String(low)}: ${before}`,
    `after ${String(high)}, ${sides[0].accelerator}: ${a}`,
    `after ${String(high)}, ${sides[1].accelerator}: ${b}`,
  ].join('\n');
}
