/** KVM's own interrupt controllers: local APICs in the kernel, and what they need of the rest of the machine. */
import type { AcceleratorChips, Redirections } from '../../iface/chips.js';
import type { ApicMessage, DeliveryMode, Destination } from '../../iface/local-apic.js';
import { KVM, ROUTE, SIZE } from './abi.js';
import { KernelApic } from './kernel-apic.js';
import { KernelControllers } from './kernel-controllers.js';
import { ioctl, tryIoctl } from './libc.js';
import { Structure } from './registers.js';

/** Message address and data, SDM vol. 3 §11.11. */
const ADDRESS = { BASE: 0xfee0_0000, ID_SHIFT: 12, LOGICAL: 1 << 2 } as const;
const DATA = { MODE_SHIFT: 8, ASSERT: 1 << 14, LEVEL: 1 << 15 } as const;
const MODES: readonly (DeliveryMode | undefined)[] = [
  'fixed',
  'lowest',
  'smi',
  undefined,
  'nmi',
  'init',
  'startup',
  'extint',
];

/** Redirection entry, low half, 82093AA §3.2.4. The bits below LOGICAL are those of a message's data. */
const ENTRY = { MESSAGE: 0x7ff, LOGICAL: 1 << 11, REMOTE_IRR: 1 << 14, LEVEL: 1 << 15, MASKED: 1 << 16 } as const;

const address = (id: number, logical: boolean): number =>
  ADDRESS.BASE | ((id & 0xff) << ADDRESS.ID_SHIFT) | (logical ? ADDRESS.LOGICAL : 0);

/** struct kvm_irq_routing for entries of which KVM must tell the end of the interrupt. */
function routesOf(entries: Redirections): Structure {
  const told = [...entries.entries()].filter(
    ([, { low }]) => low & ENTRY.LEVEL && (!(low & ENTRY.MASKED) || low & ENTRY.REMOTE_IRR),
  );
  const routes = new Structure(8 + SIZE.ROUTE * told.length);
  routes.view.setUint32(0, told.length, true);
  for (const [i, [pin, { low, high }]] of told.entries()) {
    const at = 8 + SIZE.ROUTE * i;
    routes.view.setUint32(at, pin, true);
    routes.view.setUint32(at + 4, ROUTE.MSI, true);
    routes.view.setUint32(at + 16, address(high >>> 24, (low & ENTRY.LOGICAL) !== 0), true);
    routes.view.setUint32(at + 24, (low & ENTRY.MESSAGE) | DATA.ASSERT | DATA.LEVEL, true);
  }
  return routes;
}

export class KvmChips implements AcceleratorChips {
  private readonly apics: (KernelApic | undefined)[] = [];
  private readonly message = new Structure(SIZE.MSI);
  private routes = '';
  readonly controllers: KernelControllers | undefined;

  /** `vm` and `cpus` are KVM's descriptors; `hasAll`: 8259s, I/O APIC and 8254, too. */
  constructor(
    private readonly vm: number,
    private readonly cpus: readonly { readonly fd: number }[],
    hasAll: boolean,
  ) {
    if (hasAll) this.controllers = new KernelControllers(vm);
  }

  localApic(index: number): KernelApic {
    const apic = this.apics[index] ?? new KernelApic(this.cpus[index].fd);
    this.apics[index] = apic;
    return apic;
  }

  /** DEVIATION: ExtINT messages do nothing; KVM takes interrupts of the 8259 by LINT0 alone. */
  send({ mode, vector, trigger }: ApicMessage, { id, logical }: Destination): boolean {
    const { view, bytes } = this.message;
    view.setUint32(0, address(id, logical), true);
    const level = trigger === 'level' ? DATA.LEVEL : 0;
    view.setUint32(8, vector | (MODES.indexOf(mode) << DATA.MODE_SHIFT) | DATA.ASSERT | level, true);
    // Refused: nobody is addressed. 0: it is pending already.
    return tryIoctl(this.vm, KVM.SIGNAL_MSI, bytes) >= 0;
  }

  setRedirections(entries: Redirections): void {
    const routes = routesOf(entries);
    // Most changes are none for KVM.
    const text = routes.bytes.toString();
    if (text === this.routes) return;
    this.routes = text;
    ioctl(this.vm, KVM.SET_GSI_ROUTING, routes.bytes, 'KVM_SET_GSI_ROUTING');
  }
}
