/** 8259s, I/O APIC and 8254 in the kernel. The guest reaches them there; devices pull their inputs by KVM_IRQ_LINE. */
import type { IoApicRegisters, OutsideControllers, PicRegisters, PitRegisters } from '../../iface/chips.js';
import type { IrqLine } from '../../iface/lines.js';
import { CHANNEL, IOAPIC, IRQCHIP, KVM, PIC, PIT, ROUTE, SIZE } from './abi.js';
import { ioctl, monotonic } from './libc.js';
import { Structure } from './registers.js';

export const IO_APIC_PINS = 24;
const PIC_PINS = 16;
const CASCADE = 2;
/** Interrupts of KVM's: an 8259's pin is called so; the I/O APIC's begin here, but for that of the 8254, which KVM itself drives as interrupt 0. */
const FIRST_IO_APIC = 32;
const TICK_PIN = 2;
const LEVEL_TRIGGERED = 1 << 15;

/** CLK of the 8254 in Hz. */
const PIT_HZ = 1_193_182;
/** Of what is read or written in two bytes: KVM's numbers for the first and the second one. */
const WORD = { HIGH: 2, FIRST: 3, SECOND: 4 } as const;
/** Access to both bytes. */
const BOTH = 3;
const NEVER_PROGRAMMED = 0xff;
/** It counts once, and not again and again. */
const isOneShot = (mode: number): boolean => mode !== 2 && mode !== 3;

/** Of two chips of 8 pins. */
const picRoute = (pin: number): readonly [chip: number, pin: number] => [
  pin < 8 ? IRQCHIP.PIC_FIRST : IRQCHIP.PIC_SECOND,
  pin & 7,
];

const ioApicInterrupt = (pin: number): number => (pin === TICK_PIN ? 0 : FIRST_IO_APIC + pin);

/** Which pin of which chip each interrupt leads to. */
function routes(): Structure {
  const all: (readonly [interrupt: number, chip: number, pin: number])[] = [];
  for (let pin = 0; pin < PIC_PINS; pin++) if (pin !== CASCADE) all.push([pin, ...picRoute(pin)]);
  for (let pin = 0; pin < IO_APIC_PINS; pin++) all.push([ioApicInterrupt(pin), IRQCHIP.IOAPIC, pin]);
  const table = new Structure(8 + SIZE.ROUTE * all.length);
  table.view.setUint32(0, all.length, true);
  for (const [i, [interrupt, chip, pin]] of all.entries()) {
    const at = 8 + SIZE.ROUTE * i;
    table.view.setUint32(at, interrupt, true);
    table.view.setUint32(at + 4, ROUTE.IRQCHIP, true);
    table.view.setUint32(at + 16, chip, true);
    table.view.setUint32(at + 20, pin, true);
  }
  return table;
}

/** Makes the chips, in a machine of KVM's that has no CPUs yet. */
export function createControllers(vm: number): void {
  ioctl(vm, KVM.CREATE_IRQCHIP, 0, 'KVM_CREATE_IRQCHIP');
  const config = new Structure(SIZE.PIT_CONFIG);
  config.view.setUint32(0, PIT.SPEAKER_DUMMY, true);
  ioctl(vm, KVM.CREATE_PIT2, config.bytes, 'KVM_CREATE_PIT2');
  ioctl(vm, KVM.SET_GSI_ROUTING, routes().bytes, 'KVM_SET_GSI_ROUTING');
}

export class KernelControllers implements OutsideControllers {
  /** Levels of the inputs, as devices have them. */
  private readonly picLevels = new Array<boolean>(PIC_PINS).fill(false);
  private readonly ioApicLevels = new Array<boolean>(IO_APIC_PINS).fill(false);
  /** Interrupts of KVM's that are asserted. */
  private readonly asserted = new Set<number>();
  private readonly level = new Structure(SIZE.IRQ_LEVEL);
  /** What the 8254 of a machine that stands still is to go on with. */
  private waiting: ReturnType<OutsideControllers['loadPit']> | undefined;
  /** Nanoseconds for which the machine's clock has stood still until now, and which its CPU does not know of yet. */
  stood: () => number = () => 0;

