/** A machine's screen on a canvas, with its keyboard and pointer: a client of RFB over the API's WebSocket. */
import { RfbWatcher } from '../../display/rfb/watcher.js';
import { ZlibInflater } from '../../host/browser/inflater.js';
import type { ApiClient } from '../../api/client.js';
import { button, el } from './dom.js';
import { messageOf } from './notices.js';
import { isWayOut, type View } from './view.js';

/** Buttons of RFB's pointer events (RFC 6143 §7.5.5) by those of `PointerEvent.buttons`: left, right, middle. */
const BUTTONS = [
  [1, 1],
  [2, 4],
  [4, 2],
] as const;
const WHEEL = { UP: 8, DOWN: 16, LEFT: 32, RIGHT: 64 } as const;
/** Pixels of turning that are one step of a wheel. */
const WHEEL_STEP = 50;

export class DisplayView implements View {
  readonly element: HTMLElement;
  private readonly canvas = el('canvas', {
    width: 640,
    height: 400,
    tabIndex: 0,
    attrs: { role: 'application', 'aria-label': 'Screen of the machine' },
  });
  private readonly context = this.canvas.getContext('2d', { alpha: false });
  private readonly state = el('span', { className: 'note', attrs: { role: 'status' } });
  private readonly again: HTMLButtonElement;
  private watcher: RfbWatcher | undefined;
  private disconnect: () => void = () => {};
  private buttons = 0;
  private turned = { x: 0, y: 0 };

  constructor(
    private readonly client: ApiClient,
    private readonly machine: string,
    /** Why it cannot be connected at this moment; undefined: it can. */
    private readonly blocked: () => string | undefined,
    private readonly leave: () => void,
    failed: (error: unknown) => void,
  ) {
    this.again = button('Connect again', () => this.connect(), failed);
    this.again.hidden = true;
    const picture = button('Picture', () => this.save(), failed);
    this.element = el(
      'div',
      { className: 'display-view' },
      el('div', { className: 'screen' }, this.canvas),
      el(
        'div',
        { className: 'bar' },
        picture,
        this.again,
        this.state,
        el('span', { className: 'note' }, 'Ctrl+F6 leads out'),
      ),
    );
    this.listen();
  }

  show(): void {
    if (!this.watcher) this.connect();
  }

  hide(): void {
    this.disconnect();
  }

  close(): void {
    this.disconnect();
  }

  private connect(): void {
    this.disconnect();
    this.again.hidden = true;
    const blocked = this.blocked();
    this.state.textContent = blocked ?? 'connecting';
    if (blocked !== undefined) return;
    const ended = (text: string): void => {
      if (this.watcher !== watcher) return;
      this.watcher = undefined;
      this.state.textContent = text;
      this.again.hidden = false;
    };
    const socket = this.client.display(this.machine, {
      open: () => {},
      text: () => {},
      binary: (bytes) => watcher.receive(bytes),
      closed: (error) => ended(error ? messageOf(error) : 'the machine has ended'),
    });
    const watcher = new RfbWatcher({
      write: (bytes) => void socket.send(bytes),
      inflater: new ZlibInflater(),
      resized: (width, height) => {
        Object.assign(this.canvas, { width, height });
        this.state.textContent = `${width} × ${height}`;
      },
      picture: ({ x, y, width, height }, pixels) =>
        this.context?.putImageData(new ImageData(pixels, width, height), x, y),
      copied: ({ x, y, width, height }, fromX, fromY) =>
        this.context?.drawImage(this.canvas, fromX, fromY, width, height, x, y, width, height),
      // One question for each picture that is shown.
      painted: () => requestAnimationFrame(() => watcher.request()),
      failed: (reason) => {
        ended(reason);
        socket.close();
      },
    });
    this.watcher = watcher;
    this.disconnect = () => {
      if (this.watcher === watcher) this.watcher = undefined;
      socket.close();
    };
  }

  /** A PNG of the screen, as a file. */
  private async save(): Promise<void> {
    const png = (await this.client.screenshot(this.machine)) as Uint8Array<ArrayBuffer>;
    const href = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
    el('a', { href, download: `${this.machine}.png` }).click();
    URL.revokeObjectURL(href);
  }

  private listen(): void {
    const { canvas } = this;
    for (const down of [true, false])
      canvas.addEventListener(down ? 'keydown' : 'keyup', (event) => {
        event.preventDefault();
        if (isWayOut(event)) {
          if (down) this.leave();
        } else this.watcher?.key(event.code, down);
      });
    canvas.addEventListener('blur', () => this.watcher?.releaseKeys());
    for (const kind of ['pointerdown', 'pointerup', 'pointermove'] as const)
      canvas.addEventListener(kind, (event) => {
        if (kind === 'pointerdown') {
          canvas.focus();
          canvas.setPointerCapture(event.pointerId);
        }
        event.preventDefault();
        this.buttons = BUTTONS.reduce((mask, [from, to]) => mask | (event.buttons & from ? to : 0), 0);
        this.point(event, this.buttons);
      });
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('wheel', (event) => this.turn(event), { passive: false });
  }

  /** Where in the machine's screen that is, whatever size it has in the page. */
  private point({ clientX, clientY }: MouseEvent, mask: number): void {
    const { canvas } = this;
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const place = (at: number, size: number, pixels: number): number =>
      Math.min(pixels - 1, Math.max(0, Math.floor((at * pixels) / size)));
    this.watcher?.pointer(
      mask,
      place(clientX - left, width, canvas.width),
      place(clientY - top, height, canvas.height),
    );
  }

  private turn(event: WheelEvent): void {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : WHEEL_STEP;
    this.turned.x += event.deltaX * unit;
    this.turned.y += event.deltaY * unit;
    for (const [axis, less, more] of [
      ['y', WHEEL.UP, WHEEL.DOWN],
      ['x', WHEEL.LEFT, WHEEL.RIGHT],
    ] as const)
      while (Math.abs(this.turned[axis]) >= WHEEL_STEP) {
        const step = Math.sign(this.turned[axis]);
        this.turned[axis] -= step * WHEEL_STEP;
        this.point(event, this.buttons | (step < 0 ? less : more));
        this.point(event, this.buttons);
      }
  }
}
