/** Why a guest leaves KVM, and what its machine answers. */
import type { VcpuEnvironment } from '../../iface/vcpu.js';
import type { MsrFile } from '../common/msr-file.js';
import { IO_OUT, RUN } from './abi.js';

const APIC_WINDOW = 4096;

export class Exits {
  /** Base of the local APIC's window, or where nothing is while it does not answer. */
  private apicWindow = 0xfee0_0000;

  /** `view`: struct kvm_run and what follows. */
  constructor(
    private readonly view: DataView,
    private readonly environment: VcpuEnvironment,
    private readonly msrs: MsrFile,
  ) {}

  /** The APIC's base or mode changed: it answers in its window only when enabled and not in x2APIC mode. */
  apicMoved(): void {
    const base = this.environment.apic.apicBase;
    const answers = (base & 0xc00n) === 0x800n;
    this.apicWindow = answers ? Number(base & 0xf_ffff_ffff_f000n) : -APIC_WINDOW;
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
      if (isOut) io.portWrite(port, size, this.get(at + i * size, size));
      else this.put(at + i * size, size, io.portRead(port, size));
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
      if (isWrite) this.write(at, size, this.get(RUN.MMIO_DATA + done, size));
      else this.put(RUN.MMIO_DATA + done, size, this.read(at, size));
      done += size;
    }
  }

  private read(address: number, size: number): number {
    const { apic, io } = this.environment;
    const offset = address - this.apicWindow;
    if (offset < 0 || offset >= APIC_WINDOW || this.apicWindow < 0) return io.mmioRead(address, size);
    const word = apic.mmioRead(offset & ~3) >>> ((offset & 3) * 8);
    return size === 4 ? word >>> 0 : word & (size === 2 ? 0xffff : 0xff);
  }

  private write(address: number, size: number, value: number): void {
    const { apic, io } = this.environment;
    const offset = address - this.apicWindow;
    if (offset < 0 || offset >= APIC_WINDOW || this.apicWindow < 0) io.mmioWrite(address, size, value);
    // Only aligned 32-bit writes are supported (SDM vol. 3 §11.4.1).
    else if (size === 4 && (offset & 3) === 0) apic.mmioWrite(offset, value);
  }

  readMsr(): void {
    const { view } = this;
    const value = this.msrs.read(view.getUint32(RUN.MSR_INDEX, true));
    view.setBigUint64(RUN.MSR_DATA, value ?? 0n, true);
    view.setUint8(RUN.MSR_ERROR, value === undefined ? 1 : 0);
  }

  writeMsr(): void {
    const { view } = this;
    const isTaken = this.msrs.write(view.getUint32(RUN.MSR_INDEX, true), view.getBigUint64(RUN.MSR_DATA, true));
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
