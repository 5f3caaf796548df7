/** Ports for test kernels and firmware, as QEMU has them: isa-debugcon and isa-debug-exit. Neither keeps state. */
import type { IoHandler } from '../../iface/bus.js';
import type { CharSink, MachineControl } from '../../iface/lines.js';

/** What isa-debugcon reads as, by which guests find it; also its usual port (SeaBIOS and OVMF use 0x402). */
export const DEBUGCON_MARK = 0xe9;

/** isa-debugcon: each byte written goes out. One port. */
export class DebugConsole implements IoHandler {
  readonly widest = 1;

  constructor(private readonly out: CharSink) {}

  read(): number {
    return DEBUGCON_MARK;
  }

  write(_offset: number, _size: number, value: number): void {
    this.out.write(Uint8Array.of(value));
  }

  peek(): number {
    return DEBUGCON_MARK;
  }
}

/** isa-debug-exit: a write of any width ends the machine with exit code (value << 1) | 1, kept to a byte. Four ports. */
export class DebugExit implements IoHandler {
  constructor(private readonly control: MachineControl) {}

  /** Reads as 0, as QEMU's does. */
  read(): number {
    return 0;
  }

  write(_offset: number, _size: number, value: number): void {
    this.control.exit(((value << 1) | 1) & 0xff);
  }

  peek(): number {
    return 0;
  }
}
