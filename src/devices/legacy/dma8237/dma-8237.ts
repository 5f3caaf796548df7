/**
 * The two 8237A DMA controllers of a PC/AT and their page registers. After "8237A High Performance Programmable DMA
 * Controller", Intel 231466-005, and IBM's "Technical Reference, Personal Computer AT" (6183355), system board.
 *
 * A device that has its channel's DREQ moves bytes with `write` and `read`; what the bus would do cycle by cycle happens in
 * one piece. DEVIATION: requests by software (request register) and memory to memory transfers are not carried out.
 */
import { gpa } from '../../../base/units.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Dma } from '../../../iface/guest-memory.js';
import { array, bool, bytes, range, struct, u16, u8, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';

/** Registers 8 … 15 of a controller. Registers 0 … 7 are address and count of the channels in turn. */
const REG = {
  /** Read: status. Written: command. */
  COMMAND_STATUS: 0x8,
  REQUEST: 0x9,
  SINGLE_MASK: 0xa,
  MODE: 0xb,
  CLEAR_FLIP_FLOP: 0xc,
  /** Read: temporary register. */
  MASTER_CLEAR: 0xd,
  CLEAR_MASK: 0xe,
  ALL_MASK: 0xf,
} as const;
const CHANNELS = 4;
const ALL_CHANNELS = 0xf;
/** Page registers at 0x80 … 0x8f; those that belong to no channel just remember. Port 0x80 takes POST codes. */
const PAGES = 16;
/** Which page register holds bits 23:16 of each channel's address; channel 4 is the cascade. */
const PAGE_OF = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa] as const;
/** Mode register: what a transfer does, and how addresses go on. */
const MODE = { KIND: 0x0c, TO_MEMORY: 0x04, FROM_MEMORY: 0x08, AUTOMATIC: 0x10, DOWN: 0x20, CASCADE: 0xc0 } as const;
/** Command register: the controller does nothing. */
const DISABLED = 1 << 2;

/** A channel as the device on it sees it: it moves bytes while the guest lets it. */
export interface DmaChannel {
  /** Puts bytes into guest memory. Returns how many went before the count ran out; none while the channel is off. */
  write(bytes: Uint8Array): number;
  /** Gets bytes from guest memory, likewise. */
  read(into: Uint8Array): number;
  /** Whether the count ran out in the last transfer (the TC pin). */
  readonly terminal: boolean;
}

const channelState = struct({
  baseAddress: u16,
  baseCount: u16,
  address: u16,
  count: u16,
  mode: u8,
});
const controllerState = struct({
  channels: array(channelState, { length: CHANNELS }),
  command: u8,
  mask: range(0, ALL_CHANNELS),
  request: range(0, ALL_CHANNELS),
  /** Channels whose count has run out since the status was read. */
  terminal: range(0, ALL_CHANNELS),
  /** The next byte of an address or count is the high one. */
  high: bool,
});
const stateSchema = struct({ first: controllerState, second: controllerState, pages: bytes(PAGES) });
type Channel = Infer<typeof channelState>;
type Controller = Infer<typeof controllerState>;
type State = Infer<typeof stateSchema>;

const newController = (): Controller => ({
  channels: Array.from({ length: CHANNELS }, () => ({ baseAddress: 0, baseCount: 0, address: 0, count: 0, mode: 0 })),
  command: 0,
  mask: ALL_CHANNELS,
  request: 0,
  terminal: 0,
  high: false,
});

const copyController = (from: Controller): Controller => ({
  ...from,
  channels: from.channels.map((channel) => ({ ...channel })),
});

export class Dma8237 implements Snapshotable<State> {
  readonly id = 'dma';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;

  private first = newController();
  private second = newController();
  private pages = new Uint8Array(PAGES);

  /** 16 ports at 0x00 (channels 0 … 3), 32 at 0xc0 (channels 4 … 7, every other port), 16 at 0x80. */
  readonly firstPorts: IoHandler;
  readonly secondPorts: IoHandler;
  readonly pagePorts: IoHandler;

  constructor(private readonly dma: Dma) {
    const ports = (controller: () => Controller, shift: number): IoHandler => ({
      widest: 1,
      read: (offset) => read(controller(), offset >> shift, true),
      peek: (offset) => read(controller(), offset >> shift, false),
      write: (offset, _size, value) => write(controller(), offset >> shift, value),
    });
    this.firstPorts = ports(() => this.first, 0);
    this.secondPorts = ports(() => this.second, 1);
    this.pagePorts = {
      widest: 1,
      read: (offset) => this.pages[offset],
      peek: (offset) => this.pages[offset],
      write: (offset, _size, value) => {
        this.pages[offset] = value;
      },
    };
  }

  /** Channel 0 … 7. Channels 5 … 7 move 16-bit words: an even number of bytes. */
  channel(number: number): DmaChannel {
    let terminal = false;
    const move = (bytes: Uint8Array, kind: number): number => {
      const controller = number < CHANNELS ? this.first : this.second;
      const page = this.pages[PAGE_OF[number]];
      const result = transfer(
        { controller, index: number % CHANNELS, page, wide: number >= CHANNELS },
        bytes,
        kind,
        this.dma,
      );
      terminal = result.terminal;
      return result.moved;
    };
    return {
      write: (bytes) => move(bytes, MODE.TO_MEMORY),
      read: (into) => move(into, MODE.FROM_MEMORY),
      get terminal() {
        return terminal;
      },
    };
  }

