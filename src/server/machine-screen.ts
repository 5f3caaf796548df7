/** A machine's screen for viewers that come by WebSockets: a server of RFB (RFC 6143) without a socket of its own. */
import type { FrameNews } from '../display/frame-news.js';
import { RfbServer } from '../display/rfb/server.js';
import { rfbCrypto } from '../host/node/rfb-crypto.js';
import { ZlibStream } from '../host/node/zlib-stream.js';
import type { MachineHandle } from '../sdk/index.js';

/** What a viewer's connection does with what comes. */
export interface ScreenViewer {
  receive(bytes: Uint8Array): void;
  drained(): void;
  close(): void;
}

export class MachineScreen {
  private readonly server: RfbServer;

  /** `name` is the title of viewers' windows; `handle` gives the machine once there is one. */
  constructor(name: string, handle: () => MachineHandle | undefined) {
    this.server = new RfbServer({
      name,
      // Whoever gets here has shown a token.
      password: undefined,
      crypto: rfbCrypto,
      createDeflater: () => new ZlibStream(),
      requestFrame: () => handle()?.requestFrame(),
      input: (event) => handle()?.input(event),
      resize: (width, height) => handle()?.preferSize(width, height) ?? false,
      now: () => performance.now(),
      schedule: (milliseconds, work) => {
        setTimeout(work, milliseconds).unref();
      },
    });
  }

  /** What has changed on the screen. */
  frame(news: FrameNews): void {
    this.server.frame(news);
  }

  /** `write` says false when there shall be no more until `drained`. Undefined: there are too many viewers. */
  accept(write: (bytes: Uint8Array) => boolean, close: () => void): ScreenViewer | undefined {
    const viewer = this.server.accept({ write, close });
    return (
      viewer && {
        receive: (bytes) => viewer.receive(bytes),
        drained: () => viewer.drained(),
        close: () => viewer.close(),
      }
    );
  }

  close(): void {
    this.server.close();
  }
}
