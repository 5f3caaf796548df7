/**
 * A stub for gdb's remote serial protocol (gdb manual appendix E): registers, memory, breakpoints, watchpoints, single step.
 * It knows bytes in and bytes out; the connection and the run loop are others' business.
 */
import type { GdbArchitecture } from '../../iface/debug.js';
import type { DebugReason, DebugRequest, Vcpu } from '../../iface/vcpu.js';
import { ACK, frame, hex, NAK, PacketReader, unhex } from './packet.js';

/** The machine as the debugger works on it, while it is stopped. */
export interface GdbTarget {
  readonly cpus: readonly Vcpu[];
  readonly architecture: GdbArchitecture;
  /** Reads guest-linear memory of a CPU; fewer bytes than asked for where it ends. */
  readMemory(cpu: Vcpu, address: bigint, length: number): Uint8Array;
  /** False when some of it is not mapped. */
  writeMemory(cpu: Vcpu, address: bigint, bytes: Uint8Array): boolean;
}

/** What the debugger wants of the machine after its packets were handled. */
export type GdbWish = 'stay' | 'continue' | 'step' | 'stop' | 'kill' | 'detach';

const SIGNAL = { INT: 2, TRAP: 5, SEGV: 11 } as const;
/** Largest packet that we announce, bytes. */
const PACKET_SIZE = 0x4000;
const MAX_WATCHPOINTS = 8;
const MAX_BREAKPOINTS = 32;

interface Watchpoint {
  readonly address: bigint;
  readonly length: number;
  readonly access: 'write' | 'access';
}

export class GdbStub {
  private readonly reader = new PacketReader();
  private readonly breakpoints = new Set<bigint>();
  private watchpoints: Watchpoint[] = [];
  private acknowledging = true;
  private selected = 0;
  private wish: GdbWish = 'stay';
  private lastStop = `T${SIGNAL.TRAP.toString(16).padStart(2, '0')}thread:1;`;

  constructor(
    private readonly target: GdbTarget,
    private readonly send: (bytes: Uint8Array) => void,
  ) {}

  /** Takes what has arrived and says what the debugger wants now. */
  receive(bytes: Uint8Array): GdbWish {
    this.wish = 'stay';
    for (const input of this.reader.push(bytes)) {
      switch (input.kind) {
        case 'interrupt':
          this.wish = 'stop';
          break;
        case 'damaged':
          if (this.acknowledging) this.send(NAK);
          break;
        case 'packet': {
          if (this.acknowledging) this.send(ACK);
          const answer = this.handle(input.data);
          if (answer !== undefined) this.send(frame(answer));
          break;
        }
      }
    }
    return this.wish;
  }

  /** What the CPU is to watch while the machine runs. */
  request(singleStep: boolean): DebugRequest {
    return { singleStep, breakpoints: [...this.breakpoints], watchpoints: this.watchpoints };
  }

  /** Tells gdb that the machine stopped: for a reason of the CPU's, because gdb asked, or by a triple fault. */
  reportStop(reason: DebugReason | 'interrupt' | 'crash'): void {
    const signal = reason === 'interrupt' ? SIGNAL.INT : reason === 'crash' ? SIGNAL.SEGV : SIGNAL.TRAP;
    let detail = '';
    if (typeof reason === 'object' && reason.kind === 'watchpoint') {
      const kind = reason.access === 'write' ? 'watch' : 'awatch';
      detail = `${kind}:${reason.address.toString(16)};`;
    }
    this.lastStop = `T${signal.toString(16).padStart(2, '0')}${detail}thread:1;`;
    this.send(frame(this.lastStop));
  }

  /** Tells gdb that the machine ended with an exit code. */
  reportExit(code: number): void {
    this.send(frame(`W${(code & 0xff).toString(16).padStart(2, '0')}`));
  }

  private get cpu(): Vcpu {
    return this.target.cpus[this.selected] ?? this.target.cpus[0];
  }

