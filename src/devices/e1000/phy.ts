import { array, bool, struct, u16, type Infer } from '../../snapshot/schema.js';

/** Registers of the transceiver: IEEE 802.3 clause 22, and those of Marvell's 88E1011, as in the description of MDIC and SDM ch. 8. */
const PHY = {
  CONTROL: 0,
  STATUS: 1,
  ID1: 2,
  ID2: 3,
  ADVERTISE: 4,
  PARTNER: 5,
  EXPANSION: 6,
  GIGABIT_CONTROL: 9,
  GIGABIT_STATUS: 10,
  EXTENDED_STATUS: 15,
  SPECIFIC_CONTROL: 16,
  SPECIFIC_STATUS: 17,
  INTERRUPT_ENABLE: 18,
  EXTENDED_CONTROL: 20,
  PAGE: 29,
  PAGED: 30,
} as const;

const CONTROL = { RESET: 0x8000, LOOPBACK: 0x4000, POWER_DOWN: 0x0800, RESTART: 0x0200 } as const;
const STATUS = { LINK: 0x0004, NEGOTIATED: 0x0020 } as const;
/** All speeds, negotiation, extended registers. */
const ABILITIES = 0x7949;
/** After a reset: negotiates; 10 and 100 Mbit/s and pause, 1000 Mbit/s. */
const DEFAULTS: readonly (readonly [number, number])[] = [
  [PHY.CONTROL, 0x1140],
  [PHY.ADVERTISE, 0x0de1],
  [PHY.GIGABIT_CONTROL, 0x0e00],
  [PHY.SPECIFIC_CONTROL, 0x0078],
  [PHY.EXTENDED_CONTROL, 0x0d60],
];
/** Read-only ones, as far as they do not depend on the link. */
const FIXED: Readonly<Record<number, number>> = {
  [PHY.ID1]: 0x0141,
  [PHY.ID2]: 0x0c20,
  [PHY.EXPANSION]: 0x000f,
  [PHY.EXTENDED_STATUS]: 0x3000,
};
const WRITABLE: readonly number[] = [
  PHY.CONTROL,
  PHY.ADVERTISE,
  7,
  PHY.GIGABIT_CONTROL,
  PHY.SPECIFIC_CONTROL,
  PHY.INTERRUPT_ENABLE,
  PHY.EXTENDED_CONTROL,
  PHY.PAGE,
  PHY.PAGED,
];

/** Register MDIC. */
const MDIC = { WRITE: 1, READ: 2, READY: 1 << 28, INTERRUPT: 1 << 29, ERROR: 1 << 30, ADDRESS: 1 } as const;

export const phySchema = struct({
  registers: array(u16, { length: 32 }),
  mdic: struct({ low: u16, high: u16 }),
  linkLost: bool,
});

/** The gigabit transceiver within the controller. Its partner agrees to 1000 Mbit/s, full duplex, at once. */
export class Phy {
  private readonly registers = new Uint16Array(32);
  private mdic = MDIC.READY;
  /** STATUS.LINK shows a loss until it was read. */
  private linkLost = false;

  /** `cable`: whether there is a network; `negotiated` is told when the link was made anew. */
  constructor(
    private readonly cable: () => boolean,
    private readonly negotiated: () => void,
  ) {
    this.reset();
  }

  reset(): void {
    this.registers.fill(0);
    for (const [register, value] of DEFAULTS) this.registers[register] = value;
  }

  /** There is a partner that answers. */
  get hasLink(): boolean {
    return this.cable() && !(this.registers[PHY.CONTROL] & CONTROL.POWER_DOWN);
  }

  get loopsBack(): boolean {
    return (this.registers[PHY.CONTROL] & CONTROL.LOOPBACK) !== 0;
  }

  cableChanged(): void {
    if (!this.cable()) this.linkLost = true;
  }

  readMdic(): number {
    return this.mdic;
  }

  /** True: software wants to be told that it is done, which it is. */
  writeMdic(value: number): boolean {
    const [operation, address, register] = [(value >>> 26) & 3, (value >>> 21) & 31, (value >>> 16) & 31];
    let data = value & 0xffff;
    let error = 0;
    if (address !== MDIC.ADDRESS || (operation !== MDIC.READ && operation !== MDIC.WRITE)) error = MDIC.ERROR;
    else if (operation === MDIC.READ) data = this.read(register);
    else this.write(register, data);
    this.mdic = ((value & 0x2fff_0000) | data | error | MDIC.READY) >>> 0;
    return (value & MDIC.INTERRUPT) !== 0;
  }

  private read(register: number): number {
    const link = this.hasLink;
    switch (register) {
      case PHY.STATUS: {
        const shown = link && !this.linkLost;
        this.linkLost = false;
        return ABILITIES | (link ? STATUS.NEGOTIATED : 0) | (shown ? STATUS.LINK : 0);
      }
      case PHY.PARTNER:
        return link ? 0xcde1 : 0;
      case PHY.GIGABIT_STATUS:
        return link ? 0x3c00 : 0;
      case PHY.SPECIFIC_STATUS:
        // 1000 Mbit/s, full duplex, resolved, link.
        return link ? 0xac00 : 0x8000;
      default:
        return FIXED[register] ?? this.registers[register];
    }
  }

  private write(register: number, value: number): void {
    if (!WRITABLE.includes(register)) return;
    if (register !== PHY.CONTROL) {
      this.registers[register] = value;
      return;
    }
    const before = this.registers[PHY.CONTROL];
    if (value & CONTROL.RESET) this.reset();
    else this.registers[PHY.CONTROL] = value & ~CONTROL.RESTART;
    const poweredUp = (before & CONTROL.POWER_DOWN) !== 0 && !(value & CONTROL.POWER_DOWN);
    if (value & (CONTROL.RESET | CONTROL.RESTART) || poweredUp) this.negotiated();
  }

  save(): Infer<typeof phySchema> {
    const { mdic, linkLost } = this;
    return { registers: [...this.registers], mdic: { low: mdic & 0xffff, high: mdic >>> 16 }, linkLost };
  }

  restore({ registers, mdic, linkLost }: Infer<typeof phySchema>): void {
    this.registers.set(registers);
    this.mdic = (mdic.low | (mdic.high << 16)) >>> 0;
    this.linkLost = linkLost;
  }
}
