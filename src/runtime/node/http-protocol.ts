/** What passes between a thread that reads a file on a server, and waits, and the thread that fetches. */

/** 32-bit words of the shared buffer, before the texts and the bytes. BEAT counts as long as something goes on. */
export const WORD = { DONE: 0, TEXT_LENGTH: 1, BODY_LENGTH: 2, BEAT: 3 } as const;
export const TEXT_AT = 64;
export const TEXT_SIZE = 0x1_0000;
export const BODY_AT = TEXT_AT + TEXT_SIZE;

export interface HttpRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How often it is asked again when there is no answer. */
  readonly retries: number;
  /** Where the answer goes. */
  readonly shared: SharedArrayBuffer;
}

/** The headers that are told. */
export const HEADERS = ['content-range', 'etag', 'last-modified'] as const;

/** What came back, as JSON in the text; the body is in the bytes. */
export type HttpAnswer =
  | { readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly error: string };