  /** The answer to a packet; undefined when there is none yet. */
  private handle(packet: string): string | undefined {
    const body = packet.slice(1);
    switch (packet[0]) {
      case '?':
        return this.lastStop;
      case 'g':
        return this.readAll();
      case 'G':
        return this.writeAll(body);
      case 'p':
        return this.readOne(parseInt(body, 16));
      case 'P':
        return this.writeOne(body);
      case 'm':
        return this.readMemory(body);
      case 'M':
        return this.writeMemory(body);
      case 'X':
        return this.writeBinary(body);
      case 'c':
      case 's':
        return this.resume(packet[0], body);
      case 'Z':
      case 'z':
        return this.changePoint(packet.startsWith('Z'), body);
      case 'H': {
        const thread = parseInt(body.slice(1), 16);
        if (thread > this.target.cpus.length) return 'E01';
        if (thread > 0) this.selected = thread - 1;
        return 'OK';
      }
      case 'T':
        return parseInt(body, 16) <= this.target.cpus.length ? 'OK' : 'E01';
      case 'D':
        this.wish = 'detach';
        this.breakpoints.clear();
        this.watchpoints = [];
        return 'OK';
      case 'k':
        this.wish = 'kill';
        return undefined;
      case 'q':
      case 'Q':
        return this.query(packet);
      case 'v':
        return this.verbose(packet);
      default:
        return '';
    }
  }

  private query(packet: string): string {
    if (packet.startsWith('qSupported'))
      return `PacketSize=${PACKET_SIZE.toString(16)};qXfer:features:read+;QStartNoAckMode+;vContSupported+;hwbreak+`;
    if (packet === 'QStartNoAckMode') {
      this.acknowledging = false;
      return 'OK';
    }
    if (packet.startsWith('qXfer:features:read:target.xml:'))
      return this.transfer(packet.slice(packet.lastIndexOf(':') + 1));
    if (packet === 'qfThreadInfo') return `m${this.target.cpus.map((_, i) => (i + 1).toString(16)).join(',')}`;
    if (packet === 'qsThreadInfo') return 'l';
    if (packet === 'qC') return `QC${(this.selected + 1).toString(16)}`;
    if (packet === 'qAttached' || packet.startsWith('qAttached:')) return '1';
    if (packet.startsWith('qThreadExtraInfo')) return hex(new TextEncoder().encode('virtual CPU'));
    if (packet.startsWith('qSymbol')) return 'OK';
    return '';
  }

  /** A piece of the target description: `offset,length`. */
  private transfer(range: string): string {
    const [offset, length] = range.split(',').map((part) => parseInt(part, 16));
    const { targetXml } = this.target.architecture;
    if (offset === undefined || length === undefined || Number.isNaN(offset + length)) return 'E01';
    const piece = targetXml.slice(offset, offset + length);
    return `${offset + length >= targetXml.length ? 'l' : 'm'}${piece}`;
  }

  private verbose(packet: string): string | undefined {
    if (packet === 'vCont?') return 'vCont;c;C;s;S';
    if (packet.startsWith('vCont;')) {
      // With one CPU the first action is the one for it.
      const action = packet.slice(6)[0];
      return action === 's' || action === 'S' ? this.resume('s', '') : this.resume('c', '');
    }
    if (packet.startsWith('vKill')) {
      this.wish = 'kill';
      return 'OK';
    }
    return '';
  }

  private resume(how: 'c' | 's', address: string): string | undefined {
    if (address !== '') {
      const rip = this.pcRegister();
      this.cpu.restoreState(
        this.target.architecture.write(this.cpu.saveState(), rip, littleEndian(BigInt(`0x${address}`), 8)),
      );
    }
    this.wish = how === 's' ? 'step' : 'continue';
    return undefined;
  }

  /** The program counter follows the general registers in gdb's order: 16 in long mode, 8 otherwise. */
  private pcRegister(): number {
    return this.target.architecture.sizes[0] === 8 ? 16 : 8;
  }

  private readAll(): string {
    const { architecture } = this.target;
    const state = this.cpu.saveState();
    return architecture.sizes.map((_, i) => hex(architecture.read(state, i))).join('');
  }

