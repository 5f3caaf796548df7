/** A machine's screen on a canvas, with its keyboard. */
import type { BrowserMachine } from '../runtime/browser/machine-handle.js';
import type { Frame } from '../runtime/browser/protocol.js';

export class ScreenView {
  private machine: BrowserMachine | undefined;
  private asked = false;

  constructor(private readonly canvas: HTMLCanvasElement) {
    for (const down of [true, false])
      canvas.addEventListener(down ? 'keydown' : 'keyup', (event) => {
        event.preventDefault();
        this.machine?.input({ kind: 'key', code: event.code, down });
      });
    const turn = (): void => {
      this.ask();
      requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
  }

  /** What is shown from now on; all of it comes with the first frame. */
  watch(machine: BrowserMachine | undefined): void {
    this.machine = machine;
    this.asked = false;
  }

  /** One question at a time, and none for a screen that nobody sees. */
  private ask(): void {
    if (this.asked || this.canvas.hidden || !this.machine) return;
    this.asked = true;
    this.machine.requestFrame();
  }

  draw({ width, height, parts }: Frame): void {
    this.asked = false;
    const { canvas } = this;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d');
    for (const { x, y, width: across, height: down, pixels } of parts)
      context?.putImageData(new ImageData(pixels, across, down), x, y);
  }
}
