/** What the machine's thread and the thread of a CPU post to each other. */
import type { CodeLocation, CpuEvent, DebugReason, DebugRequest } from '../../iface/vcpu.js';
import type { Plain } from '../../snapshot/schema.js';

export type CpuCommand =
  /** Its clock goes on, `origin` nanoseconds behind the time source, and nobody runs yet: for accelerators with chips of their own. */
  | { readonly kind: 'resume'; readonly origin: number }
  /** Its clock is `origin` nanoseconds behind the time source; it runs until it is told to stop. */
  | { readonly kind: 'go'; readonly origin: number }
  /** Answered when it stands still. */
  | { readonly kind: 'stop' }
  /** CPU and APIC as they are when power comes on. The clock stands at `now`. */
  | { readonly kind: 'power'; readonly now: number }
  | { readonly kind: 'save' }
  | { readonly kind: 'restore-cpu'; readonly state: Plain; readonly now: number }
  | { readonly kind: 'restore-apic'; readonly state: Plain; readonly now: number }
  | { readonly kind: 'debug'; readonly request: DebugRequest }
  | { readonly kind: 'look' }
  | { readonly kind: 'translate'; readonly linear: bigint };

/** State of a CPU and its APIC. */
export interface SavedCpu {
  readonly cpu: Plain;
  readonly apic: Plain;
}

/** What can be seen of a CPU that stands still. */
export interface CpuLook {
  readonly location: CodeLocation;
  readonly tsc: bigint;
  readonly retired: bigint | undefined;
  readonly events: readonly CpuEvent[];
  readonly work: readonly string[];
}

/** Why a CPU has stopped by itself. */
export type CpuEnd =
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'debug'; readonly reason: DebugReason }
  /** Its thread cannot go on. */
  | { readonly kind: 'failed'; readonly error: unknown };

export type CpuMessage =
  /** To the last command. */
  | { readonly kind: 'answer'; readonly value?: SavedCpu | CpuLook | { readonly physical: number | undefined } }
  /** The state was not one that a CPU can have. */
  | { readonly kind: 'refused'; readonly message: string }
  /** Something that the machine's owner may want to know. */
  | { readonly kind: 'report'; readonly text: string }
  | CpuEnd;

/** One end of the port between them; both block, so they look for messages themselves. */
export interface MessagePipe<Out, In> {
  post(message: Out): void;
  /** The next message, if one is there. */
  take(): In | undefined;
}
