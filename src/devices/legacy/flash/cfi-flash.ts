/**
 * A flash memory chip with Intel's basic command set: "Common Flash Interface" (JESD68.01) and command set 0001h as in Intel's
 * StrataFlash memory (J3 D, 316577). As firmware finds it on a Q35 of QEMU: blocks of 4 KiB, a bus of 32 bits.
 *
 * While the array is read, the CPU reads it as memory and never asks the chip; every write comes here.
 */
import type { BlockBackend } from '../../../iface/block.js';
import type { IoHandler } from '../../../iface/bus.js';
import { bool, bytes, nullable, oneOf, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';

const COMMAND = {
  PROGRAM: 0x10,
  ERASE: 0x20,
  PROGRAM_ALTERNATE: 0x40,
  CLEAR_STATUS: 0x50,
  LOCK: 0x60,
  READ_STATUS: 0x70,
  READ_ID: 0x90,
  READ_QUERY: 0x98,
  CONFIRM: 0xd0,
  WRITE_BUFFER: 0xe8,
  READ_ARRAY: 0xff,
} as const;

/** Status register. */
const STATUS = { PROTECTED: 1 << 1, PROGRAM_ERROR: 1 << 4, ERASE_ERROR: 1 << 5, READY: 1 << 7 } as const;

export const FLASH_BLOCK = 4096;
const SECTOR = 512;
/** Writes that one write to the buffer can hold. */
const BUFFER_WRITES = 2048;
/** Manufacturer and device codes. */
const IDENTITY = [0x89, 0x18] as const;

const stateSchema = struct({
  /** What reads give. */
  mode: oneOf('array', 'status', 'identity', 'query'),
  /** What the next write means. */
  expects: oneOf('command', 'data', 'erase', 'count', 'buffer', 'confirm', 'lock'),
  status: u8,
  /** Writes to the buffer that are still to come. */
  count: range(0, BUFFER_WRITES),
  /** Where the buffer's bytes go, and what they are, in pairs. */
  buffered: bytes(),
  dirty: bool,
  /** What is in the chip, when it is kept nowhere else. */
  contents: nullable(bytes()),
});
type State = Infer<typeof stateSchema>;

export interface CfiFlashParts {
  readonly id: string;
  /** The chip's contents: the memory that the CPU reads. A whole number of blocks. */
  readonly data: Uint8Array;
  /** Where contents are kept; nothing: they are lost with the machine. */
  readonly file: BlockBackend | undefined;
  readonly readOnly: boolean;
  /** The CPU can read the array as memory, or cannot. */
  readonly readable: (whether: boolean) => void;
  /** Contents changed behind the CPU's back. */
  readonly changed: (offset: number, length: number) => void;
}

export class CfiFlash implements Snapshotable<State> {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  private mode: State['mode'] = 'array';
  private expects: State['expects'] = 'command';
  private status: number = STATUS.READY;
  private count = 0;
  private buffered: { readonly at: number; readonly byte: number }[] = [];
  /** Something was written to the file that is not durable yet. */
  private dirty = false;
  private readonly query: Uint8Array;

  constructor(private readonly parts: CfiFlashParts) {
    this.id = parts.id;
    this.query = queryTable(parts.data.length);
  }

  readonly handler: IoHandler = {
    read: (offset, size) => this.read(offset, size),
    peek: (offset, size) => this.read(offset, size),
    write: (offset, size, value) => this.write(offset, size, value),
  };

  private read(offset: number, size: number): number {
    switch (this.mode) {
      case 'array': {
        let value = 0;
        for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.parts.data[offset + i] ?? 0xff);
        return value;
      }
      case 'status':
        // Two chips of 16 bits beside each other.
        return size === 4 ? (this.status | (this.status << 16)) >>> 0 : this.status;
      case 'identity':
        return IDENTITY[(offset & 0xff) >> 2] ?? 0;
      case 'query':
        return this.query[(offset & 0x3ff) >> 2] ?? 0;
    }
  }

  private setMode(mode: State['mode']): void {
    const [before, now] = [this.mode === 'array', mode === 'array'];
    this.mode = mode;
    if (before !== now) this.parts.readable(now);
    if (now && this.dirty) {
      this.dirty = false;
      // What firmware has finished writing survives whatever happens to the host.
      this.parts.file?.flush(() => undefined);
    }
  }

  private write(offset: number, size: number, value: number): void {
    const command = value & 0xff;
    switch (this.expects) {
      case 'command':
        this.command(command);
        break;
      case 'data':
        this.expects = 'command';
        this.program(Array.from({ length: size }, (_, i) => ({ at: offset + i, byte: (value >>> (8 * i)) & 0xff })));
        break;
      case 'erase':
        this.expects = 'command';
        if (command === COMMAND.CONFIRM) this.erase(offset);
        else this.setMode(command === COMMAND.READ_ARRAY ? 'array' : 'status');
        break;
      case 'count':
        // One less than the writes that follow.
        this.count = Math.min((value & 0xffff) + 1, BUFFER_WRITES);
        this.buffered = [];
        this.expects = 'buffer';
        break;
      case 'buffer':
        for (let i = 0; i < size; i++) this.buffered.push({ at: offset + i, byte: (value >>> (8 * i)) & 0xff });
        if (--this.count === 0) this.expects = 'confirm';
        break;
      case 'confirm':
        this.expects = 'command';
        if (command === COMMAND.CONFIRM) this.program(this.buffered);
        else this.status |= STATUS.PROGRAM_ERROR | STATUS.ERASE_ERROR;
        this.buffered = [];
        break;
      case 'lock':
        // Blocks are not locked one by one: lock, unlock and lock down change nothing.
        this.expects = 'command';
        if (command === COMMAND.READ_ARRAY) this.setMode('array');
        break;
    }
  }

  private command(command: number): void {
    switch (command) {
      case COMMAND.PROGRAM:
      case COMMAND.PROGRAM_ALTERNATE:
        this.expects = 'data';
        this.setMode('status');
        break;
      case COMMAND.ERASE:
        this.expects = 'erase';
        this.setMode('status');
        break;
      case COMMAND.WRITE_BUFFER:
        this.expects = 'count';
        this.status |= STATUS.READY;
        this.setMode('status');
        break;
      case COMMAND.LOCK:
        this.expects = 'lock';
        this.setMode('status');
        break;
      case COMMAND.READ_STATUS:
        this.setMode('status');
        break;
      case COMMAND.READ_ID:
        this.setMode('identity');
        break;
      case COMMAND.READ_QUERY:
        this.setMode('query');
        break;
      case COMMAND.CLEAR_STATUS:
        // DEVIATION: a chip stays ready. OVMF tells flash from ROM by a status of 0 after this command, as QEMU's chip has it.
        this.status = 0;
        this.setMode('array');
        break;
      default:
        // READ ARRAY, and what is no command.
        this.setMode('array');
    }
  }

  /** Programming clears bits; only erasing sets them. */
  private program(entries: readonly { readonly at: number; readonly byte: number }[]): void {
    const { data, readOnly } = this.parts;
    this.status |= STATUS.READY;
    const inside = entries.filter(({ at }) => at >= 0 && at < data.length);
    if (readOnly) {
      this.status |= STATUS.PROGRAM_ERROR | STATUS.PROTECTED;
      return;
    }
    if (inside.length === 0) return;
    let [low, high] = [data.length, 0];
    for (const { at, byte } of inside) {
      data[at] &= byte;
      low = Math.min(low, at);
      high = Math.max(high, at + 1);
    }
    this.store(low, high - low, STATUS.PROGRAM_ERROR);
  }

  private erase(offset: number): void {
    const { data, readOnly } = this.parts;
    this.status |= STATUS.READY;
    if (readOnly) {
      this.status |= STATUS.ERASE_ERROR | STATUS.PROTECTED;
      return;
    }
    const start = offset - (offset % FLASH_BLOCK);
    data.fill(0xff, start, start + FLASH_BLOCK);
    this.store(start, FLASH_BLOCK, STATUS.ERASE_ERROR);
  }

  /** Writes whole sectors of what has changed to the file. */
  private store(offset: number, length: number, error: number): void {
    const { data, file, changed } = this.parts;
    changed(offset, length);
    const start = offset - (offset % SECTOR);
    const end = Math.min(data.length, Math.ceil((offset + length) / SECTOR) * SECTOR);
    this.dirty = true;
    file?.write(start, data.slice(start, end), (status) => {
      if (status !== 'ok') this.status |= error;
    });
  }

  save(): State {
    const { data, file } = this.parts;
    const buffered = new DataView(new ArrayBuffer(this.buffered.length * 5));
    this.buffered.forEach(({ at, byte }, i) => {
      buffered.setUint32(5 * i, at, true);
      buffered.setUint8(5 * i + 4, byte);
    });
    return {
      mode: this.mode,
      expects: this.expects,
      status: this.status,
      count: this.count,
      buffered: new Uint8Array(buffered.buffer),
      dirty: this.dirty,
      contents: file || this.parts.readOnly ? null : data.slice(),
    };
  }

  restore(state: State): void {
    const { data, changed } = this.parts;
    this.expects = state.expects;
    this.status = state.status;
    this.count = state.count;
    this.dirty = state.dirty;
    const view = new DataView(state.buffered.slice().buffer);
    this.buffered = Array.from({ length: Math.floor(view.byteLength / 5) }, (_, i) => ({
      at: view.getUint32(5 * i, true),
      byte: view.getUint8(5 * i + 4),
    }));
    if (state.contents?.length === data.length) {
      data.set(state.contents);
      changed(0, data.length);
    }
    this.mode = state.mode;
    this.parts.readable(state.mode === 'array');
  }
}

/** What the query command shows, JESD68.01 §2.4: an entry for each word of the bus. */
function queryTable(size: number): Uint8Array {
  const table = new Uint8Array(0x40);
  const u16 = (at: number, value: number): void => table.set([value & 0xff, value >> 8], at);
  table.set([0x51, 0x52, 0x59], 0x10);
  // Intel's command set, its table at 31h.
  u16(0x13, 0x0001);
  u16(0x15, 0x0031);
  // 2.7 … 3.6 V; 128 µs for a word or a buffer, 1 s for a block.
  table.set([0x27, 0x36, 0x00, 0x00, 0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00], 0x1b);
  table[0x27] = Math.ceil(Math.log2(size));
  // 16 and 32 bits; a buffer of 2 KiB; one region of equal blocks.
  u16(0x28, 0x0002);
  u16(0x2a, 11);
  table[0x2c] = 1;
  u16(0x2d, size / FLASH_BLOCK - 1);
  u16(0x2f, FLASH_BLOCK / 256);
  table.set([0x50, 0x52, 0x49, 0x31, 0x30], 0x31);
  return table;
}