  /** The last byte written to port 0x80, where firmware reports its progress. */
  get postCode(): number {
    return this.pages[0];
  }

  save(): State {
    return { first: copyController(this.first), second: copyController(this.second), pages: this.pages.slice() };
  }

  restore(state: State): void {
    this.first = copyController(state.first);
    this.second = copyController(state.second);
    this.pages = state.pages.slice();
  }
}

function read(controller: Controller, register: number, flip: boolean): number {
  if (register < REG.COMMAND_STATUS) {
    const channel = controller.channels[register >> 1];
    const value = register & 1 ? channel.count : channel.address;
    const byte = controller.high ? value >> 8 : value & 0xff;
    if (flip) controller.high = !controller.high;
    return byte;
  }
  switch (register) {
    case REG.COMMAND_STATUS: {
      // Requests in bits 7:4; terminal counts in bits 3:0, which reading clears.
      const status = (controller.request << 4) | controller.terminal;
      if (flip) controller.terminal = 0;
      return status;
    }
    case REG.ALL_MASK:
      return controller.mask;
    default:
      return 0;
  }
}

function write(controller: Controller, register: number, value: number): void {
  if (register < REG.COMMAND_STATUS) {
    writeWord(controller, controller.channels[register >> 1], (register & 1) !== 0, value);
    return;
  }
  const bit = 1 << (value & 3);
  const set = (value & 4) !== 0;
  switch (register) {
    case REG.COMMAND_STATUS:
      controller.command = value;
      break;
    case REG.REQUEST:
      controller.request = set ? controller.request | bit : controller.request & ~bit;
      break;
    case REG.SINGLE_MASK:
      controller.mask = set ? controller.mask | bit : controller.mask & ~bit;
      break;
    case REG.MODE:
      controller.channels[value & 3].mode = value & 0xfc;
      break;
    case REG.CLEAR_FLIP_FLOP:
      controller.high = false;
      break;
    case REG.MASTER_CLEAR:
      // As a reset: command, request and flip-flop are cleared and all channels masked.
      controller.command = controller.request = controller.terminal = 0;
      controller.high = false;
      controller.mask = ALL_CHANNELS;
      break;
    case REG.CLEAR_MASK:
      controller.mask = 0;
      break;
    case REG.ALL_MASK:
      controller.mask = value & ALL_CHANNELS;
      break;
  }
}

/** Base and current registers are written together, a byte at a time. */
function writeWord(controller: Controller, channel: Channel, count: boolean, value: number): void {
  const merge = (old: number): number => (controller.high ? (old & 0xff) | (value << 8) : (old & 0xff00) | value);
  if (count) channel.baseCount = channel.count = merge(channel.baseCount);
  else channel.baseAddress = channel.address = merge(channel.baseAddress);
  controller.high = !controller.high;
}

interface Route {
  readonly controller: Controller;
  readonly index: number;
  /** Page register: bits 23:16 of the address. */
  readonly page: number;
  /** Channels of the second controller count words. */
  readonly wide: boolean;
}

/**
 * Moves bytes through a channel until they are through or its count has run out. The address wraps within its page of 64
 * Ki units.
 */
function transfer(
  { controller, index, page, wide }: Route,
  bytes: Uint8Array,
  kind: number,
  dma: Dma,
): { readonly moved: number; readonly terminal: boolean } {
  const channel = controller.channels[index];
  const bit = 1 << index;
  const idle = controller.command & DISABLED || controller.mask & bit || (channel.mode & MODE.CASCADE) === MODE.CASCADE;
  const chosen = channel.mode & MODE.KIND;
  // A verify transfer (0) goes through the motions without moving anything.
  if (idle || (chosen !== kind && chosen !== 0)) return { moved: 0, terminal: false };
  const unit = wide ? 2 : 1;
  const step = channel.mode & MODE.DOWN ? -1 : 1;
  // The high page bits; of word channels bit 16 comes from the address.
  const base = wide ? (page & 0xfe) << 16 : page << 16;
  const units = Math.min(Math.floor(bytes.length / unit), channel.count + 1);
  for (let done = 0; done < units;) {
    // One piece as far as addresses go up without wrapping; else unit by unit.
    const run = step > 0 ? Math.min(units - done, 0x1_0000 - channel.address) : 1;
    const part = bytes.subarray(done * unit, (done + run) * unit);
    const at = gpa(base + channel.address * unit);
    if (chosen === MODE.TO_MEMORY) dma.write(at, part);
    else if (chosen === MODE.FROM_MEMORY) dma.read(at, part);
    channel.address = (channel.address + step * run) & 0xffff;
    done += run;
  }
  const terminal = units === channel.count + 1;
  channel.count = (channel.count - units) & 0xffff;
  if (terminal) {
    controller.terminal |= bit;
    controller.request &= ~bit;
    if (channel.mode & MODE.AUTOMATIC) {
      channel.address = channel.baseAddress;
      channel.count = channel.baseCount;
    } else controller.mask |= bit;
  }
  return { moved: units * unit, terminal };
}
