/** What a server answers when something cannot be done. */
import { VitrineError } from '../base/errors.js';

/** For programs, with the HTTP status of each. */
export const ERROR_STATUS = {
  /** The request is not what its schema says, or cannot be meant. */
  invalid: 400,
  /** Without a token that is known. */
  unauthenticated: 401,
  /** The tenant may not do that, whatever else happens. */
  forbidden: 403,
  'not-found': 404,
  'method-not-allowed': 405,
  /** It is there already, or not in the state for it. */
  conflict: 409,
  /** The machine has ended. */
  gone: 410,
  'too-large': 413,
  'upgrade-required': 426,
  /** The tenant has as much as it may have; later there may be room again. */
  limit: 429,
  internal: 500,
  /** The guest, or the host, did not manage. */
  failed: 502,
  /** The server has too much to do, or too little memory; soon it may do better. */
  busy: 503,
  /** The server ends. */
  stopping: 503,
  /** The guest did not answer in time, or the command took too long. */
  timeout: 504,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

/** Codes of the guest's files besides, as Linux calls them: `ENOENT`. They come with status 404, 409 or 400. */
export class ApiError extends VitrineError {
  override readonly name = 'ApiError';
  constructor(
    readonly code: ErrorCode | (string & {}),
    message: string,
    /** Of the answer; that of the code unless given. */
    readonly status: number = code in ERROR_STATUS ? ERROR_STATUS[code as ErrorCode] : 400,
  ) {
    super(message);
  }
}
