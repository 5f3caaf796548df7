/** What the guest's agent does itself: each a process in the guest, whose exit code is 0 or the number of an error. */
import type { AgentConnection } from './agent/connection.js';
import type { AgentRequest } from './agent/request.js';
import { asError } from './errors.js';
import { sendInput, type Input } from './exec.js';

/** What an applet answers: all that it wrote, or the error's number as Linux has it. */
export type AppletAnswer = { readonly bytes: Uint8Array } | { readonly errno: number };

export interface AppletOptions {
  /** As whom; without it root. */
  readonly user?: string | undefined;
  readonly stdin?: Input;
  /** Takes what it writes as it comes, instead of `bytes`. */
  readonly onData?: (bytes: Uint8Array) => void | Promise<void>;
  readonly signal?: AbortSignal | undefined;
  /** Is given the request as soon as it is there. */
  readonly onRequest?: (request: AgentRequest) => void;
}

/** Runs an applet to its end. Rejected only when the machine is gone, or the signal aborted. */
export function runApplet(
  connection: AgentConnection,
  argv: readonly string[],
  { user, stdin, onData, signal, onRequest }: AppletOptions = {},
): Promise<AppletAnswer> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const parts: Uint8Array[] = [];
    let taking: Promise<unknown> = Promise.resolve();
    const abort = (): void => stop(signal?.reason);
    const settle = (): void => signal?.removeEventListener('abort', abort);
    const stop = (error: unknown): void => {
      settle();
      request.close(true);
      reject(asError(error));
    };
    const request = connection.request(
      { applet: true, argv, user, stdin: stdin !== undefined || onRequest !== undefined },
      {
        data: (channel, bytes) => {
          if (channel === 2) return;
          if (onData)
            taking = taking
              .then(() => onData(bytes))
              .then(() => request.consume(1, bytes.length))
              .catch(stop);
          else {
            parts.push(bytes);
            request.consume(1, bytes.length);
          }
        },
        ended: (ending) => {
          void taking.then(() => {
            settle();
            if (ending.kind === 'code' && ending.code === 0) resolve({ bytes: join(parts) });
            // EIO for what cannot be: an applet that was killed.
            else resolve({ errno: ending.kind === 'code' ? ending.code : ending.kind === 'failed' ? ending.errno : 5 });
          });
        },
        failed: (error) => {
          settle();
          reject(error);
        },
      },
    );
    signal?.addEventListener('abort', abort);
    onRequest?.(request);
    if (stdin !== undefined) sendInput(request, stdin).catch(stop);
  });
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
