/** What the guest's agent does itself: each a process in the guest, whose exit code is 0 or the number of an error. */
import type { AgentConnection } from './agent/connection.js';
import type { Ending } from './agent/protocol.js';
import type { AgentRequest } from './agent/request.js';
import { join } from './bytes.js';
import { asError } from './errors.js';
import { sendInput, type Input } from './exec.js';

/** What an applet answers: all that it wrote, or the error's number as Linux has it. */
export type AppletAnswer = { readonly bytes: Uint8Array } | { readonly errno: number };

/** Bytes of an answer that is a status, a path, or nothing: more than any of these. */
const SHORT_ANSWER = 65_536;

/** asm-generic/errno-base.h */
const EIO = 5;
const EFBIG = 27;

export interface AppletOptions {
  /** As whom; without it root. */
  readonly user?: string | undefined;
  readonly stdin?: Input;
  /** Bytes of its answer at most, where that is not a short one: what the guest writes beyond makes it fail with EFBIG. */
  readonly maxAnswer?: number;
  /** Takes what it writes as it comes, instead of `bytes`. */
  readonly onData?: (bytes: Uint8Array) => void | Promise<void>;
  readonly signal?: AbortSignal | undefined;
  /** Is given the request as soon as it is there. */
  readonly onRequest?: (request: AgentRequest) => void;
}

/** EIO for what cannot be: an applet that was killed. */
function errnoOf(ending: Ending): number {
  if (ending.kind === 'code') return ending.code;
  return ending.kind === 'failed' ? ending.errno : EIO;
}

/** Runs an applet to its end. Rejected only when the machine is gone, or the signal aborted. */
export function runApplet(
  connection: AgentConnection,
  argv: readonly string[],
  { user, stdin, maxAnswer = SHORT_ANSWER, onData, signal, onRequest }: AppletOptions = {},
): Promise<AppletAnswer> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const parts: Uint8Array[] = [];
    let length = 0;
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
            length += bytes.length;
            request.consume(1, bytes.length);
            if (length <= maxAnswer) return;
            settle();
            request.close(true);
            resolve({ errno: EFBIG });
          }
        },
        ended: (ending) => {
          void taking.then(() => {
            settle();
            if (ending.kind === 'code' && ending.code === 0) resolve({ bytes: join(parts) });
            else resolve({ errno: errnoOf(ending) });
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
