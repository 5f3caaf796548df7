import type { IoHandler, IoWindow } from '../../iface/bus.js';
import type { IrqLine } from '../../iface/lines.js';
import { get, put } from '../../bus/pci/config-space.js';
import { PciFunction, type PciEnvironment } from '../../bus/pci/function.js';
import { HEADER } from '../../bus/pci/registers.js';
import { bytes, struct, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Registers of device 31 function 0. "Intel I/O Controller Hub 9 (ICH9) Family Datasheet" 316972-004, §13.1; by name there. */
const LPC = {
  PMBASE: 0x40,
  ACPI_CNTL: 0x44,
  GPIOBASE: 0x48,
  GPIO_CNTL: 0x4c,
  PIRQA_ROUT: 0x60,
  SIRQ_CNTL: 0x64,
  PIRQE_ROUT: 0x68,
  LPC_IO_DEC: 0x80,
  LPC_EN: 0x82,
  GEN1_DEC: 0x84,
  GEN_PMCON_1: 0xa0,
  GEN_PMCON_2: 0xa2,
  GEN_PMCON_3: 0xa4,
  ETR3: 0xac,
  GPI_ROUT: 0xb8,
  BIOS_CNTL: 0xdc,
  RCBA: 0xf0,
} as const;

/** ACPI control. */
const ACPI_CNTL = { ENABLE: 1 << 7, SCI_SELECT: 7, WRITABLE: 0x87 } as const;

/** PIRQ[n]_ROUT: bit 7 set routes the PIRQ to no 8259 pin. */
const PIRQ_ROUT = { DISABLE: 1 << 7, IRQ: 0xf, RESET: 0x80, WRITABLE: 0x8f } as const;
/** 8259 pins that a PIRQ cannot be routed to. */
const RESERVED_IRQS: readonly number[] = [0, 1, 2, 8, 13];

/** Chipset configuration registers, §10.1: 16 KiB at RCBA. */
const RCRB_SIZE = 0x4000;
const RCBA = { ENABLE: 1, BASE: 0xffff_c000 } as const;
/** DnnIR, device nn interrupt route: which PIRQ each pin of the chipset's own devices drives; by slot. */
const INTERRUPT_ROUTES: readonly (readonly [slot: number, offset: number])[] = [
  [31, 0x3140],
  [30, 0x3142],
  [29, 0x3144],
  [28, 0x3146],
  [27, 0x3148],
  [26, 0x314c],
  [25, 0x3150],
];
/** Pins A … D to PIRQA … PIRQD. */
const ROUTE_RESET = 0x3210;
/** Slots below this are not the chipset's own. */
const FIRST_CHIPSET_SLOT = 25;

/** Bytes of the block at PMBASE. */
const PM_BLOCK_SIZE = 128;

/** Where the LPC bridge sends PCI interrupts: PIRQA (0) … PIRQH (7). */
export interface PirqRouter {
  /** A new driver of a PIRQ. */
  pirq(index: number): IrqLine;
  /** Connects a PIRQ to an 8259 pin, or to none. */
  routePirq(index: number, pin: number | undefined): void;
}

/** An INTx pin of a slot, and the PIRQ that it drives now. */
interface IntxPin {
  readonly slot: number;
  readonly pin: number;
  level: boolean;
  pirq: number;
  driver: IrqLine;
}

const stateSchema = (pci: PciFunction['stateSchema']) => struct({ pci, chipset: bytes(RCRB_SIZE) });
type State = Infer<ReturnType<typeof stateSchema>>;

/**
 * LPC bridge of the ICH9: routes PCI interrupts and places the ACPI registers and the chipset configuration registers.
 *
 * The decode ranges for devices on the LPC bus, GPIO and the power management configuration keep what is written and do
 * nothing: the machine's legacy devices have fixed addresses. DEVIATION: HPTC (HPET address) and OIC (I/O APIC enable)
 * are such registers too; HPET and I/O APIC always answer.
 */
export class LpcBridge implements Snapshotable<State> {
  readonly id = 'lpc-bridge';
  readonly stateVersion = 1;
  readonly pci: PciFunction;

  private readonly chipset = new Uint8Array(RCRB_SIZE);
  private readonly pmWindow: IoWindow;
  private readonly rcrbWindow: IoWindow;
  private pmBase: number | undefined;
  private rcrbBase: number | undefined;
  private readonly pirqPins: (number | undefined)[] = new Array<undefined>(8).fill(undefined);
  private readonly pins: IntxPin[] = [];

  /** `pm` is the 128-byte ACPI block, which appears in port space where PMBASE puts it. */
  constructor(
    environment: PciEnvironment,
    private readonly router: PirqRouter,
    pm: IoHandler,
  ) {
    this.pci = new PciFunction(
      'lpc-bridge',
      { vendorId: 0x8086, deviceId: 0x2918, revision: 2, classCode: 0x060100, multiFunction: true },
      environment,
    );
    this.pmWindow = environment.ports.claim('acpi-pm', PM_BLOCK_SIZE, pm);
    this.rcrbWindow = environment.memory.claim('chipset-config', RCRB_SIZE, this.chipsetHandler());
    this.resetChipset();
    this.defineRegisters();
  }

  private defineRegisters(): void {
    const { config } = this.pci;
    config.define(HEADER.COMMAND, 2, { value: 0x0007, writable: 0x0140 });
    config.define(LPC.PMBASE, 4, { value: 1, writable: 0xff80 });
    config.define(LPC.ACPI_CNTL, 1, { writable: ACPI_CNTL.WRITABLE });
    config.define(LPC.GPIOBASE, 4, { value: 1, writable: 0xff80 });
    config.define(LPC.GPIO_CNTL, 1, { writable: 0x10 });
    for (let i = 0; i < 8; i++)
      config.define(routeRegister(i), 1, { value: PIRQ_ROUT.RESET, writable: PIRQ_ROUT.WRITABLE });
    config.define(LPC.SIRQ_CNTL, 1, { value: 0x10, writable: 0xc3 });
    config.define(LPC.LPC_IO_DEC, 2, { writable: 0x1377 });
    config.define(LPC.LPC_EN, 2, { writable: 0x3f0f });
    for (let i = 0; i < 4; i++) config.define(LPC.GEN1_DEC + 4 * i, 4, { writable: 0x00fc_fffd });
    config.define(LPC.GEN_PMCON_1, 2, { writable: 0x17ff });
    config.define(LPC.GEN_PMCON_2, 1, { clearable: 0x0f, writable: 0xf0 });
    config.define(LPC.GEN_PMCON_3, 2, { writable: 0x3f79 });
    config.define(LPC.ETR3, 4, { writable: 0x8011_0000 });
    config.define(LPC.GPI_ROUT, 4, { writable: 0xffff_ffff });
    config.define(LPC.BIOS_CNTL, 1, { writable: 0x1f });
    config.define(LPC.RCBA, 4, { writable: RCBA.BASE | RCBA.ENABLE });
    config.watch(LPC.PMBASE, 5, () => this.updatePm());
    config.watch(LPC.PIRQA_ROUT, LPC.PIRQE_ROUT + 4 - LPC.PIRQA_ROUT, () => this.updateRoutes());
    config.watch(LPC.RCBA, 4, () => this.updateRcrb());
  }

  /** Places the ACPI registers as firmware would, for kernels loaded without any. `base` is a multiple of 128. */
  enablePm(base: number): void {
    this.pci.config.write(LPC.PMBASE, 4, base);
    this.pci.config.write(LPC.ACPI_CNTL, 1, ACPI_CNTL.ENABLE);
  }

  /** Routes PIRQA … PIRQH to 8259 pins as firmware would. */
  routePirqs(pins: readonly number[]): void {
    pins.forEach((pin, i) => this.pci.config.write(routeRegister(i), 1, pin));
  }

  reset(): void {
    this.resetChipset();
    this.pci.reset();
    this.updatePins();
  }

  // ---- PCI interrupts ----

  /** The PIRQ, 0 … 7, that INTA (0) … INTD (3) of a slot drives. */
  pirqOf(slot: number, pin: number): number {
    // What is not the chipset's is wired to PIRQE … PIRQH in turns; firmware and the ACPI tables know it.
    if (slot < FIRST_CHIPSET_SLOT) return 4 + ((slot + pin) & 3);
    const offset = INTERRUPT_ROUTES.find(([owner]) => owner === slot)?.[1] ?? 0x3140;
    return (get(this.chipset, offset, 2) >>> (4 * pin)) & 7;
  }

  /** A new driver of an INTx pin. */
  intx(slot: number, pin: number): IrqLine {
    const pirq = this.pirqOf(slot, pin);
    const entry: IntxPin = { slot, pin, level: false, pirq, driver: this.router.pirq(pirq) };
    this.pins.push(entry);
    return {
      set: (asserted) => {
        entry.level = asserted;
        entry.driver.set(asserted);
      },
    };
  }

  /** Moves pins whose route has changed. */
  private updatePins(): void {
    for (const entry of this.pins) {
      const pirq = this.pirqOf(entry.slot, entry.pin);
      if (pirq === entry.pirq) continue;
      entry.driver.set(false);
      entry.pirq = pirq;
      entry.driver = this.router.pirq(pirq);
      entry.driver.set(entry.level);
    }
  }

  private updateRoutes(): void {
    for (let i = 0; i < 8; i++) {
      const value = this.pci.config.get(routeRegister(i), 1);
      const irq = value & PIRQ_ROUT.IRQ;
      const pin = value & PIRQ_ROUT.DISABLE || RESERVED_IRQS.includes(irq) ? undefined : irq;
      if (pin === this.pirqPins[i]) continue;
      this.pirqPins[i] = pin;
      this.router.routePirq(i, pin);
    }
  }

  // ---- windows ----

  private updatePm(): void {
    const { config } = this.pci;
    const enabled = (config.get(LPC.ACPI_CNTL, 1) & ACPI_CNTL.ENABLE) !== 0;
    const base = enabled ? config.get(LPC.PMBASE, 4) & 0xff80 : undefined;
    if (base === this.pmBase) return;
    this.pmBase = base;
    if (base === undefined) this.pmWindow.unmap();
    else this.pmWindow.map(base);
  }

  private updateRcrb(): void {
    const value = this.pci.config.get(LPC.RCBA, 4);
    const base = value & RCBA.ENABLE ? (value & RCBA.BASE) >>> 0 : undefined;
    if (base === this.rcrbBase) return;
    this.rcrbBase = base;
    if (base === undefined) this.rcrbWindow.unmap();
    else this.rcrbWindow.map(base);
  }

  private chipsetHandler(): IoHandler {
    const peek = (offset: number, size: number): number => get(this.chipset, offset, size);
    return {
      read: peek,
      peek,
      write: (offset, size, value) => {
        put(this.chipset, offset, size, value);
        this.updatePins();
      },
    };
  }

  private resetChipset(): void {
    this.chipset.fill(0);
    for (const [, offset] of INTERRUPT_ROUTES) put(this.chipset, offset, 2, ROUTE_RESET);
  }

  get stateSchema(): ReturnType<typeof stateSchema> {
    return stateSchema(this.pci.stateSchema);
  }

  save(): State {
    return { pci: this.pci.save(), chipset: this.chipset.slice() };
  }

  restore(state: State): void {
    this.chipset.set(state.chipset);
    this.pci.restore(state.pci);
    this.updatePins();
  }
}

/** PIRQA … PIRQD and PIRQE … PIRQH lie apart. */
const routeRegister = (pirq: number): number => (pirq < 4 ? LPC.PIRQA_ROUT : LPC.PIRQE_ROUT) + (pirq & 3);
