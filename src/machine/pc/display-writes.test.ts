/** Lines of a screen that are not drawn again where KVM says that nobody has written to them: the frame is as if they were. */
import { expect, it, onTestFinished } from 'vitest';
import { resetVcpuState } from '../../arch/x86/boot-state.js';
import { cpuModel, resetIdentity } from '../../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../../arch/x86/cpuid.js';
import { GPR_NAMES } from '../../arch/x86/state.js';
import { assert } from '../../base/assert.js';
import { gpa, MIB, PAGE_SIZE } from '../../base/units.js';
import { Bus } from '../../bus/io-space.js';
import { PciBus } from '../../bus/pci/pci-bus.js';
import { Assembler, ptr, R } from '../../cpu/x86/assembler/index.js';
import { DISPI } from '../../devices/legacy/vga/dispi.js';
import { VRAM_SIZE } from '../../devices/legacy/vga/vga-card.js';
import { VGA_MEMORY } from '../../devices/legacy/vga/vga.js';
import { ScanOut } from '../../display/scan-out.js';
import { FakeClock } from '../../host/fake/clock.js';
import { RecordingLine, RecordingMsi } from '../../host/fake/lines.js';
import { longRing3 } from '../../testing/kvm-bench.js';
import { quietApic } from '../../testing/quiet-apic.js';
import { RandomSource } from '../../testing/random-source.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { CardSlots } from './card-slots.js';
import { PcDisplay } from './display.js';

const kvm = await requireKvm();
const makeVm = kvm.missing === undefined ? (await import('../../accel/kvm/vm.js')).KvmVm : undefined;

const RAM = 4 * MIB;
const CODE = 0x1_0000;
/** Mapped, without memory: a write there ends a program. */
const END = 0x4000_0000;
const LFB = 0xe000_0000;
const [WIDTH, HEIGHT] = [1024, 768];
const PITCH = WIDTH * 4;

/** A guest whose screen is drawn: a VGA on a card, its memory where the CPU finds it, and a CPU in ring 3. */
function machine() {
  if (!makeVm) throw new Error('there is no KVM');
  const model = cpuModel('x86-64-v2');
  const vm = new makeVm({
    model,
    cpuid: (index) => cpuidLeaves(model, { cpus: 1, apicId: index, tscHz: 1e9, crystalHz: 1e9 }),
    tscHz: 1e9,
    backingSize: RAM + VRAM_SIZE,
  });
  onTestFinished(() => {
    vm.dispose();
  });
  const bus = new Bus();
  const environment = { ports: bus.ports, memory: bus.memory, msi: new RecordingMsi() };
  const pci = new PciBus(() => new RecordingLine());
  const map = (): void => {
    vm.setSlots([{ start: gpa(0), size: RAM, offset: 0, kind: 'ram' }, ...display.slots]);
  };
  const display = new PcDisplay({
    options: { vga: 'std' },
    clock: new FakeClock(),
    bus,
    environment,
    cards: new CardSlots({ pci, environment, dma: vm.dma }),
    vm,
    memoryOffset: RAM,
    moved: map,
  });
  map();
  let isAtEnd = false;
  const cpu = vm.createVcpu(0, {
    io: {
      portRead: () => 0,
      portWrite: () => undefined,
      mmioRead: () => 0,
      mmioWrite: () => {
        isAtEnd = true;
      },
    },
    apic: quietApic(),
    now: () => performance.now() * 1e6,
    fillRandom: () => undefined,
    acknowledgeExtInt: () => 0,
  });
  const mode = longRing3(vm.backing, CODE);
  const view = new DataView(vm.backing.buffer);
  for (const gib of [1, 3]) {
    const directory = 0x8_0000 + gib * 0x1000;
    view.setBigUint64(0x2000 + 8 * gib, BigInt(directory | 7), true);
    for (let page = 0; page < 512; page++)
      view.setBigUint64(directory + 8 * page, (BigInt(gib) << 30n) | BigInt((page << 21) | 0x87), true);
  }
  // ECX words from RDI on, ESI bytes apart, get EAX.
  const asm = new Assembler({ bits: 64, origin: CODE });
  const again = asm.bind();
  asm.emit('mov', ptr([R.rdi]), R.eax);
  asm.emit('add', R.rdi, R.rsi);
  asm.emit('dec', R.ecx);
  asm.emit('jnz', again);
  asm.emit('mov', ptr([END]), R.eax);
  const stay = asm.bind();
  asm.emit('jmp', stay);
  vm.backing.set(asm.finish(), CODE);
  const base = resetVcpuState(resetIdentity(model), true);
  const store = (address: number, step: number, count: number, value: number): void => {
    const registers = { rdi: address, rsi: step, rcx: count, rax: value };
    cpu.restoreState({
      ...base,
      ...mode,
      gpr: GPR_NAMES.map((name) => BigInt((registers as Partial<Record<string, number>>)[name] ?? 0)),
      segments: { ...base.segments, ...mode.segments },
    });
    isAtEnd = false;
    for (let i = 0; i < 1000 && !isAtEnd; i++) cpu.run(1e7);
    expect(isAtEnd).toBe(true);
  };
  const config = [...pci.attached.values()][0].config;
  const { adapter } = display;
  assert(adapter !== undefined, 'there is an adapter');
  return { vm, bus, store, adapter, config };
}

