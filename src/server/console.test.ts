/** The web console of `vitrine serve` in Debian's Chromium. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { ChromiumPage } from '../testing/chromium.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, requireGuest, requireTool } from '../testing/tools.js';
import { addToken } from './tenant-config.js';

const amd64 = await requireGuest('amd64');
const chromium = await requireTool('chromium');

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-console-'));
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

const ROWS = "document.querySelector('.panel:not([hidden]) .xterm-rows').innerText.replaceAll('\\u00a0', ' ')";
const HEADING = "document.querySelector('h2').textContent";
const STATE = "document.querySelector('.title .state').textContent";
/** Most of the screen that is shown has this colour. */
const lit = (red: number, green: number, blue: number): string => `(() => {
  const canvas = document.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let lit = 0;
  for (let i = 0; i < data.length; i += 4)
    if (data[i] === ${red} && data[i + 1] === ${green} && data[i + 2] === ${blue}) lit++;
  return canvas.width === 720 && canvas.height === 400 && lit > 720 * 300;
})()`;
/** Milliseconds that a machine may take to start on a busy host. */
const START = 90_000;

class ConsolePage {
  private constructor(
    private readonly page: ChromiumPage,
    readonly address: string,
    readonly token: string,
  ) {}

  /** A server of its own, and the page that it serves. */
  static async open(): Promise<ConsolePage> {
    const config = path.join(folder, 'serve.json');
    const token = addToken(config, 'alice');
    const words = ['--port', '0', '--config', config, '--state', path.join(folder, 'state')];
    const server = new VitrineProcess(['serve', ...words]);
    await server.until(/^http.*\n/m);
    const address = server.output.trim();
    const page = await ChromiumPage.open(chromium, address);
    onTestFinished(() => page.close());
    const console = new ConsolePage(page, address, token);
    // What the policy forbids, or comes from elsewhere, is nothing that the console needs.
    await console.until('document.forms.length === 1');
    await page.evaluate(
      "globalThis.forbidden = []; addEventListener('securitypolicyviolation', (event) => forbidden.push(event.violatedDirective))",
    );
    return console;
  }

  async until(condition: string): Promise<void> {
    for (const end = Date.now() + START; ;) {
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

  evaluate(expression: string): Promise<unknown> {
    return this.page.evaluate(expression);
  }

  /** Clicks with the pointer on what a text stands on, in a dialog if there is one. */
  async click(text: string): Promise<void> {
    const find = `[...(document.querySelector('dialog') ?? document).querySelectorAll('a, button')].find((one) =>
      one.textContent === ${JSON.stringify(text)} && !one.disabled && one.checkVisibility())`;
    await this.until(`${find} !== undefined`);
    const [x, y] = (await this.page.evaluate(`(() => {
      const target = ${find};
      target.scrollIntoView({ block: 'nearest' });
      const { left, top, width, height } = target.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    })()`)) as [number, number];
    await this.page.click(x, y);
  }

  /** Types into a field of a form, by its name. */
  async fill(name: string, text: string): Promise<void> {
    await this.page.evaluate(`document.querySelector('[name=${name}]').select()`);
    await this.page.insert(text);
  }

  async logIn(token: string): Promise<void> {
    await this.fill('token', token);
    await this.page.press('Enter', 'Enter');
  }

  /** Types a line into the terminal that is shown, or whatever has the focus. */
  async type(line: string): Promise<void> {
    await this.page.insert(line);
    await this.page.press('Enter', 'Enter');
  }

  press(key: string, code: string): Promise<void> {
    return this.page.press(key, code);
  }
}

describeWith([amd64, chromium], 'the console', () => {
  it('makes, uses, forks, saves and deletes machines by clicks and keys', { timeout: 300_000 }, async () => {
    const page = await ConsolePage.open();

    // Without a good token there is a form, and nothing else.
    await page.logIn('vitrine_wrong');
    await page.until("/does not know this token/.test(document.querySelector('[role=alert]').textContent)");
    expect(await page.evaluate("document.querySelectorAll('a, h2, table').length")).toBe(0);
    expect(await page.evaluate('sessionStorage.length')).toBe(0);

    await page.logIn(page.token);
    await page.until(`${HEADING} === 'Machines'`);
    await page.click('Make one');
    await page.until(`${HEADING} === 'New machine'`);
    await page.fill('name', 'one');
    await page.fill('memory', '96');
    await page.evaluate("document.querySelector('[name=display]').value = 'std'");
    await page.evaluate("document.querySelector('[name=warm]').click()");
    await page.click('Create');
    await page.until(`${HEADING} === 'one' && ${STATE} === 'running'`);

    // A terminal, which has the size of its place.
    await page.click('Terminal');
    await page.until(`/# *$/m.test(${ROWS})`);
    await page.type('kept=42; echo $((kept * 100)); stty size');
    await page.until(`/^4200\\s*$/m.test(${ROWS}) && /^\\d+ \\d+\\s*$/m.test(${ROWS})`);
    const sizes = /^(\d+) (\d+)\s*$/m.exec(String(await page.evaluate(ROWS))) ?? [];
    expect(Number(sizes[2])).toBeGreaterThan(80);

    // The screen, which becomes grey and then what colour its keyboard says: red. (Without a BIOS it has no letters.)
    await page.type(`(p='\\033[4%sm\\033[2J'; printf $p 7; read x; printf $p $x) <> /dev/tty1 >&0 &`);
    await page.click('Display');
    await page.until(lit(0xaa, 0xaa, 0xaa));
    await page.evaluate("document.querySelector('canvas').focus()");
    await page.press('1', 'Digit1');
    await page.press('Enter', 'Enter');
    await page.until(lit(0xaa, 0, 0));

    // Figures of what it does.
    await page.click('Overview');
    await page.until("[...document.querySelectorAll('.chart strong')].every((now) => /\\d/.test(now.textContent))");

    // A fork, which is another machine of the list.
    await page.click('Fork');
    await page.until("document.querySelector('.notices a') !== null");
    const fork = String(await page.evaluate("document.querySelector('.notices a').textContent"));
    await page.click(fork);
    await page.until(`${HEADING} === ${JSON.stringify(fork)} && ${STATE} === 'running'`);
    await page.click('Delete');
    await page.click('Cancel');
    expect(await page.evaluate(HEADING)).toBe(fork);
    await page.click('Delete');
    await page.evaluate("document.querySelector('dialog .danger').focus()");
    await page.press('Enter', 'Enter');
    await page.until(`${HEADING} === 'Machines' && document.querySelectorAll('tbody tr').length === 1`);

    // A snapshot, with which another goes on.
    await page.click('one');
    await page.click('Snapshot');
    await page.until("/was saved/.test(document.querySelector('.notices').textContent)");
    await page.click('Snapshots');
    await page.click('Restore');
    await page.until("/goes on as/.test(document.querySelector('.notices').textContent)");
    const restored = String(await page.evaluate("[...document.querySelectorAll('.notices a')].at(-1).textContent"));
    await page.click(restored);
    await page.until(`${HEADING} === ${JSON.stringify(restored)} && ${STATE} === 'running'`);
    await page.click('Display');
    await page.until(lit(0xaa, 0, 0));

    expect(await page.evaluate('globalThis.forbidden')).toEqual([]);
    const origins = await page.evaluate(
      "[...new Set(performance.getEntriesByType('resource').map(({ name }) => new URL(name).origin))]",
    );
    expect(origins).toEqual([page.address]);

    // The token is gone with the login.
    await page.click('Log out');
    await page.until('document.forms.length === 1 && sessionStorage.length === 0');
  });
});