  private writeAll(body: string): string {
    const bytes = unhex(body);
    if (bytes === undefined) return 'E01';
    const { architecture } = this.target;
    let state = this.cpu.saveState();
    let at = 0;
    for (const [i, size] of architecture.sizes.entries()) {
      if (at + size > bytes.length) break;
      state = architecture.write(state, i, bytes.subarray(at, at + size));
      at += size;
    }
    this.cpu.restoreState(state);
    return 'OK';
  }

  private readOne(register: number): string {
    const { architecture } = this.target;
    if (!(register < architecture.sizes.length)) return 'E01';
    return hex(architecture.read(this.cpu.saveState(), register));
  }

  private writeOne(body: string): string {
    const [number, value] = body.split('=');
    const register = parseInt(number ?? '', 16);
    const bytes = unhex(value ?? '');
    const { architecture } = this.target;
    if (!(register < architecture.sizes.length) || bytes?.length !== architecture.sizes[register]) return 'E01';
    this.cpu.restoreState(architecture.write(this.cpu.saveState(), register, bytes));
    return 'OK';
  }

  private readMemory(body: string): string {
    const [address, length] = body.split(',').map((part) => BigInt(`0x${/^[0-9a-fA-F]+$/.test(part) ? part : '0'}`));
    if (address === undefined || length === undefined || length > BigInt(PACKET_SIZE)) return 'E01';
    const bytes = this.target.readMemory(this.cpu, address, Math.min(Number(length), PACKET_SIZE / 2 - 8));
    return bytes.length === 0 && length > 0n ? 'E14' : hex(bytes);
  }

  private writeMemory(body: string): string {
    const [range, data] = body.split(':');
    const bytes = unhex(data ?? '');
    const address = /^([0-9a-fA-F]+),/.exec(range ?? '')?.[1];
    if (bytes === undefined || address === undefined) return 'E01';
    return this.target.writeMemory(this.cpu, BigInt(`0x${address}`), bytes) ? 'OK' : 'E14';
  }

  private writeBinary(body: string): string {
    const match = /^([0-9a-fA-F]+),[0-9a-fA-F]+:/.exec(body);
    if (match?.[1] === undefined) return 'E01';
    const bytes = Uint8Array.from(body.slice(match[0].length), (c) => c.charCodeAt(0));
    return this.target.writeMemory(this.cpu, BigInt(`0x${match[1]}`), bytes) ? 'OK' : 'E14';
  }

  /** Whether the CPU can watch no more places, with so many watchpoints. */
  private isFull(watchpoints: number): boolean {
    return this.breakpoints.size + watchpoints >= (this.target.cpus[0].debugPlaces ?? Infinity);
  }

  /** `type,address,kind`: 0 and 1 are breakpoints, 2 write, 3 read and 4 access watchpoints (read is taken as access). */
  private changePoint(insert: boolean, body: string): string {
    const [type, addressText, kindText] = body.split(',');
    if (!/^[0-9a-fA-F]+$/.test(addressText ?? '')) return 'E01';
    const address = BigInt(`0x${addressText ?? ''}`);
    if (type === '0' || type === '1') {
      if (!insert) this.breakpoints.delete(address);
      else if (this.breakpoints.size >= MAX_BREAKPOINTS || this.isFull(this.watchpoints.length)) return 'E1c';
      else this.breakpoints.add(address);
      return 'OK';
    }
    const length = parseInt(kindText ?? '', 16);
    if (!['2', '3', '4'].includes(type ?? '') || !(length >= 1 && length <= 8)) return '';
    const access = type === '2' ? 'write' : 'access';
    const others = this.watchpoints.filter((w) => w.address !== address || w.length !== length || w.access !== access);
    if (insert && (others.length >= MAX_WATCHPOINTS || this.isFull(others.length))) return 'E1c';
    this.watchpoints = insert ? [...others, { address, length, access }] : others;
    return 'OK';
  }
}

function littleEndian(value: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}
