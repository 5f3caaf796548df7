/**
 * ACPI fixed hardware of the ICH9: the 128-byte block at PMBASE and the APM ports 0xb2/0xb3. After "Intel I/O Controller
 * Hub 9 Family Datasheet" 316972-004, "Power Management I/O Registers", and ACPI 6.5 §4.8.3.
 *
 * There is no system management mode, so no SMI is ever raised; what firmware would do in its SMI handler to hand over
 * to ACPI happens at port 0xb2 itself.
 */
import { nanoseconds } from '../../../base/units.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Clock, Timer } from '../../../iface/clock.js';
import type { IrqLine, MachineControl } from '../../../iface/lines.js';
import { bytes, int, struct, u16, u8, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { Oscillator } from '../oscillator.js';

/** Rate of the PM timer in Hz, ACPI 6.5 §4.8.3.3. */
export const PM_TIMER_HZ = 3_579_545;
/** Bytes at PMBASE. */
export const PM_BLOCK_SIZE = 128;
/** Where registers lie from PMBASE, for the FADT. */
export const PM_OFFSET = {
  PM1_STS: 0x00,
  PM1_EN: 0x02,
  PM1_CNT: 0x04,
  PM1_TMR: 0x08,
  GPE0_STS: 0x20,
  GPE0_EN: 0x28,
  SMI_EN: 0x30,
  SMI_STS: 0x34,
  PM2_CNT: 0x50,
  TCO: 0x60,
} as const;
/** Bytes of each half (status, enable) of the GPE0 block. */
export const GPE0_HALF = 8;
/** What port 0xb2 takes to enter and leave ACPI mode, for the FADT. */
export const APM = { ACPI_ENABLE: 0x02, ACPI_DISABLE: 0x03 } as const;
/** Values of SLP_TYP (PM1_CNT 12:10), for the \_Sx objects. S3 and S4 are refused: the machine wakes at once. */
export const SLP_TYP = { S0: 0, S3: 5, S4: 6, S5: 7 } as const;

/** PM1_STS: written 1 to clear. */
const PM1_STS = { TMROF: 1 << 0, GBL: 1 << 5, PWRBTN: 1 << 8, RTC: 1 << 10, WAK: 1 << 15 } as const;
const PM1_EN_MASK = PM1_STS.TMROF | PM1_STS.GBL | PM1_STS.PWRBTN | PM1_STS.RTC;
const PM1_CNT = { SCI_EN: 1 << 0, BM_RLD: 1 << 1, SLP_TYP: 7 << 10, SLP_EN: 1 << 13 } as const;
const SMI_EN = { BIOS_RLS: 1 << 1, APMC_EN: 1 << 5 } as const;

const stateSchema = struct({
  status: u16,
  enable: u16,
  control: u16,
  /** PM timer period in which its top bit changes next, as of the last look; counted without wrapping. */
  overflowAt: int,
  gpeStatus: bytes(GPE0_HALF),
  gpeEnable: bytes(GPE0_HALF),
  /** Registers that only remember: bytes 0x30 … 0x7f of the block. */
  storage: bytes(PM_BLOCK_SIZE - PM_OFFSET.SMI_EN),
  /** Ports 0xb2 and 0xb3. */
  apmControl: u8,
  apmStatus: u8,
});
type State = Infer<typeof stateSchema>;

export class AcpiPm implements Snapshotable<State>, IoHandler {
  readonly id = 'acpi-pm';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;

  private status = 0;
  private enable = 0;
  private control = 0;
  private overflowAt: number;
  private gpeStatus = new Uint8Array(GPE0_HALF);
  private gpeEnable = new Uint8Array(GPE0_HALF);
  private storage = new Uint8Array(PM_BLOCK_SIZE - PM_OFFSET.SMI_EN);
  private apmControl = 0;
  private apmStatus = 0;
  private readonly oscillator: Oscillator;
  private readonly timer: Timer;
  /** Periods between changes of the timer's top bit. */
  private readonly half: number;

  /** Ports 0xb2 (APM_CNT) and 0xb3 (APM_STS). */
  readonly apmPorts: IoHandler;

  /**
   * `sci` is ISA interrupt 9, level-triggered. `timerBits` is 24, as in the ICH9, or 32 for a FADT that says
   * TMR_VAL_EXT.
   */
  constructor(
    private readonly sci: IrqLine,
    private readonly machine: MachineControl,
    clock: Clock,
    private readonly timerBits: 24 | 32 = 24,
  ) {
    this.oscillator = new Oscillator(clock, PM_TIMER_HZ);
    this.half = 2 ** (timerBits - 1);
    this.overflowAt = this.nextOverflow();
    this.timer = clock.createTimer(() => this.update());
    // DEVIATION: reads as if firmware had set up its SMI handler already, by which SeaBIOS knows not to try.
    this.storage[0] = SMI_EN.APMC_EN;
    this.apmPorts = {
      widest: 1,
      read: (offset) => (offset === 0 ? this.apmControl : this.apmStatus),
      peek: (offset) => (offset === 0 ? this.apmControl : this.apmStatus),
      write: (offset, _size, value) => {
        if (offset === 0) this.writeApm(value);
        else this.apmStatus = value;
      },
    };
  }

  /** Whether the guest has taken the machine into ACPI mode. */
  get acpiMode(): boolean {
    return (this.control & PM1_CNT.SCI_EN) !== 0;
  }

  /** Puts the chip into ACPI mode from the start, for a machine without firmware (FADT with SMI_CMD = 0). */
  enterAcpiMode(): void {
    this.control |= PM1_CNT.SCI_EN;
    this.update();
  }

  /** The power button was pressed. What follows is the guest's decision. */
  pressPowerButton(): void {
    this.status |= PM1_STS.PWRBTN;
    this.update();
  }

  /** The RTC's alarm interrupt rose. */
  rtcAlarm(): void {
    this.status |= PM1_STS.RTC;
    this.update();
  }

  /** A general-purpose event, 0 … 63, happened. */
  raiseGpe(event: number): void {
    this.gpeStatus[event >> 3] |= 1 << (event & 7);
    this.update();
  }

  read(offset: number, size: number): number {
    this.noteOverflow();
    return this.peek(offset, size);
  }

  peek(offset: number, size: number): number {
    const dword = this.dword(offset & ~3);
    const value = Math.floor(dword / 2 ** (8 * (offset & 3)));
    return size === 4 ? value : value % 2 ** (8 * size);
  }

  /** The dword at a multiple of 4, unsigned. */
  private dword(offset: number): number {
    switch (offset) {
      case PM_OFFSET.PM1_STS:
        return (this.status | (this.enable << 16)) >>> 0;
      case PM_OFFSET.PM1_CNT:
        return this.control;
      case PM_OFFSET.PM1_TMR:
        return this.oscillator.now() % 2 ** this.timerBits;
    }
    let value = 0;
    for (let i = 3; i >= 0; i--) value = value * 256 + this.plainByte(offset + i);
    return value;
  }

  private plainByte(offset: number): number {
    if (offset >= PM_OFFSET.SMI_EN) return this.storage[offset - PM_OFFSET.SMI_EN];
    if (offset >= PM_OFFSET.GPE0_EN) return this.gpeEnable[offset - PM_OFFSET.GPE0_EN];
    if (offset >= PM_OFFSET.GPE0_STS) return this.gpeStatus[offset - PM_OFFSET.GPE0_STS];
    // P_CNT and the C-state levels: no throttling, no C-states.
    return 0;
  }

  write(offset: number, size: number, value: number): void {
    this.noteOverflow();
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.update();
  }

  private writeByte(offset: number, value: number): void {
    if (offset >= PM_OFFSET.SMI_EN) this.writeStorage(offset, value);
    else if (offset >= PM_OFFSET.GPE0_EN) this.gpeEnable[offset - PM_OFFSET.GPE0_EN] = value;
    else if (offset >= PM_OFFSET.GPE0_STS) this.gpeStatus[offset - PM_OFFSET.GPE0_STS] &= ~value;
    else
      switch (offset) {
        case PM_OFFSET.PM1_STS:
          this.status &= ~value;
          break;
        case PM_OFFSET.PM1_STS + 1:
          this.status &= ~(value << 8);
          break;
        case PM_OFFSET.PM1_EN:
          this.enable = ((this.enable & 0xff00) | value) & PM1_EN_MASK;
          break;
        case PM_OFFSET.PM1_EN + 1:
          this.enable = ((this.enable & 0xff) | (value << 8)) & PM1_EN_MASK;
          break;
        case PM_OFFSET.PM1_CNT:
          this.control = (this.control & PM1_CNT.SLP_TYP) | (value & (PM1_CNT.SCI_EN | PM1_CNT.BM_RLD));
          break;
        case PM_OFFSET.PM1_CNT + 1:
          this.control = (this.control & 0xff) | ((value << 8) & PM1_CNT.SLP_TYP);
          if ((value << 8) & PM1_CNT.SLP_EN) this.sleep();
          break;
      }
  }

  /** SLP_EN was written: it reads as 0, and the sleep type says how deep. */
  private sleep(): void {
    const type = (this.control & PM1_CNT.SLP_TYP) >> 10;
    if (type === SLP_TYP.S5) this.machine.powerOff();
    // Refused: the guest finds itself awake. Without this bit it would wait for ever.
    else this.status |= PM1_STS.WAK;
  }

  private writeStorage(offset: number, value: number): void {
    // Status registers of the SMI and TCO logic never have anything to show; writing 1 to clear leaves them so.
    const SMI_STS_END = PM_OFFSET.SMI_STS + 4;
    const TCO1_STS = PM_OFFSET.TCO + 4;
    if ((offset >= PM_OFFSET.SMI_STS && offset < SMI_STS_END) || (offset >= TCO1_STS && offset < TCO1_STS + 4)) return;
    let kept = value;
    if (offset === PM_OFFSET.SMI_EN) {
      // Releases the global lock: an event for the OS. Reads as 0.
      if (value & SMI_EN.BIOS_RLS) this.status |= PM1_STS.GBL;
      kept = (value & ~SMI_EN.BIOS_RLS) | SMI_EN.APMC_EN;
    }
    this.storage[offset - PM_OFFSET.SMI_EN] = kept;
  }

  private writeApm(value: number): void {
    this.apmControl = value;
    if (value === APM.ACPI_ENABLE) this.control |= PM1_CNT.SCI_EN;
    else if (value === APM.ACPI_DISABLE) this.control &= ~PM1_CNT.SCI_EN;
    this.update();
  }

  /** The period after now in which the timer's top bit changes. */
  private nextOverflow(): number {
    return (Math.floor(this.oscillator.now() / this.half) + 1) * this.half;
  }

  /** Sets TMROF_STS when the top bit has changed since the last look. */
  private noteOverflow(): void {
    if (this.oscillator.now() < this.overflowAt) return;
    this.status |= PM1_STS.TMROF;
    this.overflowAt = this.nextOverflow();
  }

  private update(): void {
    this.noteOverflow();
    let event = (this.status & this.enable) !== 0;
    for (let i = 0; i < GPE0_HALF; i++) event ||= (this.gpeStatus[i] & this.gpeEnable[i]) !== 0;
    // Outside ACPI mode these events are SMIs, which there are none of.
    this.sci.set(event && this.acpiMode);
    if (this.enable & PM1_STS.TMROF) this.timer.arm(nanoseconds(this.oscillator.time(this.overflowAt)));
    else this.timer.cancel();
  }

  save(): State {
    this.noteOverflow();
    return {
      status: this.status,
      enable: this.enable,
      control: this.control,
      overflowAt: this.overflowAt,
      gpeStatus: this.gpeStatus.slice(),
      gpeEnable: this.gpeEnable.slice(),
      storage: this.storage.slice(),
      apmControl: this.apmControl,
      apmStatus: this.apmStatus,
    };
  }

  restore(state: State): void {
    this.status = state.status;
    this.enable = state.enable & PM1_EN_MASK;
    this.control = state.control;
    this.overflowAt = state.overflowAt;
    this.gpeStatus = state.gpeStatus.slice();
    this.gpeEnable = state.gpeEnable.slice();
    this.storage = state.storage.slice();
    this.apmControl = state.apmControl;
    this.apmStatus = state.apmStatus;
    this.update();
  }
}
