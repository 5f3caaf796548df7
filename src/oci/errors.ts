import { VitrineError } from '../base/errors.js';

/**
 * What went wrong with an image:
 * `name` – what was asked for is no name of an image;
 * `not-found` – there is no such image, or not for this platform;
 * `unauthorized` – the registry wants a login, or refuses the one it was given;
 * `network` – the registry cannot be reached, or does not answer as registries do;
 * `damaged` – what came is not what its digest or size says, or is not an image;
 * `unsupported` – an image of a kind that is not known here;
 * `too-large` – more than the limits allow;
 * `in-use` – something needs it;
 * `storage` – the cache cannot be read or written.
 */
export type ImageErrorCode =
  | 'name'
  | 'not-found'
  | 'unauthorized'
  | 'network'
  | 'damaged'
  | 'unsupported'
  | 'too-large'
  | 'in-use'
  | 'storage';

/** Messages quote what registries and archives say: none of it may reach a terminal as anything but text. */
const oneLine = (message: string): string =>
  message.replace(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** An image cannot be had. The message is one line that says what to do where that is known. */
export class OciError extends VitrineError {
  override readonly name = 'OciError';

  constructor(
    readonly code: ImageErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(oneLine(message), options);
  }
}
