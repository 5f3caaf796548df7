/** Wakes a machine's thread: it sleeps on a word, or waits for interrupts with its CPU in the kernel. */
import { wakeThread } from '../../vmm/sched/words.js';
import { SHARED } from './protocol.js';

/** Loaded when it is needed: not every host has what it stands on. */
let signal: ((thread: number) => void) | undefined;
let isLoading = false;

/** Loads what sends signals. For threads that are going to be ended by others: that must not happen meanwhile. */
export async function loadSignals(): Promise<void> {
  isLoading = true;
  const { KICK_SIGNAL, signalThread } = await import('../../accel/kvm/libc.js');
  signal = (thread) => {
    signalThread(thread, KICK_SIGNAL);
  };
}

/** `words`: of SHARED. */
export function wakeMachine(words: Int32Array): void {
  wakeThread(words);
  const thread = Atomics.load(words, SHARED.THREAD);
  if (thread === 0) return;
  if (signal) signal(thread);
  // Meanwhile the machine looks by itself, now and then.
  else if (!isLoading) void loadSignals().then(() => wakeMachine(words));
}
