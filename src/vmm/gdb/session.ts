/** A debugger that is attached to a machine. All but the constructor is called while the machine's loop does not run. */
import { assertNever } from '../../base/assert.js';
import { gpa, PAGE_SIZE } from '../../base/units.js';
import type { GdbArchitecture } from '../../iface/debug.js';
import type { DebugReason, Vcpu } from '../../iface/vcpu.js';
import type { MachineExit, VirtualMachine } from '../machine.js';
import { GdbStub, type GdbTarget } from './stub.js';

/** What became of the connection. */
export type GdbFate = 'open' | 'detached' | 'killed';

const NOTHING = { singleStep: false, breakpoints: [], watchpoints: [] } as const;

export class GdbSession {
  /** The machine must not run: the debugger has it. So it is from the beginning. */
  stopped = true;
  private readonly stub: GdbStub;

  constructor(
    private readonly machine: VirtualMachine,
    architecture: GdbArchitecture,
    send: (bytes: Uint8Array) => void,
  ) {
    this.stub = new GdbStub(machineTarget(machine, architecture), send);
  }

  /** Takes bytes from the debugger. */
  receive(bytes: Uint8Array): GdbFate {
    const wish = this.stub.receive(bytes);
    switch (wish) {
      case 'stay':
        return 'open';
      case 'continue':
      case 'step':
        this.machine.setDebug(this.stub.request(wish === 'step'));
        this.stopped = false;
        return 'open';
      case 'stop':
        this.stop('interrupt');
        return 'open';
      case 'detach':
        this.close();
        return 'detached';
      case 'kill':
        this.close();
        return 'killed';
      default:
        return assertNever(wish);
    }
  }

  /** The machine stopped by itself. A step and its breakpoints end here; the next `continue` sets them anew. */
  stop(reason: DebugReason | 'interrupt' | 'crash'): void {
    if (this.stopped) return;
    this.stopped = true;
    this.stub.reportStop(reason);
  }

  /** Tells the debugger that the machine has ended. */
  ended(exit: MachineExit): void {
    this.stub.reportExit(exit.kind === 'power-off' ? 0 : exit.kind === 'exit' ? exit.code : 1);
  }

  /** The machine goes on as if there had never been a debugger. */
  close(): void {
    this.machine.setDebug(NOTHING);
    this.stopped = false;
  }
}

/** Guest memory by linear addresses, as the page tables have them now; devices are read without side effects. */
export function machineTarget(machine: VirtualMachine, architecture: GdbArchitecture): GdbTarget {
  /** Splits a range into parts that lie in one page each. */
  function* parts(
    cpu: Vcpu,
    address: bigint,
    length: number,
  ): Generator<[at: number | undefined, from: number, to: number]> {
    for (let from = 0; from < length;) {
      const linear = BigInt.asUintN(64, address + BigInt(from));
      const to = Math.min(length, from + PAGE_SIZE - Number(linear & BigInt(PAGE_SIZE - 1)));
      yield [cpu.translate(linear), from, to];
      from = to;
    }
  }
  return {
    // A reset makes new ones.
    get cpus() {
      return machine.cpus;
    },
    architecture,
    readMemory: (cpu, address, length) => {
      const bytes = new Uint8Array(length);
      for (const [at, from, to] of parts(cpu, address, length)) {
        if (at === undefined) return bytes.subarray(0, from);
        const part = bytes.subarray(from, to);
        if (!machine.vm.dma.read(gpa(at), part))
          for (let i = 0; i < part.length; i++) part[i] = machine.board.bus.memory.peek(at + i, 1);
      }
      return bytes;
    },
    writeMemory: (cpu, address, bytes) => {
      for (const [at, from, to] of parts(cpu, address, bytes.length))
        if (at === undefined || !machine.vm.dma.write(gpa(at), bytes.subarray(from, to))) return false;
      return true;
    },
  };
}
