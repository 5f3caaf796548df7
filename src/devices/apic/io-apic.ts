import type { IoHandler } from '../../iface/bus.js';
import type { Redirections } from '../../iface/chips.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Plain } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { ApicBus, EoiListener } from './apic-bus.js';
import {
  IO_APIC_PINS,
  IO_APIC_STATE_VERSION,
  IO_APIC_VERSION,
  ioApicStateSchema,
  upgradeIoApic,
  type IoApicState,
} from './io-apic-state.js';
import { DELIVERY_MODES } from './registers.js';

/** Where a PC has its first I/O APIC; ICH9 datasheet §13.5.1. */
export const IO_APIC_BASE = 0xfec0_0000;
/** Size of the window to claim for it, bytes. */
export const IO_APIC_SIZE = 0x1000;

/** Direct registers, as offsets. 82093AA datasheet §3.1; EOI: ICH9 datasheet §13.5.4. */
const DIRECT = { SELECT: 0x00, WINDOW: 0x10, EOI: 0x40 } as const;

/** Indirect registers, 82093AA §3.2. A redirection entry has two, low half first. */
const INDIRECT = { ID: 0, VERSION: 1, ARBITRATION: 2, REDIRECTION: 0x10 } as const;

/** Redirection table, low half, §3.2.4. Delivery status (bit 12) always reads 0. */
const ENTRY = {
  VECTOR: 0xff,
  MODE_SHIFT: 8,
  LOGICAL: 1 << 11,
  /** Input polarity; kept only: pins are asserted or not, whatever the voltage. */
  ACTIVE_LOW: 1 << 13,
  REMOTE_IRR: 1 << 14,
  LEVEL: 1 << 15,
  MASKED: 1 << 16,
  WRITABLE: 0x1_afff,
} as const;

/**
 * I/O APIC: Intel 82093AA datasheet (290566-001) with the EOI register of the ICH9 (316972-004 §13.5). Edges at a masked
 * pin are lost; a level is delivered as soon as its pin is unmasked.
 */
export class IoApic implements IoHandler, EoiListener, Snapshotable<IoApicState> {
  readonly id = 'ioapic';
  readonly stateVersion = IO_APIC_STATE_VERSION;
  readonly stateSchema = ioApicStateSchema;

  /** Another one for a machine that began with an I/O APIC of its accelerator's. */
  private version: number = IO_APIC_VERSION.EOI;
  private apicId = 0;
  private select = 0;
  private readonly low = new Array<number>(IO_APIC_PINS).fill(ENTRY.MASKED);
  private readonly high = new Array<number>(IO_APIC_PINS).fill(0);
  private readonly levels = new Array<boolean>(IO_APIC_PINS).fill(false);

  /** The pin whose edges somebody wants to know served, and whom to tell. */
  private watched: { readonly pin: number; readonly ended: () => void } | undefined;

  /** `changed` is told of the redirection table as it is from then on. */
  constructor(
    private readonly bus: ApicBus,
    private readonly changed?: (entries: Redirections) => void,
  ) {
    bus.attachIoApic(this);
    this.tell();
  }

  private tell(): void {
    this.changed?.(this.low.map((low, pin) => ({ low, high: this.high[pin] })));
  }

  /** Calls `ended` when a CPU has served an edge-triggered interrupt of a pin. One pin can be watched. */
  watchEnd(pin: number, ended: () => void): void {
    this.watched = { pin, ended };
  }

  edgeEnded(vector: number): void {
    if (!this.watched) return;
    const { pin, ended } = this.watched;
    if ((this.low[pin] & (ENTRY.VECTOR | ENTRY.LEVEL | ENTRY.MASKED)) === vector) ended();
  }

  /** Input pin 0 … 23. */
  pin(pin: number): IrqLine {
    return { set: (asserted) => this.setPin(pin, asserted) };
  }

  /** System reset. Input levels stay as their drivers have them. */
  reset(): void {
    this.apicId = 0;
    this.select = 0;
    this.low.fill(ENTRY.MASKED);
    this.high.fill(0);
    this.tell();
  }

  read(offset: number, size: number): number {
    return this.peek(offset, size);
  }

  peek(offset: number, _size: number): number {
    if (offset === DIRECT.SELECT) return this.select;
    if (offset === DIRECT.WINDOW) return this.readIndirect();
    return 0;
  }

