/** Why a guest leaves KVM, and what its machine answers. */
import type { VcpuEnvironment } from '../../iface/vcpu.js';
import { ApicWindow } from '../common/apic-window.js';
import type { MsrFile } from '../common/msr-file.js';
import { IO_OUT, RUN } from './abi.js';

export class Exits {
  private readonly window: ApicWindow;

  /** `view`: struct kvm_run and what follows; `outside` makes calls that may have to wait for the machine's thread. */
  constructor(
    private readonly view: DataView,
    private readonly environment: VcpuEnvironment,
    private readonly msrs: MsrFile,
    private readonly outside: <T>(call: () => T) => T,
    /** The local APIC is ours: KVM leaves accesses to it to us. */
    hasApic: boolean,
  ) {
    this.window = new ApicWindow(environment, hasApic);
  }

  /** The local APIC was moved, or has got a state. */
  apicMoved(): void {
    this.window.moved();
  }

  /** IN, OUT and their string forms. */
  io(): void {
    const { view } = this;
    const { io } = this.environment;
    const size = view.getUint8(RUN.IO_SIZE);
    const port = view.getUint16(RUN.IO_PORT, true);
    const count = view.getUint32(RUN.IO_COUNT, true);
    const at = Number(view.getBigUint64(RUN.IO_DATA_OFFSET, true));
    const isOut = view.getUint8(RUN.IO_DIRECTION) === IO_OUT;
    for (let i = 0; i < count; i++) {
      if (isOut) {
        const value = this.get(at + i * size, size);
        this.outside(() => {
          io.portWrite(port, size, value);
        });
      } else {
        const value = this.outside(() => io.portRead(port, size));
        this.put(at + i * size, size, value);
      }
    }
  }

  mmio(): void {
    const { view } = this;
    const address = Number(view.getBigUint64(RUN.MMIO_ADDRESS, true));
    const length = view.getUint32(RUN.MMIO_LENGTH, true);
    const isWrite = view.getUint8(RUN.MMIO_IS_WRITE) !== 0;
    // Wider ones in halves, low part first; odd lengths, of accesses that straddle pages, in the pieces that there are.
    for (let done = 0; done < length;) {
      const left = length - done;
      const at = address + done;
      const size = left >= 4 && at % 4 === 0 ? 4 : left >= 2 && at % 2 === 0 ? 2 : 1;
      if (isWrite) {
        const value = this.get(RUN.MMIO_DATA + done, size);
        this.outside(() => {
          this.window.write(at, size, value);
        });
      } else {
        const value = this.outside(() => this.window.read(at, size));
        this.put(RUN.MMIO_DATA + done, size, value);
      }
      done += size;
    }
  }

  readMsr(): void {
    const { view } = this;
    const value = this.msrs.read(view.getUint32(RUN.MSR_INDEX, true));
    view.setBigUint64(RUN.MSR_DATA, value ?? 0n, true);
    view.setUint8(RUN.MSR_ERROR, value === undefined ? 1 : 0);
  }

  writeMsr(): void {
    const { view } = this;
    const [index, value] = [view.getUint32(RUN.MSR_INDEX, true), view.getBigUint64(RUN.MSR_DATA, true)];
    const isTaken = this.outside(() => this.msrs.write(index, value));
    view.setUint8(RUN.MSR_ERROR, isTaken ? 0 : 1);
  }

  private get(at: number, size: number): number {
    const { view } = this;
    return size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
  }

  private put(at: number, size: number, value: number): void {
    const { view } = this;
    if (size === 1) view.setUint8(at, value);
    else if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
  }
}
