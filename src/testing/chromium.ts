/**
 * Debian's Chromium without a window, driven by its DevTools protocol (version 1.3): enough to open a page, to run scripts in it
 * and to type as its user would.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';

/** Chromium's program and environment, as `requireTool('chromium')` finds them. */
export interface ChromiumProgram {
  /** Its start script, /usr/bin/chromium or an unpacked one. */
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

interface Answer {
  readonly id?: number;
  readonly error?: { readonly message: string };
  readonly result?: {
    readonly targetId?: string;
    readonly sessionId?: string;
    readonly root?: { readonly nodeId: number };
    readonly nodeId?: number;
    readonly result?: { readonly value?: unknown };
    readonly exceptionDetails?: { readonly text: string };
  };
}

/** Of keys that make no letter; pages that were written for older browsers look at nothing else. */
const KEY_CODES: Readonly<Record<string, number>> = { Backspace: 8, Tab: 9, Enter: 13, Escape: 27 };

const ATTEMPTS = 300;
const PAUSE = 100;

/** A page of a browser that is started for it. */
export class ChromiumPage {
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private next = 1;
  private session: string | undefined;

  private constructor(
    private readonly socket: WebSocket,
    private readonly end: () => void,
  ) {
    socket.on('message', (data: Buffer) => {
      const answer = JSON.parse(data.toString()) as Answer;
      this.waiting.get(answer.id ?? 0)?.(answer);
    });
  }

  /** Starts a browser and opens a page. */
  static async open(chromium: ChromiumProgram, url: string): Promise<ChromiumPage> {
    const profile = mkdtempSync(path.join(tmpdir(), 'vitrine-chromium-'));
    // The script looks for the program in the machine's own folders only.
    const program = path.join(path.dirname(chromium.path), '../lib/chromium/chromium');
    const options = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage'];
    const child = spawn(
      program,
      [...options, `--user-data-dir=${profile}`, '--remote-debugging-port=0', '--window-size=1000,760', 'about:blank'],
      { env: { ...process.env, ...chromium.env, HOME: profile }, stdio: 'ignore', detached: true },
    );
    let gone = false;
    child.on('exit', () => (gone = true));
    child.on('error', () => (gone = true));
    const end = (): void => {
      // Its helpers are in its group.
      if (child.pid !== undefined && !gone) process.kill(-child.pid, 'SIGKILL');
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    };
    try {
      for (let i = 0; i < ATTEMPTS && !gone; i++) {
        const [port, place] = readPort(path.join(profile, 'DevToolsActivePort'));
        if (place !== undefined) {
          const socket = new WebSocket(`ws://127.0.0.1:${port}${place}`);
          await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
          const page = new ChromiumPage(socket, end);
          await page.attach(url);
          return page;
        }
        await pause(PAUSE);
      }
      throw new Error(`${program} does not start`);
    } catch (error) {
      end();
      throw error;
    }
  }

  private async call(
    method: string,
    params: Readonly<Record<string, unknown>>,
  ): Promise<NonNullable<Answer['result']>> {
    const id = this.next++;
    const { session } = this;
    const answer = await new Promise<Answer>((resolve) => {
      this.waiting.set(id, resolve);
      this.socket.send(JSON.stringify({ id, method, params, ...(session !== undefined && { sessionId: session }) }));
    });
    this.waiting.delete(id);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result ?? {};
  }

  private async attach(url: string): Promise<void> {
    const { targetId } = await this.call('Target.createTarget', { url });
    this.session = (await this.call('Target.attachToTarget', { targetId, flatten: true })).sessionId;
  }

  /** The value of an expression in the page; promises are waited for. */
  async evaluate(expression: string): Promise<unknown> {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', options);
    if (exceptionDetails) throw new Error(`in the page: ${exceptionDetails.text}`);
    return result?.value;
  }

  /** Waits until an expression is true. It may throw until then: the page is still being made. */
  async until(expression: string): Promise<void> {
    for (let i = 0; i < ATTEMPTS; i++) {
      const script = `(() => { try { return ${expression}; } catch { return false; } })()`;
      // Nor is there a place for scripts while a page gives way to the next.
      if ((await this.evaluate(script).catch(() => false)) === true) return;
      await pause(PAUSE);
    }
    throw new Error(`never true in the page: ${expression}`);
  }

  /** Presses and releases a key by its KeyboardEvent `key` and `code`. */
  async press(key: string, code: string): Promise<void> {
    // Without it Enter submits no form.
    const text = key === 'Enter' ? '\r' : key;
    const modifiers = key.length === 1 && key !== key.toLowerCase() ? 8 : 0;
    for (const type of ['keyDown', 'keyUp'])
      await this.call('Input.dispatchKeyEvent', {
        type,
        key,
        code,
        modifiers,
        ...(text.length === 1 && { text }),
        ...(key in KEY_CODES && { windowsVirtualKeyCode: KEY_CODES[key] }),
      });
  }

  /** Types a text as a whole, as an input method does. */
  async insert(text: string): Promise<void> {
    await this.call('Input.insertText', { text });
  }

  /** Presses the left button somewhere in the window, in CSS pixels, and releases it. */
  async click(x: number, y: number): Promise<void> {
    for (const type of ['mousePressed', 'mouseReleased'])
      await this.call('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }

  /** Moves the pointer in the window, in CSS pixels, or presses or releases its left button there. */
  async point(type: 'mouseMoved' | 'mousePressed' | 'mouseReleased', x: number, y: number): Promise<void> {
    const pressed = type === 'mousePressed';
    const button = type === 'mouseMoved' ? 'none' : 'left';
    await this.call('Input.dispatchMouseEvent', { type, x, y, button, buttons: pressed ? 1 : 0, clickCount: 1 });
  }

  /** Downloads go to a folder, without a question. */
  async keepDownloads(folder: string): Promise<void> {
    await this.call('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: folder });
  }

  /** Gives a file of this machine's to an `<input type=file>`. */
  async chooseFile(selector: string, file: string): Promise<void> {
    const { root } = await this.call('DOM.getDocument', {});
    const { nodeId } = await this.call('DOM.querySelector', { nodeId: root?.nodeId ?? 0, selector });
    await this.call('DOM.setFileInputFiles', { nodeId: nodeId ?? 0, files: [file] });
  }

  /** Drops a file of this machine's somewhere in the window, in CSS pixels. */
  async drop(x: number, y: number, file: string): Promise<void> {
    const data = { items: [], files: [file], dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'drop'])
      await this.call('Input.dispatchDragEvent', { type, x, y, data });
  }

  close(): void {
    this.socket.terminate();
    this.end();
  }
}

/** Port and path of the browser's WebSocket, once it has written them. */
function readPort(file: string): readonly (string | undefined)[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}
