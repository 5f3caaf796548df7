/** Machines on the thread of a test: a host that keeps what the guest says, and snapshots in memory. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { InterpVm } from '../accel/interp/vm.js';
import type { BlockBackend } from '../iface/block.js';
import type { BootSource } from '../machine/common/board.js';
import { deflate } from '../host/node/deflate.js';
import { SnapshotReader, SnapshotWriter } from '../snapshot/container.js';
import { SnapshotBuffer } from '../snapshot/snapshot-buffer.js';
import type { MachineConfig } from '../vmm/config.js';
import type { TimeSource } from '../vmm/machine-clock.js';
import type { MachineHost } from '../vmm/machine-host.js';
import { VirtualMachine } from '../vmm/machine.js';

const built = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`../../dist/cpu/x86/${name}`, import.meta.url)));
const image = {
  helpers: new WebAssembly.Module(built('helpers.wasm')),
  interpreter: new WebAssembly.Module(built('interpreter.wasm')),
  decoderTables: built('decoder-tables.bin'),
};

/** A host that keeps what the guest says, and stops its machine when a number of instructions has been reached. */
export class TestHost implements MachineHost {
  readonly version = '0';
  readonly time: TimeSource = { now: () => 0, wallClock: () => 0 };
  readonly entropy = { fill: (target: Uint8Array): void => void target.fill(1) };
  serialText = '';
  debugText = '';
  reports: string[] = [];
  machine: VirtualMachine | undefined;
  stopAt = Infinity;
  holdInput = false;
  disk: Partial<BlockBackend> = {};
  readonly serial = [
    { write: (b: Uint8Array): void => void (this.serialText += Buffer.from(b).toString()) },
    { write() {} },
  ] as const;
  readonly debugConsole = { write: (b: Uint8Array): void => void (this.debugText += Buffer.from(b).toString()) };
  readonly console = { write(): void {} };
  createVm: MachineHost['createVm'] = (request) => new InterpVm({ ...request, image: { ...image, anyCpu: false } });
  openDisk = (): BlockBackend =>
    ({
      size: 512,
      readOnly: true,
      serial: 'x',
      identity: 'as it was',
      flush: (done: (status: 'ok') => void) => done('ok'),
      ...this.disk,
    }) as BlockBackend;
  locate?: (path: string) => string;
  gunzip = (data: Uint8Array): Uint8Array => gunzipSync(data);
  poll(): void {
    if (Number(this.machine?.cpus[0].retired ?? 0) >= this.stopAt) this.machine?.stop();
  }
  sleep(): void {
    throw new Error('a halted machine without anything to wait for');
  }
  report(text: string): void {
    this.reports.push(text);
  }

  create(config: Partial<MachineConfig> & { readonly boot: BootSource }): VirtualMachine {
    return (this.machine = VirtualMachine.create(
      { cpu: 'x86-64-v2', memory: 8 << 20, disks: [], debugExit: true, noReboot: true, clock: 'virtual', ...config },
      this,
    ));
  }
  restore(file: SnapshotBuffer): VirtualMachine {
    return (this.machine = VirtualMachine.restore(new SnapshotReader(file, deflate), this, { name: file.name }));
  }
}

export function saveMachine(machine: VirtualMachine): SnapshotBuffer {
  const file = new SnapshotBuffer('test.snap');
  machine.save(new SnapshotWriter(file, deflate));
  return file;
}
