/**
 * Writes down what a guest does, between a machine and its accelerator: instructions, exceptions and interrupts, accesses to
 * ports and to device memory. One line each, which begins with the number of instructions retired (without
 * `exec`: when the CPU last looked at events):
 *
 *     1234 exec 0010:ffffffff81000000  48 89 e5              mov rbp,rsp
 *     1234 int  #PF error 0002 address 00007ffc10a8e000 at 0033:0000000000401000
 *     1235 pio  out 03f8.1 = 41
 *     1236 mmio read fee000b0.4 = 00000000
 *
 * and what becomes of code that is translated, as many lines.
 */
import { gpa } from '../base/units.js';
import { disassemble } from '../cpu/x86/disassembler.js';
import { describeRegion, type Translation } from '../cpu/x86/translate/describe.js';
import type { GuestIo } from '../iface/bus.js';
import type { LocalApic } from '../iface/local-apic.js';
import type { Vcpu, VcpuEnvironment, VcpuExit, Vm } from '../iface/vcpu.js';
import { describeEvent } from '../machine/common/describe-cpu.js';
import type { TraceKind } from './trace-kinds.js';

/** Instructions after which a traced run comes back, so that timers and input are looked at. */
const SLICE = 2000;
/** The longest instruction. */
const INSTRUCTION_BYTES = 15;
/** Bytes of an instruction that are shown in a column of their own. */
const SHOWN_BYTES = 8;

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');

/** `target` with some members replaced. */
function replacing<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get: (_, key) => {
      const value: unknown = Reflect.get(Object.hasOwn(members, key) ? members : target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
    set: (_, key, value) => Reflect.set(target, key, value),
  });
}

/** A machine's memory and CPUs, whose CPUs' doings are written down. */
export function traceVm(vm: Vm, kinds: ReadonlySet<TraceKind>, write: (line: string) => void): Vm {
  return replacing(vm, {
    createVcpu: (index, environment) => {
      // The CPU comes second.
      const late: { cpu?: Vcpu } = {};
      const line = (kind: TraceKind, text: string): void => {
        write(`${String(late.cpu?.retired ?? 0n).padStart(12)} ${kind.padEnd(4)} ${text}`);
      };
      const cpu = vm.createVcpu(index, traceEnvironment(environment, kinds, line));
      late.cpu = cpu;
      if (!kinds.has('exec')) return cpu;
      return replacing(cpu, { run: (budget) => traceRun(cpu, vm, budget, (text) => line('exec', text)) });
    },
  });
}

/** Guest code, intermediate form and WebAssembly of a region that was translated. */
export function traceTranslation(translation: Translation, write: (line: string) => void): void {
  const { graph, region } = translation;
  const { guest, form, wasm } = describeRegion(translation);
  write(`translate: ${String(graph.units)} instructions, ${String(region.code.code.length)} bytes of WebAssembly`);
  for (const [title, lines] of [
    ['guest code', guest],
    ['intermediate form', form],
    ['WebAssembly', wasm],
  ] as const) {
    write(`  ${title}:`);
    for (const line of lines) write(`    ${line}`);
  }
}

/** Runs instructions one by one. */
function traceRun(cpu: Vcpu, vm: Vm, budget: number, line: (text: string) => void): VcpuExit {
  for (let left = Math.min(budget, SLICE); left > 0; left--) {
    // Events are delivered first, so that the instruction that is written down is the one that comes next.
    const before = cpu.run(0);
    if (before.kind !== 'budget') return before;
    line(describeInstruction(cpu, vm));
    const exit = cpu.run(1);
    if (exit.kind !== 'budget') return exit;
  }
  return { kind: 'budget' };
}

/** Code at a linear address, as far as it is in memory. */
function fetch(cpu: Vcpu, vm: Vm, linear: bigint): Uint8Array {
  const bytes = new Uint8Array(INSTRUCTION_BYTES);
  const toPageEnd = 0x1000 - Number(linear & 0xfffn);
  const first = Math.min(toPageEnd, bytes.length);
  for (const [from, to] of [
    [0, first],
    [first, bytes.length],
  ]) {
    if (from === to) break;
    const at = cpu.translate(BigInt.asUintN(64, linear + BigInt(from)));
    if (at === undefined || !vm.dma.read(gpa(at), bytes.subarray(from, to))) return bytes.subarray(0, from);
  }
  return bytes;
}

function describeInstruction(cpu: Vcpu, vm: Vm): string {
  const { selector, offset, linear, bits } = cpu.location;
  const bytes = fetch(cpu, vm, linear);
  const { text, length } =
    bytes.length === 0 ? { text: '(not in memory)', length: 0 } : disassemble(bytes, bits, offset);
  const shown = Array.from(bytes.subarray(0, Math.max(length, 0)), (byte) => hex(byte, 2)).join(' ');
  return `${hex(selector, 4)}:${hex(offset, bits === 64 ? 16 : 8)}  ${shown.padEnd(SHOWN_BYTES * 3)} ${text}`;
}

function traceEnvironment(
  environment: VcpuEnvironment,
  kinds: ReadonlySet<TraceKind>,
  line: (kind: TraceKind, text: string) => void,
): VcpuEnvironment {
  const { io, apic } = environment;
  return {
    ...environment,
    io: traceIo(io, kinds, line),
    apic: kinds.has('mmio') ? traceApic(apic, (text) => line('mmio', text)) : apic,
    ...(kinds.has('int') && {
      onEvent: (event) => {
        line('int', describeEvent(event));
        environment.onEvent?.(event);
      },
    }),
  };
}

function traceIo(io: GuestIo, kinds: ReadonlySet<TraceKind>, line: (kind: TraceKind, text: string) => void): GuestIo {
  const read = (kind: TraceKind, name: string, size: number, value: number): number => {
    line(kind, `${name}.${size} = ${hex(value, size * 2)}`);
    return value;
  };
  return replacing(io, {
    ...(kinds.has('pio') && {
      portRead: (port, size) => read('pio', `in  ${hex(port, 4)}`, size, io.portRead(port, size)),
      portWrite: (port, size, value) => {
        line('pio', `out ${hex(port, 4)}.${size} = ${hex(value, size * 2)}`);
        io.portWrite(port, size, value);
      },
    }),
    ...(kinds.has('mmio') && {
      mmioRead: (address, size) => read('mmio', `read  ${hex(address, 8)}`, size, io.mmioRead(address, size)),
      mmioWrite: (address, size, value) => {
        line('mmio', `write ${hex(address, 8)}.${size} = ${hex(value, size * 2)}`);
        io.mmioWrite(address, size, value);
      },
    }),
  });
}

/** The local APIC's window, which the CPU does not reach by the bus. */
function traceApic(apic: LocalApic, line: (text: string) => void): LocalApic {
  const address = (offset: number): string => hex((apic.apicBase & ~0xfffn) + BigInt(offset), 8);
  return replacing(apic, {
    mmioRead: (offset) => {
      const value = apic.mmioRead(offset);
      line(`read  ${address(offset)}.4 = ${hex(value >>> 0, 8)}`);
      return value;
    },
    mmioWrite: (offset, value) => {
      line(`write ${address(offset)}.4 = ${hex(value, 8)}`);
      apic.mmioWrite(offset, value);
    },
  });
}
