import type { CharSink, IrqLine, MachineControl, MsiSink } from '../../iface/lines.js';

/** An interrupt input that remembers how it was driven. */
export class RecordingLine implements IrqLine {
  level = false;
  /** Changes of the level, oldest first. */
  readonly changes: boolean[] = [];

  set(asserted: boolean): void {
    if (asserted === this.level) return;
    this.level = asserted;
    this.changes.push(asserted);
  }

  /** Rising edges so far. */
  get edges(): number {
    return this.changes.filter(Boolean).length;
  }
}

/** Collects what a character device sends. */
export class MemorySink implements CharSink {
  readonly bytes: number[] = [];

  write(bytes: Uint8Array): void {
    this.bytes.push(...bytes);
  }

  /** The bytes as Latin-1 text. */
  get text(): string {
    return String.fromCharCode(...this.bytes);
  }
}

/** Remembers what devices asked of the machine. */
export class RecordingControl implements MachineControl {
  readonly requests: string[] = [];

  powerOff(): void {
    this.requests.push('power-off');
  }

  reset(): void {
    this.requests.push('reset');
  }

  exit(code: number): void {
    this.requests.push(`exit ${code}`);
  }
}

/** Remembers message-signalled interrupts. */
export class RecordingMsi implements MsiSink {
  readonly messages: { address: number; data: number }[] = [];

  deliver(address: number, data: number): void {
    this.messages.push({ address, data });
  }
}
