/** A local APIC in the kernel: its registers, and its timer, which goes by the host's clock and not by the machine's. */
import { MSR } from '../../arch/x86/msrs.js';
import type { ApicRegisters } from '../../iface/chips.js';
import { HostError } from '../../base/errors.js';
import { KVM, SIZE } from './abi.js';
import { ioctl } from './libc.js';
import { Structure } from './registers.js';

/** Registers by their places in the page, SDM vol. 3 table 11-1. */
const PAGE = { LVT_TIMER: 0x320, INITIAL: 0x380, CURRENT: 0x390, DIVIDE: 0x3e0 } as const;
/** Of the timer's LVT entry, bits 18:17. */
const MODE = { SHIFT: 17, ONE_SHOT: 0, PERIODIC: 1 } as const;

/** Nanoseconds of one count (KVM's timer has 1 GHz, as ours), §11.5.4. */
function countTime(divide: number): number {
  const code = (divide & 3) | ((divide >>> 1) & 4);
  return code === 7 ? 1 : 2 << code;
}

/** What a CPU does for its APIC. */
export interface ApicHost {
  /** Nanoseconds for which the machine's clock has stood still until now, and which the CPU does not know of yet. */
  stood(): number;
  /** Has KVM make interrupts of timers that have expired, without an instruction of the guest. */
  settle(): void;
}

export class KernelApic implements ApicRegisters {
  private host: ApicHost = { stood: () => 0, settle: () => undefined };
  /** As they were when the CPU's state was saved. */
  private frozen: Structure | undefined;
  /** What the timer of a machine that stands still is to go on with. */
  private waiting: Pick<TimerRegisters, 'initial' | 'current'> | undefined;

  constructor(private readonly fd: number) {}

  /** The CPU exists. */
  attach(host: ApicHost): void {
    this.host = host;
  }

  private get(): Structure {
    const page = new Structure(SIZE.LAPIC);
    ioctl(this.fd, KVM.GET_LAPIC, page.bytes, 'KVM_GET_LAPIC');
    return page;
  }

  private msr(request: number, index: number, value: bigint, what: string): bigint {
    const list = new Structure(24);
    list.view.setUint32(0, 1, true);
    list.view.setUint32(8, index, true);
    list.setU64(16, value);
    const name = request === KVM.GET_MSRS ? 'KVM_GET_MSRS' : 'KVM_SET_MSRS';
    if (ioctl(this.fd, request, list.bytes, name) !== 1) throw new HostError(`the host's KVM does not take ${what}`);
    return list.u64(16);
  }

  get base(): bigint {
    return this.msr(KVM.GET_MSRS, MSR.APIC_BASE, 0n, 'a look at IA32_APIC_BASE');
  }

  set base(value: bigint) {
    this.thaw();
    this.msr(KVM.SET_MSRS, MSR.APIC_BASE, value, `0x${value.toString(16)} in IA32_APIC_BASE`);
  }

  get tscDeadline(): bigint {
    return this.msr(KVM.GET_MSRS, MSR.TSC_DEADLINE, 0n, 'a look at IA32_TSC_DEADLINE');
  }

  set tscDeadline(value: bigint) {
    this.msr(KVM.SET_MSRS, MSR.TSC_DEADLINE, value, 'a deadline');
  }

  /** The CPU's state is going to be saved: what its timer has asked for until now is a part of that. */
  freeze(): void {
    this.frozen = undefined;
    if (this.waiting) return;
    let page = this.get();
    for (let before = timerOf(page); ; before = timerOf(page)) {
      this.host.settle();
      page = this.get();
      const { isOneShot, current } = timerOf(page);
      // One that has expired in between may be an interrupt or not; after another round it is.
      if (!isOneShot || current > 0 || before.current === 0) break;
    }
    this.frozen = this.corrected(page, this.host.stood());
  }

  /** The guest is about to run. */
  thaw(): void {
    this.frozen = undefined;
    this.waiting = undefined;
  }

  load(): DataView {
    return new DataView((this.frozen ?? this.current()).bytes.slice().buffer);
  }

  /** When the machine's clock says what it says now. */
  private current(): Structure {
    const page = this.get();
    if (!this.waiting) return this.corrected(page, this.host.stood());
    page.view.setUint32(PAGE.INITIAL, this.waiting.initial, true);
    page.view.setUint32(PAGE.CURRENT, this.waiting.current, true);
    return page;
  }

  store(registers: DataView): void {
    this.frozen = undefined;
    const page = new Structure(SIZE.LAPIC);
    page.bytes.set(new Uint8Array(registers.buffer, registers.byteOffset, SIZE.LAPIC));
    const { isOneShot, current } = timerOf(page);
    // DEVIATION: one that has expired is taken for one that was never set, since KVM would let it expire again.
    if (isOneShot && current === 0) page.view.setUint32(PAGE.INITIAL, 0, true);
    ioctl(this.fd, KVM.SET_LAPIC, page.bytes, 'KVM_SET_LAPIC');
    this.waiting = timerOf(page);
  }

  /**
   * The machine's clock goes on, which has stood still for so many nanoseconds. All registers are set for that, so nobody may send anything meanwhile.
   */
  resume(stood: number): void {
    const page = this.waiting ? this.current() : this.corrected(this.get(), stood);
    const isNew = this.waiting !== undefined || stood > 0;
    this.thaw();
    const { initial, isCounting, current } = timerOf(page);
    // DEVIATION: one that has expired meanwhile interrupts at once.
    if (!isNew || !isCounting || initial === 0 || current === 0) return;
    ioctl(this.fd, KVM.SET_LAPIC, page.bytes, 'KVM_SET_LAPIC');
  }

  /** Gives the timer back what it has counted while the machine's clock stood still. */
  private corrected(page: Structure, stood: number): Structure {
    const { initial, isCounting, isOneShot, current, divide } = timerOf(page);
    if (!isCounting || current === 0 || stood <= 0) return page;
    const back = current + Math.floor(stood / countTime(divide));
    const count = isOneShot ? Math.min(initial, back) : ((back - 1) % initial) + 1;
    page.view.setUint32(PAGE.CURRENT, count, true);
    return page;
  }
}

interface TimerRegisters {
  readonly initial: number;
  readonly current: number;
  readonly divide: number;
  /** It counts, and is not compared with the time-stamp counter. */
  readonly isCounting: boolean;
  readonly isOneShot: boolean;
}

function timerOf({ view }: Structure): TimerRegisters {
  const mode = (view.getUint32(PAGE.LVT_TIMER, true) >>> MODE.SHIFT) & 3;
  const initial = view.getUint32(PAGE.INITIAL, true);
  return {
    initial,
    current: view.getUint32(PAGE.CURRENT, true),
    divide: view.getUint32(PAGE.DIVIDE, true),
    isCounting: mode === MODE.ONE_SHOT || mode === MODE.PERIODIC,
    isOneShot: mode === MODE.ONE_SHOT && initial !== 0,
  };
}
