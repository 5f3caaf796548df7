import { bool, bytes, range, struct, u32, type Infer } from '../../snapshot/schema.js';

/** 64 words of 16 bits, SDM ch. 5. */
export const EEPROM_WORDS = 64;
/** All words add up to this. */
const CHECKSUM = 0xbaba;
/** Words, SDM §5.6. */
const WORD = {
  MAC: 0,
  CONTROL_1: 0x0a,
  SUBSYSTEM: 0x0b,
  SUBVENDOR: 0x0c,
  DEVICE: 0x0d,
  VENDOR: 0x0e,
  SUM: 0x3f,
} as const;

/** Register EECD. */
const EECD = { SK: 1, CS: 2, DI: 4, DO: 8, REQ: 0x40, GNT: 0x80, PRESENT: 0x100 } as const;
const DRIVEN = EECD.SK | EECD.CS | EECD.DI | 0x30 | EECD.REQ;
/** Register EERD. */
const EERD = { START: 1, DONE: 0x10, ADDRESS_SHIFT: 8, DATA_SHIFT: 16 } as const;
/** MicroWire: a start bit, two bits of an operation, six of an address; then 16 of data, for those that write. */
const OPERATION = { EXTENDED: 0b100, WRITE: 0b101, READ: 0b110, ERASE: 0b111 } as const;
/** The upper two bits of the address say which of the extended ones. */
const EXTENDED = { DISABLE: 0, WRITE_ALL: 1, ERASE_ALL: 2, ENABLE: 3 } as const;
const COMMAND_BITS = 9;
const DATA_BITS = 16;

export interface PciIds {
  readonly vendor: number;
  readonly device: number;
  readonly subvendor: number;
  readonly subsystem: number;
}

export const eepromSchema = struct({
  words: bytes(EEPROM_WORDS * 2),
  control: u32,
  read: u32,
  /** The command and the data that were shifted in since the chip was selected, of how many bits; what is shifted out next. */
  input: range(0, 0x1ff),
  data: range(0, 0xffff),
  count: range(0, 0xff_ffff),
  output: range(0, 0xffff),
  writable: bool,
});

/** The adapter's EEPROM, a MicroWire chip, which software reads through EERD or bit by bit through EECD. */
export class Eeprom {
  readonly words = new Uint16Array(EEPROM_WORDS);
  private control = 0;
  private read = 0;
  private input = 0;
  private count = 0;
  private data = 0;
  private output = 0;
  private writable = false;

  constructor(mac: Uint8Array, { vendor, device, subvendor, subsystem }: PciIds) {
    const { words } = this;
    for (let i = 0; i < 3; i++) words[WORD.MAC + i] = mac[2 * i] | (mac[2 * i + 1] << 8);
    // Valid, and both pairs of identifiers are loaded from here.
    words[WORD.CONTROL_1] = 0x4003;
    words[WORD.SUBSYSTEM] = subsystem;
    words[WORD.SUBVENDOR] = subvendor;
    words[WORD.DEVICE] = device;
    words[WORD.VENDOR] = vendor;
    words[WORD.SUM] = CHECKSUM - words.reduce((sum, word) => sum + word, 0);
  }

  /** The address that it holds. */
  get mac(): Uint8Array {
    return new Uint8Array(this.words.buffer.slice(0, 6));
  }

  readEerd(): number {
    return this.read;
  }

  writeEerd(value: number): void {
    if (!(value & EERD.START)) {
      this.read = 0;
      return;
    }
    const address = (value >>> EERD.ADDRESS_SHIFT) & 0xff;
    const data = address < EEPROM_WORDS ? this.words[address] : 0xffff;
    this.read = ((data << EERD.DATA_SHIFT) | (address << EERD.ADDRESS_SHIFT) | EERD.DONE) >>> 0;
  }

  readEecd(): number {
    const granted = this.control & EECD.REQ ? EECD.GNT : 0;
    // Ready, and high without anybody driving it, but for what is read.
    return this.control | granted | EECD.PRESENT | (this.output & 0x8000 ? EECD.DO : 0);
  }

  writeEecd(value: number): void {
    const before = this.control;
    this.control = value & DRIVEN;
    if (!(this.control & EECD.CS) || !(before & EECD.CS)) {
      this.input = 0;
      this.count = 0;
      this.output = 0xffff;
      this.data = 0;
    }
    if (this.control & EECD.CS && this.control & EECD.SK && !(before & EECD.SK))
      this.clock(this.control & EECD.DI ? 1 : 0);
  }

  private clock(bit: number): void {
    // Zeros before the start bit count for nothing.
    if (this.count === 0 && bit === 0) return;
    this.count++;
    if (this.count <= COMMAND_BITS) {
      this.input = (this.input << 1) | bit;
      if (this.count === COMMAND_BITS) this.begin();
      return;
    }
    if (this.input >>> 6 === OPERATION.READ) {
      this.shiftOut();
      return;
    }
    if (this.count <= COMMAND_BITS + DATA_BITS) this.data = ((this.data << 1) | bit) & 0xffff;
    if (this.count === COMMAND_BITS + DATA_BITS) this.store();
  }

  private begin(): void {
    const address = this.input & 0x3f;
    switch (this.input >>> 6) {
      case OPERATION.READ:
        // A zero comes before the data.
        this.output = 0;
        break;
      case OPERATION.ERASE:
        if (this.writable) this.words[address] = 0xffff;
        break;
      case OPERATION.EXTENDED:
        if (address >> 4 === EXTENDED.ENABLE) this.writable = true;
        if (address >> 4 === EXTENDED.DISABLE) this.writable = false;
        if (address >> 4 === EXTENDED.ERASE_ALL && this.writable) this.words.fill(0xffff);
        break;
    }
  }

  /** Word after word, for as long as there are clocks. */
  private shiftOut(): void {
    const done = this.count - COMMAND_BITS - 1;
    const address = ((this.input & 0x3f) + Math.floor(done / DATA_BITS)) % EEPROM_WORDS;
    this.output = done % DATA_BITS === 0 ? this.words[address] : (this.output << 1) & 0xffff;
    if (this.count > COMMAND_BITS + EEPROM_WORDS * DATA_BITS) this.count -= EEPROM_WORDS * DATA_BITS;
  }

  private store(): void {
    if (!this.writable) return;
    if (this.input >>> 6 === OPERATION.WRITE) this.words[this.input & 0x3f] = this.data;
    else if (this.input >>> 4 === ((OPERATION.EXTENDED << 2) | EXTENDED.WRITE_ALL)) this.words.fill(this.data);
  }

  save(): Infer<typeof eepromSchema> {
    const { control, read, input, data, count, output, writable } = this;
    return { words: new Uint8Array(this.words.buffer.slice(0)), control, read, input, data, count, output, writable };
  }

  restore(state: Infer<typeof eepromSchema>): void {
    new Uint8Array(this.words.buffer).set(state.words);
    this.control = state.control;
    this.read = state.read;
    this.input = state.input;
    this.data = state.data;
    this.count = state.count;
    this.output = state.output;
    this.writable = state.writable;
  }
}
