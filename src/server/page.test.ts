/** The demonstration page in Debian's Chromium. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { KERNEL_WORDS } from '../guests/common/kernel-words.js';
import { ChromiumPage } from '../testing/chromium.js';
import { inputKernel } from '../testing/input-kernel.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, requireGuest, requireTool } from '../testing/tools.js';
import { createPageServer } from './page-server.js';

const amd64 = await requireGuest('amd64');
const seabios = await requireGuest('seabios');
const chromium = await requireTool('chromium');

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-page-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ROWS = "document.querySelector('.xterm-rows').innerText.replaceAll('\\u00a0', ' ')";
const NAME = 'machine.snap';
/** Characters of a file that a page hands out at a time. */
const PIECE = 2 ** 24;
/** Keys of what tests type. */
const CODES: Readonly<Record<string, string>> = { ' ': 'Space', '=': 'Equal', $: 'Digit4', '-': 'Minus' };

class DemoPage {
  private constructor(
    private readonly page: ChromiumPage,
    readonly address: string,
  ) {}

  /** `kernel`: a file to be served as one. */
  static async open(words: string, { kernel = amd64.files['vmlinux'], isolated = true } = {}): Promise<DemoPage> {
    const commandLine = `console=ttyS0 quiet ${KERNEL_WORDS}`;
    const { initrd } = amd64.files;
    const server = createPageServer({ guest: 'amd64', kernel, initrd, commandLine, isolated });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/web/?${words}`;
    const page = await ChromiumPage.open(chromium, address);
    onTestFinished(() => page.close());
    return new DemoPage(page, address);
  }

  async until(condition: string): Promise<void> {
    for (const end = Date.now() + 90_000; ;) {
      try {
        await this.page.until(condition);
        return;
      } catch (error) {
        if (Date.now() < end) continue;
        throw new Error(`the page says: ${String(await this.page.evaluate('document.body.innerText'))}`, {
          cause: error,
        });
      }
    }
  }

  /** Waits until a row of the terminal is that. */
  async untilRow(row: string): Promise<void> {
    await this.until(`${ROWS}.split('\\n').some((row) => row.trimEnd() === ${JSON.stringify(row)})`);
  }

  async type(text: string): Promise<void> {
    await this.page.evaluate("document.querySelector('.xterm-helper-textarea').focus()");
    for (const key of text) {
      const code = CODES[key] ?? (/\d/.test(key) ? `Digit${key}` : `Key${key.toUpperCase()}`);
      await (key === '\n' ? this.page.press('Enter', 'Enter') : this.page.press(key, code));
    }
  }

  async click(id: string): Promise<void> {
    await this.page.evaluate(`document.getElementById('${id}').click()`);
  }

  status(): Promise<unknown> {
    return this.page.evaluate("document.getElementById('status').textContent");
  }

  /** The window, for what its user does. */
  get window(): ChromiumPage {
    return this.page;
  }

  evaluate(expression: string): Promise<unknown> {
    return this.page.evaluate(expression);
  }

  /** Goes on with a file that the server gives as the kernel. */
  async restoreServed(): Promise<void> {
    await this.until("/nothing has been saved/.test(document.getElementById('notes').textContent)");
    await this.page.evaluate(`(async () => {
      const root = await navigator.storage.getDirectory();
      const handle = await root.getFileHandle('${NAME}', { create: true });
      await (await fetch('../guest/kernel')).body.pipeTo(await handle.createWritable());
    })()`);
    await this.click('restore');
    await this.until("/^running/.test(document.getElementById('status').textContent)");
  }

  /** What the page has saved. */
  async saved(): Promise<Uint8Array> {
    const script = `(async () => {
      const root = await navigator.storage.getDirectory();
      const file = await (await root.getFileHandle('${NAME}')).getFile();
      const url = await new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(file);
      });
      globalThis.savedText = url.slice(url.indexOf(',') + 1);
      return savedText.length;
    })()`;
    const length = (await this.page.evaluate(script)) as number;
    let text = '';
    while (text.length < length)
      text += (await this.page.evaluate(`savedText.slice(${text.length}, ${text.length + PIECE})`)) as string;
    return new Uint8Array(Buffer.from(text, 'base64'));
  }
}

describeWith([amd64, seabios, chromium], 'the page', () => {
  it('boots Linux on two CPUs, saves it, goes on after a reload; Node goes on with it, too', async () => {
    const page = await DemoPage.open('cpus=2&memory=128');
    await page.untilRow('vitrine:~#');
    expect(await page.status()).toMatch(/^running: 2 CPUs on 2 workers, 128 MiB, wasm/);
    await page.type('clear\nv=kept\nnproc\n');
    await page.untilRow('2');
    await page.click('save');
    await page.until("/^saved/.test(document.getElementById('status').textContent)");
    const file = path.join(folder, 'page.snap');
    writeFileSync(file, await page.saved());

    await page.evaluate(`location.href = ${JSON.stringify(`${page.address}&resume`)}`);
    await page.until("/^running: 2 CPUs/.test(document.getElementById('status').textContent)");
    await page.type('echo $v\n');
    await page.untilRow('kept');

    // The thread of the second CPU ends, as far as anybody can see: it holds its lock no more. The page before may still hold one.
    await page.evaluate(`(async () => {
        for (const { name } of (await navigator.locks.query()).held)
          if (/^vitrine-life/.test(name)) await navigator.locks.request(name, { steal: true }, () => {});
      })()`);
    await page.until("/CPU 1 has failed: its thread has ended/.test(document.getElementById('notes').textContent)");

    const node = new VitrineProcess(['resume', file]);
    node.type('echo $v$v; poweroff\n');
    await node.until(/keptkept/);
    expect((await node.ended).code).toBe(0);
  });

  it('goes on with what Node has saved, on one worker without shared memory', async () => {
    const file = path.join(folder, 'node.snap');
    const node = new VitrineProcess(['run', '--accel', 'interp', '--memory', '128M', '--save-on-exit', file]);
    await node.until(/^vitrine:~# /m);
    node.type('v=kept\n');
    await node.until(/v=kept\r?\n/);
    node.kill('SIGTERM');
    await node.ended;
    expect(readFileSync(file).length).toBeGreaterThan(2 ** 20);

    const page = await DemoPage.open('resume', { kernel: file, isolated: false });
    expect(await page.evaluate('globalThis.crossOriginIsolated')).toBe(false);
    await page.restoreServed();
    expect(await page.status()).toMatch(/^running: 1 CPU on one worker/);
    await page.type('echo $v\n');
    await page.untilRow('kept');
  });

  it('passes on what keys and pointer do, by where they are', async () => {
    const kernel = path.join(folder, 'input-kernel');
    writeFileSync(kernel, inputKernel());
    const page = await DemoPage.open('memory=64&net=none', { kernel });
    const ends = (text: string): Promise<void> => page.until(`${ROWS}.trimEnd().endsWith('${text}')`);
    // The mouse has been told to report.
    await ends('mfa');
    await page.click('display');
    await page.until("document.querySelector('#screen').width === 720");
    const [left, top] = (await page.evaluate(`(() => {
      const canvas = document.querySelector('#screen');
      canvas.scrollIntoView();
      canvas.focus();
      const { left, top } = canvas.getBoundingClientRect();
      return [left, top];
    })()`)) as number[];
    // Of a French keyboard.
    await page.window.press('a', 'KeyQ');
    await ends('k10 k90');
    // A mouse knows but how far: of a screen of 640 x 480, where it is not known, on 720 x 400 pixels.
    await page.window.point('mouseMoved', left + 90, top + 50);
    await ends('m08 m00 m00');
    await page.window.point('mouseMoved', left + 180, top + 100);
    await ends('m28 m50 mc4');
    await page.window.point('mousePressed', left + 180, top + 100);
    await ends('m09 m00 m00');
    await page.window.point('mouseReleased', left + 180, top + 100);
    await ends('m08 m00 m00');
  });

  it("shows a machine's screen", async () => {
    const file = path.join(folder, 'screen.snap');
    const bios = seabios.files['bios-256k.bin'];
    const words = ['--accel', 'wasm', '--memory', '32M', '--net', 'none', '--save-on-exit', file];
    const node = new VitrineProcess(['run', '--bios', bios, ...words]);
    await node.until(/No bootable device/);
    node.kill('SIGTERM');
    await node.ended;

    const page = await DemoPage.open('resume', { kernel: file });
    await page.restoreServed();
    await page.click('display');
    // Text of the BIOS, light grey on black.
    await page.until(`(() => {
      const canvas = document.querySelector('#screen');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let lit = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i] === 170 && data[i + 1] === 170 && data[i + 2] === 170) lit++;
      return canvas.width === 720 && canvas.height === 400 && lit > 500;
    })()`);
  });
});
