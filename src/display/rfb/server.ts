/**
 * A server of the remote framebuffer protocol, RFC 6143: viewers of one screen. Frames are asked for only while a viewer waits for
 * one, and less often while nothing changes.
 */
import type { InputEvent } from '../../iface/input.js';
import type { FrameNews } from '../frame-news.js';
import type { Password, RfbCrypto } from './handshake.js';
import { Screen } from './screen.js';
import type { Deflater } from './update-writer.js';
import { Viewer, type RfbTransport, type ViewerHost } from './viewer.js';

export interface RfbServerOptions {
  /** The title of the viewers' windows. */
  readonly name: string;
  /** At most eight characters; undefined: everybody may look and type. */
  readonly password: Password;
  readonly crypto: RfbCrypto;
  createDeflater(): Deflater;
  /** Asks for news of the screen, which come through `frame`. */
  requestFrame(): void;
  input(event: InputEvent): void;
  /** Asks the guest to show another size; false: it cannot be asked. */
  resize(width: number, height: number): boolean;
  /** Milliseconds of some clock. */
  now(): number;
  /** Calls back after so many milliseconds. */
  schedule(milliseconds: number, work: () => void): void;
}

/** Viewers at a time. */
const MOST_VIEWERS = 16;
/** Milliseconds between two frames, at least and while nothing changes. */
const INTERVAL = { LEAST: 33, MOST: 200, GROWTH: 1.25 } as const;
/** Wrong passwords in a row, after which nobody is let in for so many milliseconds. */
const MOST_FAILURES = 5;
const LOCKED = 10_000;

export class RfbServer {
  private readonly screen = new Screen();
  private readonly viewers = new Set<Viewer>();
  /** Those that are told that they are not let in. */
  private readonly refused = new Set<Viewer>();
  private underWay = false;
  private scheduled = false;
  private lastRequest = -Infinity;
  private interval: number = INTERVAL.LEAST;
  private failures = 0;
  private lockedUntil = -Infinity;

  constructor(private readonly options: RfbServerOptions) {}

  /** A client has connected. Undefined: there are so many that it is not even told that it is not let in. */
  accept(transport: RfbTransport): Viewer | undefined {
    const { refusal } = this;
    const among = refusal === undefined ? this.viewers : this.refused;
    if (among.size >= MOST_VIEWERS) {
      transport.close();
      return undefined;
    }
    const { options, screen } = this;
    const host: ViewerHost = {
      screen,
      name: options.name,
      password: options.password,
      ...(refusal !== undefined && { refusal }),
      crypto: options.crypto,
      createDeflater: () => options.createDeflater(),
      input: (event) => {
        this.interval = INTERVAL.LEAST;
        options.input(event);
      },
      resize: (width, height) => options.resize(width, height),
      wanted: () => this.wanted(),
      wrongPassword: () => this.wrongPassword(),
      rightPassword: () => (this.failures = 0),
      left: (viewer) => among.delete(viewer),
    };
    const viewer = new Viewer(transport, host);
    among.add(viewer);
    return viewer;
  }

  /** Why nobody is let in now. */
  private get refusal(): string | undefined {
    if (this.viewers.size >= MOST_VIEWERS) return 'too many clients look at this screen';
    return this.options.now() < this.lockedUntil ? 'too many wrong passwords, wait ten seconds' : undefined;
  }

  private wrongPassword(): void {
    if (++this.failures < MOST_FAILURES) return;
    this.failures = 0;
    this.lockedUntil = this.options.now() + LOCKED;
  }

  /** Asks for a frame, now or when it is time. */
  private wanted(): void {
    if (this.underWay || this.scheduled) return;
    const wait = this.lastRequest + this.interval - this.options.now();
    if (wait <= 0) {
      this.request();
      return;
    }
    this.scheduled = true;
    this.options.schedule(Math.ceil(wait), () => {
      this.scheduled = false;
      if (!this.underWay && this.anybodyWaits) this.request();
    });
  }

  private get anybodyWaits(): boolean {
    return [...this.viewers].some((viewer) => viewer.waits);
  }

  private request(): void {
    this.underWay = true;
    this.lastRequest = this.options.now();
    this.options.requestFrame();
  }

  /** The answer to a request. */
  frame(news: FrameNews): void {
    this.underWay = false;
    const pointer = this.screen.take(news);
    const quiet = news.changed.length === 0 && pointer.length === 0;
    this.interval = quiet ? Math.min(INTERVAL.MOST, this.interval * INTERVAL.GROWTH) : INTERVAL.LEAST;
    const viewers = [...this.viewers];
    const copying = viewers.some((viewer) => viewer.copies);
    if (!copying) this.screen.forgetFrame();
    const scroll = copying ? this.screen.scroll(news.changed) : undefined;
    for (const viewer of viewers) viewer.changed(news.changed, pointer, scroll);
    if (this.anybodyWaits) this.wanted();
  }

  /** Ends all connections. */
  close(): void {
    for (const viewer of [...this.viewers, ...this.refused]) viewer.close();
  }
}