  constructor(private readonly vm: number) {}

  pic(pin: number): IrqLine {
    return {
      set: (asserted) => {
        this.picLevels[pin] = asserted;
        this.drive(pin);
      },
    };
  }

  ioApic(pin: number): IrqLine {
    return {
      set: (asserted) => {
        this.ioApicLevels[pin] = asserted;
        this.drive(ioApicInterrupt(pin));
      },
    };
  }

  private drive(interrupt: number): void {
    const { picLevels, ioApicLevels } = this;
    const level =
      interrupt === 0
        ? picLevels[0] || ioApicLevels[TICK_PIN]
        : interrupt < PIC_PINS
          ? picLevels[interrupt]
          : ioApicLevels[interrupt - FIRST_IO_APIC];
    if (level === this.asserted.has(interrupt)) return;
    if (level) this.asserted.add(interrupt);
    else this.asserted.delete(interrupt);
    const { view, bytes } = this.level;
    view.setUint32(0, interrupt, true);
    view.setUint32(4, level ? 1 : 0, true);
    ioctl(this.vm, KVM.IRQ_LINE, bytes, 'KVM_IRQ_LINE');
  }

  release(): void {
    this.picLevels.fill(false);
    this.ioApicLevels.fill(false);
    for (const interrupt of [...this.asserted]) this.drive(interrupt);
  }

  private loadChip(chip: number): Structure {
    const state = new Structure(SIZE.IRQCHIP);
    state.view.setUint32(0, chip, true);
    ioctl(this.vm, KVM.GET_IRQCHIP, state.bytes, 'KVM_GET_IRQCHIP');
    return state;
  }

  private storeChip(state: Structure): void {
    ioctl(this.vm, KVM.SET_IRQCHIP, state.bytes, 'KVM_SET_IRQCHIP');
  }

  // ---- 8259s ----

  loadPics(): readonly [PicRegisters, PicRegisters] {
    return [this.loadPic(IRQCHIP.PIC_FIRST), this.loadPic(IRQCHIP.PIC_SECOND)];
  }

  private loadPic(chip: number): PicRegisters {
    const state = this.loadChip(chip).bytes.subarray(IRQCHIP.STATE);
    const step = state[PIC.INIT_STATE];
    return {
      irr: state[PIC.IRR],
      isr: state[PIC.ISR],
      imr: state[PIC.IMR],
      pins: state[PIC.LAST_IRR],
      elcr: state[PIC.ELCR],
      base: state[PIC.BASE],
      // KVM has the level of highest priority.
      bottom: (state[PIC.PRIORITY_ADD] + 7) & 7,
      expecting: step === 0 ? 0 : step + 1,
      withIcw4: state[PIC.INIT4] !== 0,
      autoEoi: state[PIC.AUTO_EOI] !== 0,
      rotateAutoEoi: state[PIC.ROTATE] !== 0,
      fullyNested: state[PIC.NESTED] !== 0,
      specialMask: state[PIC.SPECIAL_MASK] !== 0,
      readIsr: state[PIC.READ_ISR] !== 0,
      poll: state[PIC.POLL] !== 0,
    };
  }

  storePics(first: PicRegisters, second: PicRegisters): void {
    // The second one drives the first, whose own state then has the last word. Pin 0 KVM's 8254 has low between its ticks.
    this.storePic(IRQCHIP.PIC_SECOND, second);
    this.storePic(IRQCHIP.PIC_FIRST, { ...first, pins: first.pins & ~1 });
  }