describeWith([kvm], 'a screen whose writes KVM knows', () => {
  const dispi = (bus: Bus, index: number, value: number): void => {
    bus.portWrite(0x1ce, 2, index);
    bus.portWrite(0x1d0, 2, value);
  };

  it('is drawn where somebody has written, and nowhere else', () => {
    const { vm, bus, store, adapter, config } = machine();
    const map = (address: number): void => {
      config.write(0x04, 2, 0);
      config.write(0x10, 4, address);
      config.write(0x04, 2, 2);
    };
    const mode = (bits: number): void => {
      dispi(bus, DISPI.ENABLE, 0);
      dispi(bus, DISPI.XRES, WIDTH);
      dispi(bus, DISPI.YRES, HEIGHT);
      dispi(bus, DISPI.BPP, bits);
      dispi(bus, DISPI.ENABLE, 0x41);
    };
    const random = new RandomSource(7);
    const out = new ScanOut();
    /** The pages that are new in the next picture, once that has been drawn as it must be. */
    const look = (): number[] => {
      const picture = adapter.picture();
      out.update(picture, 0);
      const whole = new ScanOut();
      whole.update(picture, 0);
      expect(Buffer.compare(Buffer.from(out.frame.pixels.buffer), Buffer.from(whole.frame.pixels.buffer))).toBe(0);
      if (picture.kind !== 'linear' || picture.writes === undefined) throw new Error('no writes are known');
      const { now, pages } = picture.writes;
      return [...pages.keys()].filter((page) => pages[page] === now);
    };
    bus.portRead(0x3da, 1);
    bus.portWrite(0x3c0, 1, 0x20);
    // The window has 64 KiB at A0000h.
    bus.portWrite(0x3ce, 1, 6);
    bus.portWrite(0x3cf, 1, 5);
    let base = LFB;
    map(base);
    mode(32);
    expect(look()).toHaveLength(VRAM_SIZE / PAGE_SIZE);
    expect(look()).toEqual([]);
    for (let round = 0; round < 300; round++) {
      const at = random.below(HEIGHT * PITCH - PAGE_SIZE) & ~3;
      const first = at >> 12;
      switch (random.below(8)) {
        case 0:
        case 1:
        case 2: {
          const [step, count] = [4 * (1 + random.below(PITCH)), 1 + random.below(200)];
          const pages = new Set(Array.from({ length: count }, (_, i) => (at + i * step) >> 12));
          store(base + at, step, count, random.next());
          expect(look()).toEqual([...pages]);
          break;
        }
        case 3:
          vm.dma.write(gpa(base + at), random.bytes(64));
          expect(look()).toEqual((at & 4095) > 4032 ? [first, first + 1] : [first]);
          break;
        case 4:
          dispi(bus, DISPI.BANK, at >> 16);
          bus.mmioWrite(VGA_MEMORY + (at & 0xffff), 4, random.next());
          expect(look()).toEqual([first]);
          break;
        case 5:
          // Moved, with something written before and behind that.
          store(base + at, 4, 1, random.next());
          base = LFB + random.below(3) * VRAM_SIZE;
          map(base);
          store(base + at + 8192, 4, 1, random.next());
          expect(look()).toEqual([first, first + 2]);
          break;
        case 6:
          expect(look()).toEqual([]);
          break;
        case 7:
          mode(random.pick([16, 24, 32]));
          look();
          break;
      }
    }
  });
});
