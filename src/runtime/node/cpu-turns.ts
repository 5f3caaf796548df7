/** What the threads of CPUs need to ask whether they may run. */
import { hostTime } from '../../host/node/clock.js';
import { threadCalls } from '../../host/node/native/thread.js';
import { threadNumber } from '../../host/node/native/thread-number.js';
import { usableProcessors } from '../../host/node/processors.js';
import { CpuTurn } from '../../vmm/sched/cpu-turn.js';
import { SchedulerWords, type Seat } from '../../vmm/sched/words.js';

/** Where a machine's words are; can be posted. */
export interface SeatData {
  readonly buffer: SharedArrayBuffer;
  readonly index: number;
}

export const openSeat = ({ buffer, index }: SeatData): Seat => new SchedulerWords(buffer).seat(index);

/** Loads what turns may need once something is limited: a thread that is made to end while it loads native code ends the process. */
export function loadTurns(): void {
  threadCalls();
}

/** For a machine that takes turns with others on the thread that calls this: the thread's time is not the machine's, nor its place. */
export function createTurnAmongOthers(seat: Seat, report: (text: string) => void): CpuTurn {
  return new CpuTurn(seat, 0, {
    now: hostTime.now,
    threadTime: () => undefined,
    threadNumber: () => 0,
    pin: () => 'it shares its thread with others',
    report,
  });
}

/** For the thread that calls this. */
export function createTurn(seat: Seat, cpu: number, report: (text: string) => void): CpuTurn {
  return new CpuTurn(seat, cpu, {
    now: hostTime.now,
    threadTime: () => threadCalls()?.time(),
    threadNumber,
    pin: (processors) => {
      const calls = threadCalls();
      if (!calls) return 'not available here';
      const error = calls.keepTo(processors ?? usableProcessors());
      return error === 0 ? undefined : `error ${String(error)}`;
    },
    report,
  });
}
