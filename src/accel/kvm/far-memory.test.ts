/** Memory beyond 4 GiB: guests and devices reach all of it. Untouched pages cost the host nothing. */
import { expect, it, onTestFinished } from 'vitest';
import { cpuModel, resetIdentity } from '../../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../../arch/x86/cpuid.js';
import { resetVcpuState } from '../../arch/x86/boot-state.js';
import { GIB, gpa, MIB } from '../../base/units.js';
import { Assembler, ptr, R } from '../../cpu/x86/assembler/index.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { quietApic } from '../../testing/quiet-apic.js';
import { longRing3 } from '../../testing/kvm-bench.js';

const kvm = await requireKvm();
const makeVm = kvm.missing === undefined ? (await import('./vm.js')).KvmVm : undefined;

const NEAR = 4 * MIB;
const FAR = 5 * GIB + 8 * MIB;
const CODE = 0x1_0000;
/** Places beyond 4 GiB: at the first byte, across two pieces, and at the end. */
const PLACES = [4 * GIB, 5 * GIB - 4, 4 * GIB + 4 * GIB + 0x1000, 4 * GIB + FAR - 8];

describeWith([kvm], 'memory beyond 4 GiB on KVM', () => {
  it('is one for guests and devices', () => {
    if (!makeVm) throw new Error('there is no KVM');
    const model = cpuModel('x86-64-v2');
    const vm = new makeVm({
      model,
      cpuid: (index) => cpuidLeaves(model, { cpus: 1, apicId: index, tscHz: 1e9, crystalHz: 1e9 }),
      tscHz: 1e9,
      backingSize: NEAR,
      farSize: FAR,
    });
    onTestFinished(() => {
      vm.dispose();
    });
    expect(vm.far?.map(({ length }) => length)).toEqual([GIB, GIB, GIB, GIB, GIB, 8 * MIB]);
    vm.setSlots([
      { start: gpa(0), size: NEAR, offset: 0, kind: 'ram' },
      { start: gpa(4 * GIB), size: FAR, offset: NEAR, kind: 'ram' },
    ]);
    const writes: number[] = [];
    const cpu = vm.createVcpu(0, {
      io: {
        portRead: () => 0,
        portWrite: () => undefined,
        mmioRead: () => 0,
        mmioWrite: (address) => {
          writes.push(address);
        },
      },
      apic: quietApic(),
      now: () => performance.now() * 1e6,
      fillRandom: () => undefined,
      acknowledgeExtInt: () => 0,
    });
    const mode = longRing3(vm.backing, CODE);
    const view = new DataView(vm.backing.buffer);
    // Also what lies from 4 GiB on is mapped to itself, and a page of devices; ring 3 code runs by itself on every KVM.
    for (const gib of [1, 4, 5, 6, 7, 8, 9]) {
      const directory = 0x8_0000 + gib * 0x1000;
      view.setBigUint64(0x2000 + 8 * gib, BigInt(directory | 7), true);
      for (let page = 0; page < 512; page++)
        view.setBigUint64(directory + 8 * page, (BigInt(gib) << 30n) | BigInt((page << 21) | 0x87), true);
    }
    PLACES.forEach((place, i) => vm.dma.writeU64(gpa(place), 0x1111_2222_3333_4400n + BigInt(i)));
    const asm = new Assembler({ bits: 64, origin: CODE });
    PLACES.forEach((place, i) => {
      asm.emit('mov', R.rax, BigInt(place));
      asm.emit('mov', R.rdx, ptr([R.rax]));
      asm.emit('mov', ptr([0x2_0000 + 8 * i]), R.rdx);
      asm.emit('not', R.rdx);
      asm.emit('mov', ptr([R.rax]), R.rdx);
    });
    asm.emit('mov', ptr([0x4000_0000]), R.eax);
    const stay = asm.bind();
    asm.emit('jmp', stay);
    vm.backing.set(asm.finish(), CODE);
    const base = resetVcpuState(resetIdentity(model), true);
    cpu.restoreState({ ...base, ...mode, gpr: base.gpr, segments: { ...base.segments, ...mode.segments } });
    for (let i = 0; i < 1000 && writes.length === 0; i++) cpu.run(1e7);
    expect(writes).toEqual([0x4000_0000]);
    PLACES.forEach((place, i) => {
      const value = 0x1111_2222_3333_4400n + BigInt(i);
      expect(view.getBigUint64(0x2_0000 + 8 * i, true)).toBe(value);
      expect(vm.dma.readU64(gpa(place))).toBe(BigInt.asUintN(64, ~value));
    });
    // Beyond the end is nothing.
    expect(vm.dma.readU64(gpa(4 * GIB + FAR))).toBe(0xffff_ffff_ffff_ffffn);
    const across = new Uint8Array(3 * 4096).fill(0xab);
    expect(vm.dma.write(gpa(6 * GIB - 5000), across)).toBe(true);
    expect(vm.far?.[1].at(-1)).toBe(0xab);
    expect(vm.far?.[2].at(0)).toBe(0xab);
    const read = new Uint8Array(across.length);
    expect(vm.dma.read(gpa(6 * GIB - 5000), read)).toBe(true);
    expect(read).toEqual(across);
  });
});
