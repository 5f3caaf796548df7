import type { ApicMessage, Destination } from '../../iface/local-apic.js';
import { struct, u32, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

const EVERYBODY: Destination = { id: 0xffff_ffff, logical: false, wide: true };

/** A local APIC as its bus sees it. */
export interface ApicBusMember {
  /** Whether a message is for this APIC; false when it is disabled altogether. */
  matches(destination: Destination): boolean;
  /** Accepts fixed and lowest-priority interrupts: enabled by software. */
  readonly accepting: boolean;
  /** Processor priority, 0 … 255, for lowest-priority delivery. */
  readonly priority: number;
  deliver(message: ApicMessage): void;
}

/** What hears EOI messages: an I/O APIC. */
export interface EoiListener {
  endOfInterrupt(vector: number): void;
  /** An edge-triggered interrupt has been served, which hardware tells nobody: for timers that make up for lost ticks. */
  edgeEnded(vector: number): void;
}

const stateSchema = struct({ turn: u32 });
type State = Infer<typeof stateSchema>;

/**
 * The interconnect of local APICs and I/O APICs. It routes messages by destination, arbitrates lowest-priority
 * delivery and carries EOI broadcasts. Messages arrive at once.
 */
export class ApicBus implements Snapshotable<State> {
  readonly id = 'apic-bus';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  /** Messages that no local APIC accepted. */
  unaccepted = 0;

  private readonly members: ApicBusMember[] = [];
  private readonly listeners: EoiListener[] = [];
  /** The member that took the last lowest-priority message: those after it win ties. */
  private turn = 0;

  /** `carry`: takes messages to local APICs that are not on this bus, since the accelerator has them all. False: none accepted it. */
  constructor(private readonly carry?: (message: ApicMessage, destination: Destination) => boolean) {}

  attach(member: ApicBusMember): void {
    this.members.push(member);
  }

  attachIoApic(listener: EoiListener): void {
    this.listeners.push(listener);
  }

  /**
   * Sends a message to every local APIC that the destination names, or to one of them for `lowest`. False: none of
   * them accepted it.
   */
  send(message: ApicMessage, destination: Destination): boolean {
    if (this.carry) return this.carry(message, destination);
    if (message.mode === 'lowest') return this.sendLowest(message, destination);
    let accepted = false;
    for (const member of this.members)
      if (member.matches(destination)) {
        if (member.accepting || message.mode !== 'fixed') accepted = true;
        member.deliver(message);
      }
    if (!accepted) this.unaccepted++;
    return accepted;
  }

  /** The destination shorthands "all including self" and, with `sender`, "all excluding self". */
  sendToAll(message: ApicMessage, sender?: ApicBusMember): void {
    if (message.mode === 'lowest') this.sendLowest(message, EVERYBODY, sender);
    else for (const member of this.members) if (member !== sender && member.matches(EVERYBODY)) member.deliver(message);
  }

  /** An EOI of a level-triggered interrupt, SDM vol. 3 §11.8.5. */
  broadcastEoi(vector: number): void {
    for (const listener of this.listeners) listener.endOfInterrupt(vector);
  }

  /** See `EoiListener`; of CPUs on the machine's thread alone. */
  edgeEnded(vector: number): void {
    for (const listener of this.listeners) listener.edgeEnded(vector);
  }

  /** System reset. */
  reset(): void {
    this.turn = 0;
  }

  save(): State {
    return { turn: this.turn };
  }

  restore(state: State): void {
    this.turn = state.turn;
  }

  /** §11.6.2.4: the lowest processor priority wins; which of equals is up to the chipset, here they take turns. */
  private sendLowest(message: ApicMessage, destination: Destination, except?: ApicBusMember): boolean {
    let winner = -1;
    let lowest = 0x100;
    for (let step = 1; step <= this.members.length; step++) {
      const index = (this.turn + step) % this.members.length;
      const member = this.members[index];
      if (member === except || !member.accepting || member.priority >= lowest || !member.matches(destination)) continue;
      winner = index;
      lowest = member.priority;
    }
    if (winner < 0) {
      this.unaccepted++;
      return false;
    }
    this.turn = winner;
    this.members[winner].deliver(message);
    return true;
  }
}
