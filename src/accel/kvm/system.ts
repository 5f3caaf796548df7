/** /dev/kvm: whether it can be used, and what makes a machine of it. */
import { HostError } from '../../base/errors.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { KernelIrqchip } from '../common/kernel-irqchip.js';
import { MSR } from '../../arch/x86/msrs.js';
import { API_VERSION, CAP, KVM, MSR_FILTER, MSR_REASONS, SIZE } from './abi.js';
import { createControllers, IO_APIC_PINS } from './kernel-controllers.js';
import { addressOf, close, ERRNO, errorText, ioctl, open, SystemError } from './libc.js';
import { hasKvmClock, Structure } from './registers.js';

const DEVICE = '/dev/kvm';

/** Pages that KVM uses itself where hardware cannot do real mode, below the BIOS as others have them: one, and three. */
const IDENTITY_MAP = 0xfeff_c000n;
const TSS = 0xfeff_d000;

const NEEDED: readonly (readonly [number, string])[] = [
  [CAP.USER_MEMORY, 'memory of user space'],
  [CAP.READONLY_MEM, 'read-only memory'],
  [CAP.IMMEDIATE_EXIT, 'an end of runs before they begin'],
  [CAP.VCPU_EVENTS, 'the state of events'],
  [CAP.DEBUGREGS, 'the debug registers'],
  [CAP.XSAVE, 'the state of the floating-point unit'],
  [CAP.GET_TSC_KHZ, 'the rate of the time-stamp counter'],
  [CAP.X86_USER_SPACE_MSR, 'MSRs of user space'],
  [CAP.X86_MSR_FILTER, 'filtered MSRs'],
];

/** Besides, where it has interrupt controllers. */
const CHIPS_NEED: readonly (readonly [number, string])[] = [
  [CAP.SPLIT_IRQCHIP, 'local APICs of its own'],
  [CAP.SIGNAL_MSI, 'messages to local APICs'],
  [CAP.IRQ_ROUTING, 'routes of interrupts'],
  [CAP.MP_STATE, 'the state of CPUs that wait'],
];
/** Besides, where it has all of them. */
const CONTROLLERS_NEED: typeof CHIPS_NEED = [
  [CAP.IRQCHIP, 'interrupt controllers of its own'],
  [CAP.PIT2, 'an 8254 of its own'],
  [CAP.PIT_STATE2, 'the state of its 8254'],
];

/** Ranges of MSRs that KVM itself is to hold; all others come to the same code as on the other accelerators. */
const OWN_MSRS: readonly (readonly [first: number, last: number])[] = [
  [MSR.TSC, MSR.TSC],
  [MSR.TSC_ADJUST, MSR.TSC_ADJUST],
  [MSR.SYSENTER_CS, MSR.SYSENTER_EIP],
  [MSR.PAT, MSR.PAT],
  [MSR.EFER, MSR.FMASK],
  [MSR.FS_BASE, MSR.TSC_AUX],
  [MSR.XSS, MSR.XSS],
];
/** Besides, where KVM has the local APIC; those of x2APIC mode are its own then, whatever a filter says. */
const APIC_MSRS = [
  [MSR.APIC_BASE, MSR.APIC_BASE],
  [MSR.TSC_DEADLINE, MSR.TSC_DEADLINE],
] as const;
/** Besides, where the CPU model has KVM's clock. */
const CLOCK_MSRS = [MSR.KVM_WALL_CLOCK, MSR.KVM_SYSTEM_TIME] as const;

function openDevice(): number {
  try {
    return open(DEVICE);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    switch (error.errno) {
      case ERRNO.ENOENT:
        throw new HostError('this host has no /dev/kvm: its processor or its kernel offers no virtualization');
      case ERRNO.EACCES:
      case ERRNO.EPERM:
        throw new HostError('/dev/kvm may not be opened: join the group kvm, or run as somebody who may');
      default:
        throw new HostError(`/dev/kvm cannot be opened: ${errorText(error.errno)}`, { cause: error });
    }
  }
}

export class KvmSystem {
  readonly fd: number;

