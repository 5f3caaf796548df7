/** The thread that fetches from servers, for threads that wait. */
import { parentPort } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import { BODY_AT, HEADERS, TEXT_AT, TEXT_SIZE, WORD, type HttpAnswer, type HttpRequest } from './http-protocol.js';

/** Milliseconds without a sign of the server, and between attempts. */
const LIMIT = 30_000;
const PAUSES = [300, 1500, 4000];

/** Why there was no answer, in a few words. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'AbortError') return 'no answer in time';
  const { cause } = error;
  if (cause instanceof Error) return (cause as NodeJS.ErrnoException).code ?? cause.message;
  return error.message;
}

/** Ends what it is the signal of when nothing has happened for too long. */
class Patience {
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly words: Int32Array) {
    this.progress();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Something has happened. */
  progress(): void {
    Atomics.add(this.words, WORD.BEAT, 1);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(), LIMIT);
  }

  end(): void {
    clearTimeout(this.timer);
  }
}

/** Takes no more of the body than there is room for. */
async function readBody(response: Response, room: Uint8Array, patience: Patience): Promise<number> {
  if (response.body === null) return 0;
  let length = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    if (length + chunk.length > room.length) throw new Error('more than was asked for');
    room.set(chunk, length);
    length += chunk.length;
    patience.progress();
  }
  return length;
}

async function attempt(request: HttpRequest): Promise<{ answer: HttpAnswer; length: number }> {
  const { url, headers, shared } = request;
  const patience = new Patience(new Int32Array(shared, 0, TEXT_AT / 4));
  try {
    const response = await fetch(url, { headers, signal: patience.signal });
    patience.progress();
    const { status } = response;
    const told = HEADERS.map((name) => [name, response.headers.get(name)?.slice(0, 1000)]);
    const answer = { status, headers: Object.fromEntries(told) as Record<string, string> };
    if (status === 206) return { answer, length: await readBody(response, new Uint8Array(shared, BODY_AT), patience) };
    // What is not a part of a file may be long, and nobody reads it.
    await response.body?.cancel();
    return { answer, length: 0 };
  } finally {
    patience.end();
  }
}

async function serve(request: HttpRequest): Promise<{ answer: HttpAnswer; length: number }> {
  for (let tries = 0; ; tries++) {
    const last = tries >= Math.min(PAUSES.length, request.retries);
    try {
      const result = await attempt(request);
      const busy = 'status' in result.answer && (result.answer.status >= 500 || result.answer.status === 429);
      if (!busy || last) return result;
    } catch (error) {
      if (last) return { answer: { error: reason(error) }, length: 0 };
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSES[tries]));
  }
}

assert(parentPort !== null, 'this is the entry of a worker');
parentPort.on('message', (request: HttpRequest) => {
  void serve(request).then(({ answer, length }) => {
    const words = new Int32Array(request.shared, 0, TEXT_AT / 4);
    const text = new TextEncoder().encode(JSON.stringify(answer)).subarray(0, TEXT_SIZE);
    new Uint8Array(request.shared, TEXT_AT).set(text);
    words[WORD.TEXT_LENGTH] = text.length;
    words[WORD.BODY_LENGTH] = length;
    Atomics.store(words, WORD.DONE, 1);
    Atomics.notify(words, WORD.DONE);
  });
});
