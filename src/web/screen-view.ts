/** A machine's screen on a canvas, with its keyboard and its pointer. */
import { POINTER_RANGE } from '../iface/input.js';
import type { BrowserMachine } from '../runtime/browser/machine-handle.js';
import type { Frame } from '../runtime/browser/protocol.js';

/** What a wheel turns by for one step, in the units of WheelEvent.deltaMode (UI Events, W3C): pixels, lines, pages. */
const STEP = [100, 3, 1] as const;
/** Steps at once at most. */
const MOST_STEPS = 10;
/** Milliseconds that a size stands before the guest is told of it. */
const SETTLED = 300;

/** Steps out of turns of a wheel, which may be parts of one. */
class Wheel {
  private turned = 0;

  steps(delta: number, mode: number): number {
    this.turned += delta / (STEP[mode] ?? STEP[0]);
    const steps = Math.trunc(this.turned);
    this.turned -= steps;
    return Math.max(-MOST_STEPS, Math.min(MOST_STEPS, steps));
  }
}

export class ScreenView {
  private machine: BrowserMachine | undefined;
  private asked = false;
  /** The canvas is where somebody can see it; a frame of the browser was asked for. */
  private seen = false;
  private turning = false;
  /** Keys that are down. */
  private readonly pressed = new Set<string>();
  private readonly wheels = [new Wheel(), new Wheel()] as const;
  /** Where the pointer was seen last. */
  private place: { readonly x: number; readonly y: number } | undefined;

  /** `frame`: what the canvas is in; the guest is told of its size where it can be. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    frame: HTMLElement,
  ) {
    this.listenToKeys();
    this.listenToPointer();
    let timer: ReturnType<typeof setTimeout> | undefined;
    new ResizeObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(() => this.prefer(frame.clientWidth, frame.clientHeight), SETTLED);
    }).observe(frame);
    new IntersectionObserver((entries) => {
      this.seen = entries.at(-1)?.isIntersecting ?? false;
      this.turn();
    }).observe(canvas);
  }

  /** Frames of the browser cost something even when nothing is drawn: none are asked for while nobody sees the screen. */
  private turn(): void {
    if (!this.seen || this.turning) return;
    this.turning = true;
    requestAnimationFrame(() => {
      this.turning = false;
      this.ask();
      this.turn();
    });
  }

  private listenToKeys(): void {
    const { canvas } = this;
    for (const down of [true, false])
      canvas.addEventListener(down ? 'keydown' : 'keyup', (event) => {
        event.preventDefault();
        // Where on the keyboard a key is, whatever letter is on it: the guest has a layout of its own.
        if (event.code === '') return;
        if (down) this.pressed.add(event.code);
        else this.pressed.delete(event.code);
        this.machine?.input({ kind: 'key', code: event.code, down });
      });
    // Nothing tells of keys that are let go elsewhere.
    canvas.addEventListener('blur', () => this.releaseAll());
  }

  private releaseAll(): void {
    for (const code of this.pressed) this.machine?.input({ kind: 'key', code, down: false });
    this.pressed.clear();
    if (this.place) this.machine?.input({ kind: 'point', ...this.place, buttons: 0 });
  }

  private listenToPointer(): void {
    const { canvas } = this;
    const point = (event: PointerEvent): void => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      const part = (at: number, size: number): number =>
        Math.round(Math.max(0, Math.min(1, at / Math.max(1, size - 1))) * POINTER_RANGE);
      const place = { x: part(event.clientX - left, width), y: part(event.clientY - top, height) };
      this.place = place;
      // The bits of MouseEvent.buttons (UI Events, W3C) are those of BUTTON.
      this.machine?.input({ kind: 'point', ...place, buttons: event.buttons & 0x1f });
    };
    canvas.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      canvas.focus();
      // What was begun on the screen ends there, wherever the pointer is by then.
      canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    for (const kind of ['pointermove', 'pointerup', 'pointercancel'] as const) canvas.addEventListener(kind, point);
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        const [vertical, horizontal] = [
          this.wheels[0].steps(event.deltaY, event.deltaMode),
          this.wheels[1].steps(event.deltaX, event.deltaMode),
        ];
        if (vertical !== 0 || horizontal !== 0) this.machine?.input({ kind: 'wheel', vertical, horizontal });
      },
      { passive: false },
    );
  }

  private prefer(width: number, height: number): void {
    if (width > 0 && height > 0) this.machine?.preferSize(width, height);
  }

  /** What is shown from now on; all of it comes with the first frame. */
  watch(machine: BrowserMachine | undefined): void {
    this.machine = machine;
    this.asked = false;
    this.pressed.clear();
    this.canvas.style.cursor = 'default';
  }

  /** One question at a time. */
  private ask(): void {
    if (this.asked || !this.machine) return;
    this.asked = true;
    this.machine.requestFrame();
  }

  draw({ width, height, parts, pointer }: Frame): void {
    this.asked = false;
    const { canvas } = this;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d');
    for (const { x, y, width: across, height: down, pixels } of parts)
      context?.putImageData(new ImageData(pixels, across, down), x, y);
    this.drawPointer(pointer);
  }

  /** The guest's pointer is the browser's own, which is nearer to the hand than anything that is drawn. */
  private drawPointer(pointer: Frame['pointer']): void {
    if (pointer === 'same') return;
    const { style } = this.canvas;
    if (typeof pointer === 'string') {
      style.cursor = pointer === 'hidden' ? 'none' : 'default';
      return;
    }
    const picture = document.createElement('canvas');
    Object.assign(picture, { width: pointer.width, height: pointer.height });
    picture.getContext('2d')?.putImageData(new ImageData(pointer.pixels, pointer.width, pointer.height), 0, 0);
    style.cursor = `url(${picture.toDataURL()}) ${pointer.hotX} ${pointer.hotY}, default`;
  }
}
