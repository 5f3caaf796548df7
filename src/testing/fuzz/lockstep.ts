/** Runs random programs on two accelerators side by side, and compares all state after each slice of time. */
import { GPR_NAMES, type VcpuState } from '../../arch/x86/state.js';
import { disassemble } from '../../cpu/x86/disassembler.js';
import { gpa } from '../../base/units.js';
import type { VcpuExit } from '../../iface/vcpu.js';
import { random, type Random } from '../oracle/random.js';
import type { GuestBench } from '../x86-guest.js';
import { startState } from './start.js';
import { PLACE, VARIABLE, type Setting } from './place.js';
import { writeProgram, type Program } from './program.js';

export interface LockstepRun {
  /** Registers at the end and the code there, as text. */
  readonly place: string;
  readonly retired: number;
  readonly faults: number;
  /** How the last slice ended. */
  readonly end: VcpuExit['kind'];
}

/** What both did differently, as text. */
export class Divergence extends Error {
  override readonly name = 'Divergence';

  constructor(
    message: string,
    readonly at: Cut,
  ) {
    super(message);
  }
}

/** A run is to end with this slice, after so many instructions of it. */
export interface Cut {
  readonly slice: number;
  readonly budget: number;
}

/** Everything that differs, one line each. */
function differences(a: VcpuState, b: VcpuState, memoryA: Uint8Array, memoryB: Uint8Array): string[] {
  const found: string[] = [];
  const walk = (path: string, x: unknown, y: unknown): void => {
    if (typeof x === 'object' && x !== null && typeof y === 'object' && y !== null) {
      for (const key of Object.keys(x))
        walk(`${path}.${key}`, (x as Record<string, unknown>)[key], (y as Record<string, unknown>)[key]);
    } else if (x !== y) {
      const text = (v: unknown): string => (typeof v === 'bigint' ? v.toString(16) : String(v));
      found.push(`${path.slice(1)}: ${text(x)}, ${text(y)}`);
    }
  };
  // Time is asked for at other moments.
  walk('', { ...a, tsc: 0n }, { ...b, tsc: 0n });
  if (Buffer.compare(memoryA, memoryB) !== 0)
    for (let i = 0, shown = 0; i < memoryA.length && shown < 8; i++)
      if (memoryA[i] !== memoryB[i]) {
        found.push(`memory ${i.toString(16)}: ${memoryA[i].toString(16)}, ${memoryB[i].toString(16)}`);
        shown++;
      }
  return found;
}

/** Instructions from an address on. */
function listing(memory: Uint8Array, at: number, bits: 32 | 64, count: number): string[] {
  const lines: string[] = [];
  for (let i = 0; i < count && at < memory.length - 16; i++) {
    const { text, length } = disassemble(memory.subarray(at, at + 15), bits, BigInt(at));
    lines.push(`  ${at.toString(16)}  ${text}`);
    at += length;
  }
  return lines;
}

/** In the middle of an instruction: DMA into code, or an interrupt. */
function onPort({ vm, cpu }: GuestBench, { patches }: Program, port: number, value: number): void {
  if (patches.length === 0) return;
  const { address, values } = patches[(port * 7 + value) % patches.length];
  if (port < 128) vm.dma.write(gpa(address), Uint8Array.of(values[value % values.length]));
  else if (port < 192) cpu.kick();
  else cpu.nmi();
}

export class Lockstep {
  constructor(
    private readonly reference: GuestBench,
    private readonly tested: GuestBench,
    /** Compared too. */
    private readonly others: readonly GuestBench[] = [],
  ) {}

  private get all(): GuestBench[] {
    return [this.reference, this.tested, ...this.others];
  }