  private storePic(chip: number, registers: PicRegisters): void {
    // What is not ours to say, KVM has said: which pins can be level-triggered.
    const whole = this.loadChip(chip);
    const state = whole.bytes.subarray(IRQCHIP.STATE);
    state[PIC.LAST_IRR] = registers.pins;
    state[PIC.IRR] = registers.irr;
    state[PIC.IMR] = registers.imr;
    state[PIC.ISR] = registers.isr;
    state[PIC.PRIORITY_ADD] = (registers.bottom + 1) & 7;
    state[PIC.BASE] = registers.base;
    state[PIC.READ_ISR] = Number(registers.readIsr);
    state[PIC.POLL] = Number(registers.poll);
    state[PIC.SPECIAL_MASK] = Number(registers.specialMask);
    state[PIC.INIT_STATE] = registers.expecting === 0 ? 0 : registers.expecting - 1;
    state[PIC.AUTO_EOI] = Number(registers.autoEoi);
    state[PIC.ROTATE] = Number(registers.rotateAutoEoi);
    state[PIC.NESTED] = Number(registers.fullyNested);
    state[PIC.INIT4] = Number(registers.withIcw4);
    state[PIC.ELCR] = registers.elcr;
    this.storeChip(whole);
  }

  // ---- I/O APIC ----

  loadIoApic(): IoApicRegisters {
    const { view } = this.loadChip(IRQCHIP.IOAPIC);
    const word = (at: number): number => view.getUint32(IRQCHIP.STATE + at, true);
    const pins = Array.from({ length: IO_APIC_PINS }, (_, pin) => pin);
    return {
      apicId: word(IOAPIC.ID) & 0xf,
      select: word(IOAPIC.SELECT) & 0xff,
      low: pins.map((pin) => word(IOAPIC.ENTRIES + 8 * pin)),
      high: pins.map((pin) => word(IOAPIC.ENTRIES + 8 * pin + 4)),
      levels: [...this.ioApicLevels],
    };
  }

  storeIoApic({ apicId, select, low, high, levels }: IoApicRegisters): void {
    const state = this.loadChip(IRQCHIP.IOAPIC);
    const put = (at: number, value: number): void => {
      state.view.setUint32(IRQCHIP.STATE + at, value, true);
    };
    put(IOAPIC.SELECT, select);
    put(IOAPIC.ID, apicId);
    // What is there KVM sends: an edge has been sent.
    put(
      IOAPIC.IRR,
      levels.reduce((bits, level, pin) => bits | (level && low[pin] & LEVEL_TRIGGERED ? 1 << pin : 0), 0),
    );
    for (const [pin, entry] of low.entries()) {
      put(IOAPIC.ENTRIES + 8 * pin, entry);
      put(IOAPIC.ENTRIES + 8 * pin + 4, high[pin]);
    }
    this.storeChip(state);
  }

  // ---- 8254 ----

  private get pit(): Structure {
    const state = new Structure(SIZE.PIT2);
    ioctl(this.vm, KVM.GET_PIT2, state.bytes, 'KVM_GET_PIT2');
    return state;
  }

  /** KVM begins to count anew with it. */
  private set pit(state: Structure) {
    ioctl(this.vm, KVM.SET_PIT2, state.bytes, 'KVM_SET_PIT2');
  }

  loadPit(): ReturnType<OutsideControllers['loadPit']> {
    if (this.waiting) return this.waiting;
    const state = this.pit;
    const now = monotonic() - this.stood();
    const counters = [0, 1, 2].map((n) => loadCounter(state, PIT.CHANNEL_SIZE * n, now));
    return { counters, speaker: (state.view.getUint32(PIT.FLAGS, true) & PIT.SPEAKER_DATA_ON) !== 0 };
  }

  /** DEVIATION: what counts again and again begins its period anew, since KVM takes no other beginning; BCD it does not know. */
  storePit(counters: readonly PitRegisters[], speaker: boolean): void {
    this.waiting = { counters, speaker };
    // KVM would count, and interrupt, while the machine stands still.
    this.put(
      counters.map((counter, n) => (n === 0 ? { ...counter, mode: undefined } : counter)),
      speaker,
    );
  }

  private put(counters: readonly PitRegisters[], speaker: boolean): void {
    const state = this.pit;
    for (const [n, counter] of counters.entries()) storeCounter(state, PIT.CHANNEL_SIZE * n, counter, n === 0);
    const replaced = state.view.getUint32(PIT.FLAGS, true) & PIT.HPET_LEGACY;
    state.view.setUint32(PIT.FLAGS, replaced | (speaker ? PIT.SPEAKER_DATA_ON : 0), true);
    this.pit = state;
  }