  write(offset: number, _size: number, value: number): void {
    if (offset === DIRECT.SELECT) this.select = value & 0xff;
    else if (offset === DIRECT.WINDOW) this.writeIndirect(value);
    else if (offset === DIRECT.EOI && this.version === IO_APIC_VERSION.EOI) this.endOfInterrupt(value & 0xff);
  }

  private readIndirect(): number {
    const { select } = this;
    if (select === INDIRECT.ID || select === INDIRECT.ARBITRATION) return this.apicId << 24;
    if (select === INDIRECT.VERSION) return ((IO_APIC_PINS - 1) << 16) | this.version;
    const pin = (select - INDIRECT.REDIRECTION) >> 1;
    if (pin < 0 || pin >= IO_APIC_PINS) return 0xffff_ffff;
    return select & 1 ? this.high[pin] : this.low[pin];
  }

  private writeIndirect(value: number): void {
    const { select } = this;
    if (select === INDIRECT.ID) this.apicId = (value >>> 24) & 0xf;
    const pin = (select - INDIRECT.REDIRECTION) >> 1;
    if (pin < 0 || pin >= IO_APIC_PINS) return;
    if (select & 1) {
      this.high[pin] = (value & 0xff00_0000) >>> 0;
      this.tell();
      return;
    }
    let entry = (value & ENTRY.WRITABLE) | (this.low[pin] & ENTRY.REMOTE_IRR);
    // Making a pin edge-triggered clears its remote IRR: how one without an EOI register is unlocked.
    if (!(entry & ENTRY.LEVEL)) entry &= ~ENTRY.REMOTE_IRR;
    this.low[pin] = entry;
    this.tell();
    this.deliverLevel(pin);
  }

  private setPin(pin: number, asserted: boolean): void {
    if (this.levels[pin] === asserted) return;
    this.levels[pin] = asserted;
    if (!asserted) return;
    const entry = this.low[pin];
    if (entry & ENTRY.LEVEL) this.deliverLevel(pin);
    else if (!(entry & ENTRY.MASKED)) this.send(pin);
  }

  private deliverLevel(pin: number): void {
    const entry = this.low[pin];
    const ready = this.levels[pin] && (entry & (ENTRY.LEVEL | ENTRY.MASKED | ENTRY.REMOTE_IRR)) === ENTRY.LEVEL;
    if (!ready) return;
    const mode = DELIVERY_MODES[(entry >>> ENTRY.MODE_SHIFT) & 7];
    // Set when local APICs accept the interrupt, and only for modes that a CPU answers with an EOI (§3.2.4).
    if (this.send(pin) && (mode === 'fixed' || mode === 'lowest')) this.low[pin] |= ENTRY.REMOTE_IRR;
  }

  private send(pin: number): boolean {
    const entry = this.low[pin];
    const mode = DELIVERY_MODES[(entry >>> ENTRY.MODE_SHIFT) & 7];
    if (mode === undefined || mode === 'startup') return false;
    return this.bus.send(
      { mode, vector: entry & ENTRY.VECTOR, level: true, trigger: entry & ENTRY.LEVEL ? 'level' : 'edge' },
      { id: this.high[pin] >>> 24, logical: (entry & ENTRY.LOGICAL) !== 0, wide: false },
    );
  }

  /** From a local APIC, or from the EOI register: every level-triggered pin with this vector may interrupt again. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < IO_APIC_PINS; pin++) {
      const entry = this.low[pin];
      if (!(entry & ENTRY.REMOTE_IRR) || (entry & ENTRY.VECTOR) !== vector) continue;
      this.low[pin] &= ~ENTRY.REMOTE_IRR;
      this.deliverLevel(pin);
    }
  }

  save(): IoApicState {
    return {
      version: this.version,
      apicId: this.apicId,
      select: this.select,
      low: [...this.low],
      high: [...this.high],
      levels: [...this.levels],
    };
  }

  upgrade(state: Plain): Plain {
    return upgradeIoApic(state);
  }

  /** Sends nothing: what was delivered before stands in the local APICs. */
  restore(state: IoApicState): void {
    this.version = state.version;
    this.apicId = state.apicId & 0xf;
    this.select = state.select;
    state.low.forEach((entry, pin) => (this.low[pin] = entry & (ENTRY.WRITABLE | ENTRY.REMOTE_IRR)));
    state.high.forEach((entry, pin) => (this.high[pin] = entry));
    state.levels.forEach((level, pin) => (this.levels[pin] = level));
    this.tell();
  }
}
