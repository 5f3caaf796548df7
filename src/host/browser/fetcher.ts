/** Asks servers for what a guest has asked for, as the page may. */
import { HostError } from '../../base/errors.js';

export interface FetchedResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: Iterable<readonly [string, string]>;
  readonly body: AsyncIterable<Uint8Array> | undefined;
}

export interface FetchRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: [string, string][];
  readonly body: Uint8Array;
  /** Whether it may lead elsewhere. */
  readonly redirects: boolean;
}

async function* pieces(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Without the page's cookies: they are its user's, not its guest's. Rejected with a one-line error, for the guest to read. */
export async function fetchForGuest(request: FetchRequest, signal: AbortSignal): Promise<FetchedResponse> {
  const { method, url, headers, body, redirects } = request;
  const asks = method === 'GET' || method === 'HEAD';
  const ask = (address: URL): Promise<Response> =>
    fetch(address, {
      method,
      headers,
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      redirect: redirects ? 'follow' : 'error',
      signal,
      ...(body.length > 0 && !asks && { body: body as Uint8Array<ArrayBuffer> }),
    });
  const secure = new URL(url);
  secure.protocol = 'https:';
  const isOwn = url.host === location.host;
  // A page that came by https may ask for nothing else.
  const only = !isOwn && location.protocol === 'https:' ? secure : url;
  let response: Response;
  try {
    // What is asked for twice must do nothing.
    response = await ask(only).catch((error: unknown) => {
      if (only === secure || isOwn || !asks || signal.aborted || url.port !== '') throw error;
      return ask(secure);
    });
  } catch (cause) {
    throw new HostError(
      `the page cannot fetch ${only.href}: no answer, or the server does not let other pages read it (CORS)`,
      { cause },
    );
  }
  return {
    status: response.status,
    reason: response.statusText,
    headers: [...response.headers],
    body: response.body ? pieces(response.body) : undefined,
  };
}
