/** What becomes of errors, as answers. */
import { ApiError } from '../api/errors.js';
import { HostError, UsageError, VitrineError } from '../base/errors.js';
import {
  AgentGoneError,
  ExecError,
  ExecTimeoutError,
  GuestFileError,
  OciError,
  ProtocolError,
  VmError,
} from '../sdk/index.js';

const FILE_STATUS: Readonly<Record<string, number>> = {
  ENOENT: 404,
  ENOTDIR: 404,
  EEXIST: 409,
  ENOTEMPTY: 409,
  EACCES: 403,
  EPERM: 403,
};

const OCI_CODE: Readonly<Record<string, string>> = {
  'not-found': 'not-found',
  name: 'invalid',
  'too-large': 'limit',
  'in-use': 'conflict',
};

/** What a client is told. `local`: it may know about this host. Undefined: it is a bug of ours. */
export function apiErrorOf(error: unknown, local: boolean): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (!(error instanceof VitrineError)) return undefined;
  const { message } = error;
  if (error instanceof UsageError) return new ApiError('invalid', message);
  if (error instanceof ExecTimeoutError) return new ApiError('timeout', message);
  if (error instanceof ExecError) return new ApiError(error.code ?? 'failed', message, 400);
  if (error instanceof GuestFileError) return new ApiError(error.code, message, FILE_STATUS[error.code] ?? 400);
  if (error instanceof AgentGoneError) return new ApiError('gone', message);
  // It names the folder of the cache.
  if (error instanceof OciError && error.code === 'storage' && !local)
    return new ApiError('failed', 'the server cannot keep the image');
  if (error instanceof OciError) return new ApiError(OCI_CODE[error.code] ?? 'failed', message);
  if (error instanceof VmError || error instanceof ProtocolError) return new ApiError('failed', message);
  // What this host lacks names its files.
  if (error instanceof HostError && !local) return new ApiError('failed', 'the server could not do that');
  return new ApiError('failed', message);
}

export const errorBody = ({ code, message }: ApiError): string =>
  JSON.stringify({ error: { code, message: message.replace(/[\r\n]+/g, ' ') } });