  /** One program; throws a Divergence at the first difference. */
  run(seed: number, instructions: number, cut?: Cut): LockstepRun {
    const r = random(seed);
    const setting: Setting = { bits: r.oneIn(3) ? 32 : 64, ring: r.oneIn(2) ? 0 : 3 };
    const image = new Uint8Array(PLACE.END);
    const program = writeProgram(r, setting, image);
    const view = new DataView(image.buffer);
    const state = startState(setting, program.entry, view, r);
    // All exceptions masked, as a rule.
    const mxcsr =
      0x1f80 | (r.oneIn(2) ? 0x20 : 0) | ((r.oneIn(6) ? r.u32() & 0xe040 : 0) ^ (r.oneIn(6) ? r.u32() & 0x1f80 : 0));
    const fcw = 0x37f ^ (r.oneIn(4) ? r.u32() & 0xf00 : 0) ^ (r.oneIn(8) ? r.u32() & 0x3f : 0);
    const { all } = this;
    for (const bench of all) {
      bench.vm.dma.write(0 as never, image);
      bench.cpu.setDebug({ singleStep: false, breakpoints: [], watchpoints: [] });
      bench.forgetInterrupts();
      bench.set(state);
      bench.cpu.restoreState({ ...bench.state, fpu: { ...bench.state.fpu, mxcsr, fcw } });
      this.starts.set(bench, bench.cpu.retired);
      bench.onPort = (port, value) => {
        onPort(bench, program, port, value);
      };
    }
    let before = this.reference.state;
    let end: VcpuExit['kind'] = 'budget';
    const shortest = r.pick([8, 300, 300, 2000]);
    for (let left = instructions, slice = 0; left > 0; slice++) {
      let budget = r.oneIn(4) ? 1 + r.below(8) : 1 + r.below(shortest);
      if (slice === cut?.slice) budget = cut.budget;
      const exits = all.map((bench) => this.slice(bench, budget));
      const a = this.reference.state;
      const ranA = this.reference.cpu.retired - this.began(this.reference);
      for (const [i, bench] of all.entries()) {
        if (bench === this.reference) continue;
        const wrong = differences(a, bench.state, this.reference.vm.backing, bench.vm.backing);
        if (exits[0] !== exits[i]) wrong.unshift(`exit: ${exits[0]}, ${exits[i]}`);
        const ranB = bench.cpu.retired - this.began(bench);
        if (ranA !== ranB) wrong.unshift(`retired: ${String(ranA)}, ${String(ranB)}`);
        if (wrong.length > 0)
          throw new Divergence(this.describe({ seed, setting, budget, left, before, wrong }), { slice, budget });
      }
      before = a;
      end = exits[0];
      if (end === 'shutdown' || end === 'halt' || slice === cut?.slice) break;
      left -= Math.max(1, Number(ranA) - (instructions - left));
      this.disturb(r, program);
    }
    const { view: guest } = this.reference;
    return {
      place: this.where(setting, before),
      retired: Number(this.reference.cpu.retired - this.began(this.reference)),
      faults: Number(guest.getBigUint64(PLACE.VARIABLES + VARIABLE.FAULTS, true)),
      end,
    };
  }

  private readonly starts = new Map<GuestBench, bigint>();

  /** The count of instructions that a bench had when the reference had `began`. */
  private began(bench: GuestBench): bigint {
    return this.starts.get(bench) ?? 0n;
  }

  private slice(bench: GuestBench, budget: number): VcpuExit['kind'] {
    return bench.cpu.run(budget).kind;
  }

  /** Does something to both between two slices. */
  private disturb(r: Random, program: Program): void {
    const kind = r.below(24);
    const vector = 32 + r.below(90);
    const patch = program.patches.length > 0 ? r.pick(program.patches) : undefined;
    const value = patch ? r.pick(patch.values) : 0;
    const breakpoint = BigInt(r.pick(program.blocks));
    const isAccess = r.oneIn(2);
    const isOff = !r.oneIn(4);
    const watched = BigInt(PLACE.DATA + r.below(0x2000));
    const dr7 = BigInt((r.u32() & 0xffff_0000) >>> 0) | BigInt(0x400 | (r.u32() & 0xff));
    const places = Array.from({ length: 4 }, () =>
      r.oneIn(2) ? BigInt(r.pick(program.blocks)) : BigInt(PLACE.DATA + r.below(0x2000)),
    );
    for (const bench of this.all) {
      const { cpu } = bench;
      if (kind < 4) bench.interrupt(vector);
      else if (kind === 4) cpu.nmi();
      else if (kind === 5) cpu.restoreState(cpu.saveState());
      else if (kind === 6) cpu.kick();
      else if (kind === 7 && patch) bench.vm.dma.write(patch.address as never, new Uint8Array([value]));
      else if (kind === 8) cpu.setDebug({ singleStep: true, breakpoints: [], watchpoints: [] });
      else if (kind === 9) cpu.setDebug({ singleStep: false, breakpoints: [breakpoint], watchpoints: [] });
      else if (kind === 10)
        cpu.setDebug({
          singleStep: false,
          breakpoints: [],
          watchpoints: [{ address: watched, length: 4, access: isAccess ? 'access' : 'write' }],
        });
      else if (kind === 11) cpu.restoreState({ ...bench.state, breakpoints: places, dr7: isOff ? 0x400n : dr7 });
      else if (kind < 15) cpu.setDebug({ singleStep: false, breakpoints: [], watchpoints: [] });
    }
  }

  private describe(at: {
    readonly seed: number;
    readonly setting: Setting;
    readonly budget: number;
    readonly left: number;
    readonly before: VcpuState;
    readonly wrong: readonly string[];
  }): string {
    const { setting, before } = at;
    return [
      `seed ${String(at.seed)}, ${String(setting.bits)}-bit, ring ${String(setting.ring)}: a slice of ${String(at.budget)} with ${String(at.left)} left`,
      ...at.wrong.slice(0, 20),
      `before: ${this.where(setting, before)}`,
    ].join('\n');
  }

  private where({ bits }: Setting, { gpr, rip, rflags }: VcpuState): string {
    const registers = GPR_NAMES.map((name, n) => `${name}=${gpr[n].toString(16)}`).join(' ');
    return [
      `rip=${rip.toString(16)} rflags=${rflags.toString(16)} ${registers}`,
      ...listing(this.reference.vm.backing, Number(rip & 0xf_ffffn), bits, 12),
    ].join('\n');
  }
}
