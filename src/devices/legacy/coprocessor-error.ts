import type { IoHandler } from '../../iface/bus.js';
import type { IrqLine } from '../../iface/lines.js';
import { bool, struct, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

const stateSchema = struct({ interrupt: bool });
type State = Infer<typeof stateSchema>;

/**
 * How a PC reports x87 errors while CR0.NE is 0: FERR# of the processor raises ISA interrupt 13, and a write to port 0xf0
 * takes it back (ICH9 datasheet, COPROC_ERR register; SDM vol. 1 appendix D.2).
 *
 * DEVIATION: IGNNE# is not modelled: the processor goes on behind the error without waiting for it.
 */
export class CoprocessorError implements IoHandler, Snapshotable<State> {
  readonly id = 'coprocessor-error';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly widest = 1;
  private interrupt = false;

  /** `irq` is ISA interrupt 13. */
  constructor(private readonly irq: IrqLine) {}

  /** FERR# changed. */
  setFerr(asserted: boolean): void {
    // The interrupt stays until the port is written, even when the error is cleared first.
    if (asserted) this.setInterrupt(true);
  }

  private setInterrupt(asserted: boolean): void {
    this.interrupt = asserted;
    this.irq.set(asserted);
  }

  /** Only written. */
  read(): number {
    return 0xff;
  }

  peek(): number {
    return 0xff;
  }

  write(): void {
    this.setInterrupt(false);
  }

  save(): State {
    return { interrupt: this.interrupt };
  }

  restore(state: State): void {
    this.setInterrupt(state.interrupt);
  }
}