  replacePit(replaced: boolean): void {
    const state = this.pit;
    const flags = state.view.getUint32(PIT.FLAGS, true);
    state.view.setUint32(PIT.FLAGS, (flags & ~PIT.HPET_LEGACY) | (replaced ? PIT.HPET_LEGACY : 0), true);
    this.pit = state;
  }

  /** The guest is about to run. */
  begin(): void {
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting) this.put(waiting.counters, waiting.speaker);
  }

  /** The machine's clock goes on, which has stood still for so many nanoseconds. */
  resume(stood: number): void {
    if (this.waiting || stood === 0) {
      this.begin();
      return;
    }
    const { counters, speaker } = this.loadPit();
    this.put(
      counters.map((counter) => (isOver(counter) ? counter : { ...counter, age: Math.max(0, counter.age - stood) })),
      speaker,
    );
  }
}

const duration = (count: number): number => (count / PIT_HZ) * 1e9;

/** It has interrupted, and does so no more. */
const isOver = ({ mode, count, age }: PitRegisters): boolean =>
  mode === undefined || (isOneShot(mode) && age >= duration(count));

/** `now`: by the host's clock, which KVM's goes by. */
function loadCounter({ view }: Structure, at: number, now: number): PitRegisters {
  const byte = (field: number): number => view.getUint8(at + field);
  const mode = byte(CHANNEL.MODE);
  const latched = byte(CHANNEL.COUNT_LATCHED);
  const access = byte(CHANNEL.RW_MODE);
  return {
    mode: mode > 5 ? undefined : mode,
    access: access === 0 ? BOTH : access,
    count: Math.min(0x1_0000, Math.max(1, view.getUint32(at + CHANNEL.COUNT, true))),
    age: Math.max(0, now - Number(view.getBigInt64(at + CHANNEL.LOAD_TIME, true))),
    gate: byte(CHANNEL.GATE) !== 0,
    partial: byte(CHANNEL.WRITE_STATE) === WORD.SECOND ? byte(CHANNEL.WRITE_LATCH) : null,
    readHigh: latched === 0 ? byte(CHANNEL.READ_STATE) === WORD.SECOND : latched === WORD.HIGH && access === BOTH,
    latchedCount: latched === 0 ? null : view.getUint16(at + CHANNEL.LATCHED_COUNT, true),
    latchedStatus: byte(CHANNEL.STATUS_LATCHED) === 0 ? null : byte(CHANNEL.STATUS),
  };
}

/** One that has something left to count gets that to count. */
function storeCounter({ view }: Structure, at: number, counter: PitRegisters, interrupts: boolean): void {
  const { mode, access, gate, partial, readHigh, latchedCount, latchedStatus } = counter;
  const put = (field: number, value: number): void => {
    view.setUint8(at + field, value);
  };
  const left =
    mode !== undefined && isOneShot(mode) ? counter.count - Math.floor((counter.age * PIT_HZ) / 1e9) : counter.count;
  // One that has interrupted would do so again.
  const isDone = mode === undefined || (interrupts && isOver(counter));
  view.setUint32(at + CHANNEL.COUNT, Math.max(1, left), true);
  view.setUint16(at + CHANNEL.LATCHED_COUNT, latchedCount ?? 0, true);
  put(CHANNEL.COUNT_LATCHED, latchedCount === null ? 0 : access === BOTH && readHigh ? WORD.HIGH : access);
  put(CHANNEL.STATUS_LATCHED, latchedStatus === null ? 0 : 1);
  put(CHANNEL.STATUS, latchedStatus ?? 0);
  put(CHANNEL.READ_STATE, latchedCount === null && readHigh ? WORD.SECOND : access);
  put(CHANNEL.WRITE_STATE, partial === null ? access : WORD.SECOND);
  put(CHANNEL.WRITE_LATCH, partial ?? 0);
  put(CHANNEL.RW_MODE, access);
  put(CHANNEL.MODE, isDone ? NEVER_PROGRAMMED : mode);
  put(CHANNEL.BCD, 0);
  put(CHANNEL.GATE, gate ? 1 : 0);
}