  /** Throws a one-line error that says why there is no KVM to be had. */
  constructor() {
    this.fd = openDevice();
    try {
      this.check();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private check(): void {
    const version = ioctl(this.fd, KVM.GET_API_VERSION, 0, 'KVM_GET_API_VERSION');
    if (version !== API_VERSION) throw new HostError(`the host's KVM has version ${version}, not ${API_VERSION}`);
    const lacking = NEEDED.find(([capability]) => !this.has(capability));
    if (lacking) throw new HostError(`the host's KVM does not offer ${lacking[1]}`);
  }

  has(capability: number): boolean {
    return ioctl(this.fd, KVM.CHECK_EXTENSION, capability, 'KVM_CHECK_EXTENSION') > 0;
  }

  /** Of all that we know to use: whether it is there. */
  get capabilities(): Readonly<Record<string, boolean>> {
    return Object.fromEntries(Object.entries(CAP).map(([name, number]) => [name, this.has(number)]));
  }

  createVm(): number {
    const vm = ioctl(this.fd, KVM.CREATE_VM, 0, 'KVM_CREATE_VM');
    try {
      ioctl(vm, KVM.SET_TSS_ADDR, TSS, 'KVM_SET_TSS_ADDR');
      const identity = new Structure(8);
      identity.setU64(0, IDENTITY_MAP);
      ioctl(vm, KVM.SET_IDENTITY_MAP_ADDR, identity.bytes, 'KVM_SET_IDENTITY_MAP_ADDR');
      return vm;
    } catch (error) {
      close(vm);
      throw error;
    }
  }

  /** Gives the machine its part of KVM's interrupt controllers; before it has CPUs. */
  createChips(vm: number, irqchip: KernelIrqchip): void {
    if (irqchip === 'off') return;
    const needed = irqchip === 'on' ? [...CHIPS_NEED, ...CONTROLLERS_NEED] : CHIPS_NEED;
    const lacking = needed.find(([capability]) => !this.has(capability));
    if (lacking) throw new HostError(`the host's KVM does not offer ${lacking[1]}: --kernel-irqchip off needs none`);
    if (irqchip === 'on') {
      createControllers(vm);
      return;
    }
    const capability = new Structure(SIZE.ENABLE_CAP);
    capability.view.setUint32(0, CAP.SPLIT_IRQCHIP, true);
    capability.setU64(8, BigInt(IO_APIC_PINS));
    ioctl(vm, KVM.ENABLE_CAP, capability.bytes, 'KVM_CAP_SPLIT_IRQCHIP');
  }

  /** Size of struct kvm_run with what follows it, in bytes. */
  get runSize(): number {
    return ioctl(this.fd, KVM.GET_VCPU_MMAP_SIZE, 0, 'KVM_GET_VCPU_MMAP_SIZE');
  }

  /** Makes accesses to MSRs leave the guest, those to KVM's own apart. */
  routeMsrs(vm: number, model: CpuModel, irqchip: KernelIrqchip): void {
    const ranges = [...OWN_MSRS, ...(hasKvmClock(model) ? [CLOCK_MSRS] : []), ...(irqchip === 'off' ? [] : APIC_MSRS)];
    const capability = new Structure(SIZE.ENABLE_CAP);
    capability.view.setUint32(0, CAP.X86_USER_SPACE_MSR, true);
    capability.setU64(8, BigInt(MSR_REASONS));
    ioctl(vm, KVM.ENABLE_CAP, capability.bytes, 'KVM_CAP_X86_USER_SPACE_MSR');
    const filter = new Structure(SIZE.MSR_FILTER);
    filter.view.setUint32(0, MSR_FILTER.DEFAULT_DENY, true);
    // KVM reads the bitmaps during the call only.
    // Of buffers of their own, which stay where they are.
    const bitmaps = ranges.map(([first, last]) =>
      new Uint8Array(new ArrayBuffer(Math.ceil((last - first + 1) / 8))).fill(0xff),
    );
    for (const [i, [first, last]] of ranges.entries()) {
      const at = 8 + 24 * i;
      filter.view.setUint32(at, MSR_FILTER.READ | MSR_FILTER.WRITE, true);
      filter.view.setUint32(at + 4, last - first + 1, true);
      filter.view.setUint32(at + 8, first, true);
      filter.setU64(at + 16, addressOf(bitmaps[i]));
    }
    ioctl(vm, KVM.X86_SET_MSR_FILTER, filter.bytes, 'KVM_X86_SET_MSR_FILTER');
  }

  /** Ticks of the time-stamp counter that guests see, per second. */
  tscHz(): number {
    const vm = this.createVm();
    try {
      const cpu = ioctl(vm, KVM.CREATE_VCPU, 0, 'KVM_CREATE_VCPU');
      try {
        return ioctl(cpu, KVM.GET_TSC_KHZ, 0, 'KVM_GET_TSC_KHZ') * 1000;
      } finally {
        close(cpu);
      }
    } finally {
      close(vm);
    }
  }

  close(): void {
    close(this.fd);
  }
}
