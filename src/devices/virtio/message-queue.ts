/** Queues of a device whose requests are messages with an answer each, carried out as they are taken: virtio-fs and 9P. */
import type { DescriptorChain } from './descriptor-chain.js';
import type { VirtioPort } from './device.js';

/** Answers messages. What it returns is valid until the next one; undefined: there is no answer. */
export interface MessageServer {
  /** `room`: bytes for the answer. */
  handle(message: Uint8Array, room: number): Uint8Array | undefined;
  /** Answers a message of which only the header is there, because the whole is too long. */
  refuse(header: Uint8Array): Uint8Array | undefined;
}

/** Sizes in bytes. */
export interface MessageLimits {
  /** The longest message that is read whole, and the header that is read of a longer one. */
  readonly longest: number;
  readonly header: number;
  /** What the answer to a longer one takes. */
  readonly refusal: number;
}

export class MessageQueue {
  /** Where requests are copied to; grows to the largest. */
  private request = new Uint8Array(4096);

  constructor(
    private readonly server: MessageServer,
    private readonly limits: MessageLimits,
  ) {}

  /** Serves all that is available on a queue. */
  serve(port: VirtioPort | undefined, index: number): void {
    const queue = port?.queue(index);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) queue?.push(chain, this.respond(chain));
    queue?.flush();
  }

  /** Returns the bytes written. A chain without room for an answer gets none. */
  private respond(chain: DescriptorChain): number {
    const answer = this.answer(chain);
    if (!answer) return 0;
    chain.write(0, answer);
    return answer.length;
  }

  private answer(chain: DescriptorChain): Uint8Array | undefined {
    const { readLength, writeLength } = chain;
    const { longest, header, refusal } = this.limits;
    const length = readLength > longest ? header : readLength;
    if (length > this.request.length) this.request = new Uint8Array(Math.max(length, 2 * this.request.length));
    const message = this.request.subarray(0, length);
    if (!chain.read(0, message)) return undefined;
    if (length === readLength) return this.server.handle(message, writeLength);
    return writeLength < refusal ? undefined : this.server.refuse(message);
  }
}
