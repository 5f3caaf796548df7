/** Signals of Linux on x86 by their numbers (signal(7)). */

const NAMES = [
  ...['', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGKILL', 'SIGUSR1'],
  ...['SIGSEGV', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGTERM', 'SIGSTKFLT', 'SIGCHLD', 'SIGCONT', 'SIGSTOP', 'SIGTSTP'],
  ...['SIGTTIN', 'SIGTTOU', 'SIGURG', 'SIGXCPU', 'SIGXFSZ', 'SIGVTALRM', 'SIGPROF', 'SIGWINCH', 'SIGIO', 'SIGPWR'],
  'SIGSYS',
];

/** The name of a signal; real-time signals are `SIG34` … `SIG64`. */
export const signalName = (number: number): string =>
  number >= 1 && number < NAMES.length ? NAMES[number] : `SIG${number}`;

/** The number of a signal; undefined: there is none of that name. */
export function signalNumber(signal: string | number): number | undefined {
  const number =
    typeof signal === 'number' ? signal : Math.max(NAMES.indexOf(signal), Number(/^SIG(\d+)$/.exec(signal)?.[1] ?? 0));
  return Number.isInteger(number) && number >= 1 && number <= 64 ? number : undefined;
}
