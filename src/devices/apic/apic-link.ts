/**
 * How local APICs on different threads reach each other: each has words in memory that all share. What it is addressed by it writes there, and
 * what others have for it they leave there.
 */
import type { ApicMessage, Destination } from '../../iface/local-apic.js';
import { isAddressed } from './addressing.js';
import type { ApicBusMember } from './apic-bus.js';

/** 32-bit words that a local APIC takes. */
export const APIC_LINK_WORDS = 32;

const WORD = {
  /** Not 0 when there is something in the words from SIGNALS on. */
  NEWS: 0,
  /** What the APIC is addressed by: bits of STATUS, then registers. */
  STATUS: 1,
  LDR: 2,
  DFR: 3,
  PRIORITY: 4,
  /** Bits of SIGNAL, and the page of a STARTUP message. */
  SIGNALS: 5,
  PAGE: 6,
  /** LINT0 and LINT1 in bits 0 and 1. */
  LINTS: 7,
  /** Eight words each: vectors of interrupts, and which of them are level-triggered. */
  VECTORS: 8,
  LEVELS: 16,
} as const;

const STATUS = { ENABLED: 1, X2APIC: 2, ACCEPTING: 4 } as const;
const SIGNAL = { NMI: 1, INIT: 2, STARTUP: 4, EXTINT: 8, LINTS: 16 } as const;

/** What other threads have to know of an APIC. */
export interface ApicStatus {
  readonly enabled: boolean;
  readonly x2apic: boolean;
  readonly accepting: boolean;
  readonly ldr: number;
  readonly dfr: number;
  readonly priority: number;
}

/** The words of an APIC, for its own thread. */
export class ApicInbox {
  /** `words` are APIC_LINK_WORDS of shared memory. */
  constructor(private readonly words: Int32Array) {}

  publish({ enabled, x2apic, accepting, ldr, dfr, priority }: ApicStatus): void {
    const { words } = this;
    Atomics.store(words, WORD.LDR, ldr);
    Atomics.store(words, WORD.DFR, dfr);
    Atomics.store(words, WORD.PRIORITY, priority);
    Atomics.store(
      words,
      WORD.STATUS,
      (enabled ? STATUS.ENABLED : 0) | (x2apic ? STATUS.X2APIC : 0) | (accepting ? STATUS.ACCEPTING : 0),
    );
  }

  /** Hands over what others have left. */
  take(to: { deliver(message: ApicMessage): void; setLint(pin: 0 | 1, asserted: boolean): void }): void {
    const { words } = this;
    if (Atomics.load(words, WORD.NEWS) === 0) return;
    Atomics.store(words, WORD.NEWS, 0);
    const send = (mode: ApicMessage['mode'], vector = 0, trigger: ApicMessage['trigger'] = 'edge'): void => {
      to.deliver({ mode, vector, level: true, trigger });
    };
    const signals = Atomics.exchange(words, WORD.SIGNALS, 0);
    if (signals & SIGNAL.LINTS) {
      const lints = Atomics.load(words, WORD.LINTS);
      to.setLint(0, (lints & 1) !== 0);
      to.setLint(1, (lints & 2) !== 0);
    }
    if (signals & SIGNAL.INIT) send('init');
    if (signals & SIGNAL.STARTUP) send('startup', Atomics.load(words, WORD.PAGE));
    if (signals & SIGNAL.NMI) send('nmi');
    if (signals & SIGNAL.EXTINT) send('extint');
    for (let i = 0; i < 8; i++) {
      let vectors = Atomics.exchange(words, WORD.VECTORS + i, 0);
      const levels = Atomics.load(words, WORD.LEVELS + i);
      for (; vectors !== 0; vectors &= vectors - 1) {
        const bit = 31 - Math.clz32(vectors & -vectors);
        send('fixed', i * 32 + bit, levels & (1 << bit) ? 'level' : 'edge');
      }
    }
  }
}

/** An APIC on another thread, as the bus of this one sees it. */
export class RemoteApic implements ApicBusMember {
  /** `ring` makes its CPU look: before the next instruction that it can take an interrupt at, or (`kick`) leave its run. */
  constructor(
    private readonly apicId: number,
    private readonly words: Int32Array,
    private readonly ring: (how: 'interrupt' | 'kick') => void,
  ) {}

  private get status(): number {
    return Atomics.load(this.words, WORD.STATUS);
  }

  matches(destination: Destination): boolean {
    const { status, words, apicId } = this;
    if (!(status & STATUS.ENABLED)) return false;
    const ldr = Atomics.load(words, WORD.LDR) >>> 0;
    const dfr = Atomics.load(words, WORD.DFR) >>> 0;
    return isAddressed(destination, { apicId, x2apic: (status & STATUS.X2APIC) !== 0, ldr, dfr });
  }

  get accepting(): boolean {
    return (this.status & STATUS.ACCEPTING) !== 0;
  }

  get priority(): number {
    return Atomics.load(this.words, WORD.PRIORITY);
  }

  deliver({ mode, vector, trigger }: ApicMessage): void {
    const { words } = this;
    switch (mode) {
      case 'fixed':
      case 'lowest': {
        const bit = 1 << (vector & 31);
        const word = vector >>> 5;
        if (trigger === 'level') Atomics.or(words, WORD.LEVELS + word, bit);
        else Atomics.and(words, WORD.LEVELS + word, ~bit);
        Atomics.or(words, WORD.VECTORS + word, bit);
        this.tell('interrupt');
        break;
      }
      case 'startup':
        Atomics.store(words, WORD.PAGE, vector);
        this.signal(SIGNAL.STARTUP);
        break;
      case 'nmi':
        this.signal(SIGNAL.NMI);
        break;
      case 'init':
        this.signal(SIGNAL.INIT);
        break;
      case 'extint':
        this.signal(SIGNAL.EXTINT);
        break;
      case 'smi':
        break;
    }
  }

  /** LINT0 as the 8259 drives it, LINT1 as the NMI line. */
  setLint(pin: 0 | 1, asserted: boolean): void {
    const bit = 1 << pin;
    const before = asserted ? Atomics.or(this.words, WORD.LINTS, bit) : Atomics.and(this.words, WORD.LINTS, ~bit);
    if ((before & bit) === (asserted ? bit : 0)) return;
    Atomics.or(this.words, WORD.SIGNALS, SIGNAL.LINTS);
    if (asserted && this.accepting) this.tell('interrupt');
    else Atomics.store(this.words, WORD.NEWS, 1);
  }

  private signal(bit: number): void {
    Atomics.or(this.words, WORD.SIGNALS, bit);
    this.tell('kick');
  }

  private tell(how: 'interrupt' | 'kick'): void {
    Atomics.store(this.words, WORD.NEWS, 1);
    this.ring(how);
  }
}
