/** Debian's noVNC in Chromium: its own page, which connects to a machine's `--vnc …,websocket`. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { ChromiumPage, type ChromiumProgram } from './chromium.js';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
};
/** noVNC draws here. */
const CANVAS = "document.querySelector('#noVNC_container canvas')";

const CODES: Readonly<Record<string, string>> = { ' ': 'Space', '/': 'Slash', '-': 'Minus', '.': 'Period' };
const KEYS: Readonly<Record<string, [key: string, code: string]>> = { '\n': ['Enter', 'Enter'] };

export class NoVnc {
  private constructor(
    private readonly page: ChromiumPage,
    private readonly stop: () => void,
  ) {}

  /**
   * Opens noVNC's page (`folder`: where its vnc.html is) for a WebSocket port of this host, and waits until it is connected.
   * `words` are further parameters of the page, such as `&resize=remote`.
   */
  static async open(chromium: ChromiumProgram, folder: string, port: number, words = ''): Promise<NoVnc> {
    const server = createServer((request, response) => {
      try {
        const name = new URL(request.url ?? '/', 'http://localhost').pathname;
        const content = readFileSync(path.join(folder, path.normalize(name)));
        response.setHeader('Content-Type', TYPES[path.extname(name)] ?? 'application/octet-stream').end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const here = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const stop = (): void => {
      server.closeAllConnections();
      server.close();
    };
    try {
      const url = `${here}/vnc.html?autoconnect=true&reconnect=false&host=127.0.0.1&port=${port}&path=websockify${words}`;
      const page = await ChromiumPage.open(chromium, url);
      const novnc = new NoVnc(page, stop);
      try {
        await page.until("document.documentElement.classList.contains('noVNC_connected')");
      } catch (error) {
        novnc.close();
        throw error;
      }
      return novnc;
    } catch (error) {
      stop();
      throw error;
    }
  }

  /** The picture as the page shows it: red, green and blue by rows. */
  async picture(): Promise<{ readonly width: number; readonly height: number; readonly rgb: Uint8Array }> {
    const script = `(() => {
      const canvas = ${CANVAS};
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let text = '';
      for (let i = 0; i < data.length; i += 4) text += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
      return [canvas.width, canvas.height, btoa(text)];
    })()`;
    const [width, height, text] = (await this.page.evaluate(script)) as [number, number, string];
    return { width, height, rgb: new Uint8Array(Buffer.from(text, 'base64')) };
  }

  /** Types lower-case letters, digits, line ends and a few signs as a user of the page does. */
  async type(text: string): Promise<void> {
    for (const char of text) {
      const code = CODES[char] ?? (/\d/.test(char) ? `Digit${char}` : `Key${char.toUpperCase()}`);
      await this.page.press(...(KEYS[char] ?? [char, code]));
    }
  }

  async press(key: string, code: string): Promise<void> {
    await this.page.press(key, code);
  }

  /** Presses and releases the left button where the picture is, by parts of its width and height. */
  async click(x: number, y: number): Promise<void> {
    const script = `(() => {
      const { left, top, width, height } = ${CANVAS}.getBoundingClientRect();
      return [left + width * ${x}, top + height * ${y}];
    })()`;
    const [atX, atY] = (await this.page.evaluate(script)) as [number, number];
    await this.page.click(atX, atY);
  }

  /** What the page wishes the screen's size to be under \`resize=remote\`. */
  async windowSize(): Promise<{ readonly width: number; readonly height: number }> {
    const script =
      "(() => { const { width, height } = document.querySelector('#noVNC_container > div').getBoundingClientRect(); return [width, height].map(Math.floor); })()";
    const [width, height] = (await this.page.evaluate(script)) as [number, number];
    return { width, height };
  }

  /** Waits until the canvas has a size. */
  async untilSize(width: number, height: number): Promise<void> {
    await this.page.until(`${CANVAS}?.width === ${width} && ${CANVAS}.height === ${height}`);
  }

  close(): void {
    this.page.close();
    this.stop();
  }
}
