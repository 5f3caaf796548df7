/** What a terminal of the console may be connected to. */
import type { ApiClient } from '../../api/client.js';
import type { TerminalSize } from '../../api/schemas.js';
import { messageOf } from './notices.js';

/** The far end of a terminal. */
export interface Link {
  write(bytes: Uint8Array): void;
  /** Where the far end wants to know. */
  resize?(size: TerminalSize): void;
  close(): void;
}

export interface LinkListener {
  /** Resolves when it is shown. */
  readonly output: (bytes: Uint8Array) => Promise<void>;
  /** In one line. */
  readonly ended: (text: string) => void;
}

export type Connect = (size: TerminalSize, listener: LinkListener) => Link;

/** A shell in the guest, on a terminal of its own. */
export const shellOf =
  (client: ApiClient, machine: string): Connect =>
  (tty, { output, ended }) => {
    const start = { command: ['/bin/sh', '-i'], tty, env: { TERM: 'xterm-256color' } };
    const session = client.execStream(machine, start, { stdout: output, stderr: output });
    session.exited.then(
      ({ exitCode, signal }) =>
        ended(signal === undefined ? `the shell has ended: ${exitCode}` : `the shell was ended by ${signal}`),
      (error: unknown) => ended(messageOf(error)),
    );
    return {
      write: (bytes) => void session.write(bytes),
      resize: (size) => session.resize(size),
      close: () => session.close(),
    };
  };

/** The first serial port: what it wrote before comes first. */
export const serialOf =
  (client: ApiClient, machine: string): Connect =>
  (_size, { output, ended }) => {
    const socket = client.serial(machine, {
      open: () => {},
      text: () => {},
      binary: output,
      closed: (error) => ended(error ? messageOf(error) : 'the machine has ended'),
    });
    return { write: (bytes) => void socket.send(bytes), close: () => socket.close() };
  };
