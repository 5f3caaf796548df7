import type { ByteWriter } from './bytes.js';
import { CONTROL } from './opcodes.js';

/** Writes structured control flow with named labels. */
export class LabelledCode {
  private readonly labels: string[] = [];

  constructor(readonly out: ByteWriter) {}

  block(label: string): void {
    this.labels.push(label);
    this.out.u8(CONTROL.BLOCK).u8(CONTROL.VOID);
  }

  loop(label: string): void {
    this.labels.push(label);
    this.out.u8(CONTROL.LOOP).u8(CONTROL.VOID);
  }

  /** Ends the innermost block or loop. */
  end(): void {
    this.labels.pop();
    this.out.u8(CONTROL.END);
  }

  /** What a branch to `label` needs as its index, `extra` unnamed labels further in. */
  depth(label: string, extra = 0): number {
    const index = this.labels.lastIndexOf(label);
    if (index < 0) throw new Error(`no label ${label} here`);
    return this.labels.length - 1 - index + extra;
  }

  br(label: string, extra = 0): void {
    this.out.u8(CONTROL.BR).u32(this.depth(label, extra));
  }
}
