/** A machine under virtual time that stops where it is told, on an accelerator, in this thread. */
import { gunzipSync } from 'node:zlib';
import { InterpVm } from '../../accel/interp/vm.js';
import { WasmCpu } from '../../accel/interp/wasm-cpu.js';
import { vcpuStateSchema, type VcpuState } from '../../arch/x86/state.js';
import type { Vcpu } from '../../iface/vcpu.js';
import { deflate } from '../../host/node/deflate.js';
import { SnapshotReader, SnapshotWriter } from '../../snapshot/container.js';
import { SnapshotBuffer } from '../../snapshot/snapshot-buffer.js';
import type { MachineConfig } from '../../vmm/config.js';
import type { MachineHost } from '../../vmm/machine-host.js';
import { VirtualMachine, type MachineExit } from '../../vmm/machine.js';
import { accelerate, type TestedAccelerator } from '../accelerators.js';

export interface SteppedOptions {
  readonly accelerator: TestedAccelerator;
  /** On wasm: code is translated after so many jumps to it; undefined: as in earnest. */
  readonly hotAfter?: number | undefined;
  /** On WebAssembly that was there before the machine. */
  readonly ahead?: boolean;
}

export class SteppedMachine {
  readonly machine: VirtualMachine;
  /** What the guest wrote to COM1. */
  text = '';
  /** How it ended, when it did. */
  exit: MachineExit | undefined;
  private target = 0n;

  private constructor(
    readonly options: SteppedOptions,
    make: (host: MachineHost) => VirtualMachine,
  ) {
    const { accelerator, hotAfter, ahead = false } = options;
    const nowhere = { write: () => undefined };
    const late: { machine?: VirtualMachine } = {};
    late.machine = this.machine = make({
      version: '0',
      time: { now: () => 0, wallClock: () => 0 },
      entropy: { fill: (target) => target.fill(1) },
      serial: [{ write: (bytes) => void (this.text += Buffer.from(bytes).toString('latin1')) }, nowhere],
      debugConsole: nowhere,
      console: nowhere,
      createVm: (request) => {
        const made = accelerate(accelerator, hotAfter);
        return new InterpVm({ ...request, ...made, wasm: ahead ? WasmCpu.ahead(made.image) : undefined });
      },
      openDisk: () => {
        throw new Error('lockstep machines have no disks');
      },
      gunzip: (data) => gunzipSync(data),
      poll: () => {
        if (late.machine && (late.machine.cpus[0]?.retired ?? 0n) >= this.target) late.machine.stop();
      },
      sleep: () => {
        throw new Error('a halted machine without anything to wait for');
      },
      report: () => undefined,
    });
  }

  static boot(config: MachineConfig, options: SteppedOptions): SteppedMachine {
    return new SteppedMachine(options, (host) => VirtualMachine.create(config, host));
  }

  static resume(saved: SnapshotBuffer, options: SteppedOptions): SteppedMachine {
    return new SteppedMachine(options, (host) =>
      VirtualMachine.restore(new SnapshotReader(saved, deflate), host, { name: saved.name }),
    );
  }

  /** Runs until so many instructions have been executed on this CPU, to the end of the slice in which they are. */
  advance(to: bigint): void {
    this.target = to;
    if (this.exit) return;
    const exit = this.machine.run();
    if (exit.kind !== 'stopped') this.exit = exit;
  }

  save(): SnapshotBuffer {
    const saved = new SnapshotBuffer('snapshot');
    this.machine.save(new SnapshotWriter(saved, deflate));
    return saved;
  }

  get retired(): bigint {
    return this.cpu.retired ?? 0n;
  }

  get cpu(): Vcpu {
    return this.machine.cpus[0];
  }

  get state(): VcpuState {
    return vcpuStateSchema.check(this.cpu.saveState(), 'cpu');
  }

  /** The whole of the accelerator's memory: state, caches and the guest's memory. */
  get memory(): Uint8Array {
    return new Uint8Array(this.machine.vm.backing.buffer);
  }
}

export type Snapshot = SnapshotBuffer;
