/**
 * The two 8237A DMA controllers of a PC/AT and their page registers, as far as firmware and drivers probe them: all
 * registers are there, but nothing requests a transfer, so none is ever made. After "8237A High Performance Programmable
 * DMA Controller", Intel 231466-005.
 */
import type { IoHandler } from '../../../iface/bus.js';
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

  constructor() {
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
    case REG.COMMAND_STATUS:
      // Requests in bits 7:4; no channel has reached its terminal count.
      return controller.request << 4;
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
      controller.command = controller.request = 0;
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
