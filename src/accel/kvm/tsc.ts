/** The time-stamp counter of a CPU, which stands still while its machine's clock does. */
import { MSR } from '../../arch/x86/msrs.js';
import { KVM, TSC_OFFSET } from './abi.js';
import { addressOf, ioctl, monotonic, SystemError } from './libc.js';
import { Structure, type Registers } from './registers.js';

/** A clock that is behind by so much more than before has stood still. Nanoseconds. */
const PAUSE = 1e6;

/** Ticks. */
const FAR = 1n << 60n;

export class TimeStampCounter {
  /** By how much the machine's clock is behind the host's, which never stops. Nanoseconds. */
  private behind = 0;
  /** In place: struct kvm_device_attr, and what it points to. */
  private readonly value = new Structure(8);
  private readonly attribute = new Structure(24);
  private readonly hasOffset: boolean;

  constructor(
    private readonly fd: number,
    private readonly registers: Registers,
    /** Ticks per second. */
    private readonly hz: number,
  ) {
    this.attribute.view.setUint32(4, TSC_OFFSET.GROUP, true);
    this.attribute.setU64(8, TSC_OFFSET.ATTRIBUTE);
    this.attribute.setU64(16, addressOf(this.value.bytes));
    this.hasOffset = this.findOffset();
  }

  private findOffset(): boolean {
    try {
      ioctl(this.fd, KVM.HAS_DEVICE_ATTR, this.attribute.bytes, 'KVM_HAS_DEVICE_ATTR');
      return true;
    } catch (error) {
      if (error instanceof SystemError) return false;
      throw error;
    }
  }

  read(): bigint {
    return this.registers.msrs([MSR.TSC])[0][1];
  }

  /** The counter was set, and the machine's clock says `now`: from here on they go together. */
  wasSet(now: number): void {
    this.behind = monotonic() - now;
  }

  /** Takes the counter back by as much as the machine's clock has stood still. True: it did. */
  follow(now: number): boolean {
    const behind = monotonic() - now;
    const stood = behind - this.behind;
    if (stood < PAUSE) return false;
    this.behind = behind;
    this.takeBack(BigInt(Math.round((stood * this.hz) / 1e9)));
    return true;
  }

  private takeBack(ticks: bigint): void {
    if (!this.hasOffset) {
      // Such hosts take a value within a second of the present one for the wish that CPUs are in step, and ignore it: it comes from afar.
      const wanted = BigInt.asUintN(64, this.read() - ticks);
      this.registers.setMsrs([[MSR.TSC, BigInt.asUintN(64, wanted + FAR)]]);
      this.registers.setMsrs([[MSR.TSC, wanted]]);
      return;
    }
    ioctl(this.fd, KVM.GET_DEVICE_ATTR, this.attribute.bytes, 'KVM_VCPU_TSC_OFFSET');
    this.value.setU64(0, BigInt.asUintN(64, this.value.u64(0) - ticks));
    ioctl(this.fd, KVM.SET_DEVICE_ATTR, this.attribute.bytes, 'KVM_VCPU_TSC_OFFSET');
  }
}
