/** A machine of KVM's that has 8259s, I/O APIC and 8254, and the board's view of them; for tests. */
import type { KernelControllers } from '../accel/kvm/kernel-controllers.js';
import type { KvmVm } from '../accel/kvm/vm.js';
import { assert } from '../base/assert.js';
import { OutsideIoApic } from '../devices/apic/outside-io-apic.js';
import { OutsidePic } from '../devices/legacy/pic/outside-pic.js';
import { OutsidePit } from '../devices/legacy/pit/outside-pit.js';
import { KvmChipsBench } from './kvm-chips-bench.js';

export interface ControllersBench {
  readonly on: KvmChipsBench;
  readonly controllers: KernelControllers;
  readonly pic: OutsidePic;
  readonly ioApic: OutsideIoApic;
  readonly pit: OutsidePit;
}

export function controllersBench(makeVm: typeof KvmVm | undefined): ControllersBench {
  const on = new KvmChipsBench(makeVm, { irqchip: 'on' });
  const controllers = on.vm.chips?.controllers;
  assert(controllers !== undefined, 'KVM has them');
  const [pic, ioApic] = [new OutsidePic(controllers), new OutsideIoApic(controllers)];
  return { on, controllers, pic, ioApic, pit: new OutsidePit(controllers, on.clock) };
}
