/** A machine's first serial port, as a program has it: what the guest's kernel says, and whatever listens there. */
import { bytesOf, checkListener } from './kinds.js';

/** Bytes that are kept for whoever asks later. */
const KEPT = 65_536;

/** Where a port's bytes go. */
interface SerialSink {
  /** False: please wait until `SerialPort.drained`; nothing is lost either way. */
  send(bytes: Uint8Array): boolean;
}

/** The first serial port: `vm.serial`. */
export class SerialPort {
  private readonly listeners = new Set<(bytes: Uint8Array) => void>();
  private readonly streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  private kept: Uint8Array = new Uint8Array(0);
  private over: Error | undefined;
  private readonly waiting: (() => void)[] = [];
  private sink: SerialSink | undefined;

  /**
   * The machine is there.
   * @internal
   */
  connect(sink: SerialSink): void {
    this.sink = sink;
  }

  /**
   * Bytes from the guest.
   * @internal
   */
  receive(bytes: Uint8Array): void {
    const all = new Uint8Array(this.kept.length + bytes.length);
    all.set(this.kept);
    all.set(bytes, this.kept.length);
    this.kept = all.subarray(-KEPT);
    for (const listener of [...this.listeners]) listener(bytes);
  }

  /**
   * There is room for more.
   * @internal
   */
  drained(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /**
   * The machine has ended: what is written from now on is refused.
   * @internal
   */
  close(error: Error): void {
    this.over = error;
    this.drained();
    this.listeners.clear();
    for (const stream of this.streams) stream.close();
    this.streams.clear();
  }

  /** What the guest has written, 64 KiB at most: the last of it. */
  get written(): Uint8Array {
    return this.kept;
  }

  /** The same as text. */
  get text(): string {
    return new TextDecoder().decode(this.kept);
  }

  /** Tells of what the guest writes from now on, until the result is called. */
  onData(listener: (bytes: Uint8Array) => void): () => void {
    checkListener(listener);
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** What the guest writes from now on, until the stream is cancelled or the machine ends. */
  readable(): ReadableStream<Uint8Array> {
    const ending: { stop?: () => void } = {};
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        if (this.over) {
          controller.close();
          return;
        }
        const off = this.onData((bytes) => controller.enqueue(bytes));
        this.streams.add(controller);
        ending.stop = () => {
          off();
          this.streams.delete(controller);
        };
      },
      cancel: () => ending.stop?.(),
    });
  }

  /** Types into the port; resolves when there is room for more. Rejected when the machine has ended. */
  async write(input: Uint8Array | string): Promise<void> {
    if (this.over) throw this.over;
    if (this.sink?.send(bytesOf(input, 'what is typed')) === false)
      await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}
