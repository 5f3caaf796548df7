/** The web console of `vitrine serve` in Debian's Chromium. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
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
    const settings = JSON.parse(readFileSync(config, 'utf8')) as { tenants: { alice: object } };
    Object.assign(settings.tenants.alice, { ports: { address: '127.0.0.1', from: 30_000, to: 39_999 } });
    writeFileSync(config, JSON.stringify(settings));
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

  keepDownloads(to: string): Promise<void> {
    return this.page.keepDownloads(to);
  }

  chooseFile(file: string): Promise<void> {
    return this.page.chooseFile('input[type=file]', file);
  }

  chooseFolder(from: string): Promise<void> {
    return this.page.chooseFile('input[webkitdirectory]', from);
  }

  /** Drops a file or a folder in the middle of the tab that is shown. */
  async drop(file: string): Promise<void> {
    const [x, y] = (await this.page.evaluate(`(() => {
      const { left, top, width, height } = document.querySelector('.panel:not([hidden])').getBoundingClientRect();
      return [left + width / 2, top + Math.min(height, innerHeight - top) / 2];
    })()`)) as [number, number];
    await this.page.drop(x, y, file);
  }
}

/** Names in the folder that is shown. */
const NAMES = "[...document.querySelectorAll('.files tbody bdi')].map((one) => one.textContent).join(' ')";
const FOLDER = "document.querySelector('.files caption').textContent";
const TOLD = "document.querySelector('.panel:not([hidden]) .bar [role=status]').textContent";
const FOCUS = 'document.activeElement';
/** The button of a line, by what it is called for those who do not see where it is. */
const labelled = (label: string): string => `document.querySelector('[aria-label=${JSON.stringify(label)}]')`;

describeWith([amd64, chromium], 'the console', () => {
  it('makes, uses, forks, saves and deletes machines by clicks and keys', async () => {
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

    await walkFiles(page);
    await openPort(page);

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

/** The guest's files, which come and go by buttons, by keys and by dropping. */
async function walkFiles(page: ConsolePage): Promise<void> {
  const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251));
  const [file, dropped, downloads] = ['sent bytes', 'dropped', 'downloads'].map((name) => path.join(folder, name));
  writeFileSync(file, sent);
  writeFileSync(dropped, 'dropped');
  await page.keepDownloads(downloads);
  await page.click('Files');
  await page.until(`/\\d+ entries/.test(${TOLD}) && / etc /.test(${NAMES})`);
  expect(await page.evaluate(`${labelled('etc, a folder')}.closest('tr').innerText`)).toMatch(/drwx.{6}/);
  // By keys: the focus stays with what is shown.
  await page.evaluate(`${labelled('root, a folder')}.focus()`);
  await page.press('Enter', 'Enter');
  await page.until(`${FOLDER} === '/root' && ${FOCUS}.tagName === 'CAPTION'`);
  await page.fill('folder', '/no/../../nowhere');
  await page.press('Enter', 'Enter');
  await page.until(`/no such file or folder/.test(${TOLD})`);
  expect(await page.evaluate(FOLDER)).toBe('/root');
  await page.click('New folder');
  await page.type('made <b>here');
  await page.click('made <b>here');
  await page.until(`${FOLDER} === '/root/made <b>here' && ${TOLD} === '0 entries'`);

  await page.chooseFile(file);
  await page.until(`${NAMES} === 'sent bytes'`);
  await page.drop(dropped);
  await page.until(`${NAMES} === 'dropped sent bytes'`);
  expect(await page.evaluate(`${labelled('Download sent bytes')}.closest('tr').innerText`)).toMatch(
    /2\.9 MiB.*-rw-r--r--/s,
  );
  await page.evaluate(`${labelled('Download sent bytes')}.click()`);
  // For a moment Chromium has an empty file of that name beside the one that it then renames.
  await expect.poll(() => readdirSync(downloads), { timeout: 20_000 }).toEqual(['sent bytes']);
  const arrived = path.join(downloads, 'sent bytes');
  await expect.poll(() => statSync(arrived).size, { timeout: 20_000 }).toBe(sent.length);
  expect(readFileSync(arrived).equals(sent)).toBe(true);
  await sendFolders(page);
  // What is there is replaced or deleted behind a question only.
  await page.chooseFile(dropped);
  await page.click('Cancel');
  await page.evaluate(`${labelled('Delete sent bytes')}.click()`);
  await page.click('Delete');
  await page.until(`${NAMES} === 'dropped'`);
  await page.click('Up');
  await page.until(`${FOLDER} === '/root'`);
  await page.evaluate(`${labelled('Delete made <b>here')}.click()`);
  await page.click('Delete');
  await page.until(`!/made/.test(${NAMES})`);
}

/** Folders with what is in them, dropped and chosen, into the folder that is shown. */
async function sendFolders(page: ConsolePage): Promise<void> {
  const tree = path.join(folder, 'tree');
  mkdirSync(path.join(tree, 'deep/er'), { recursive: true });
  mkdirSync(path.join(tree, 'empty'));
  writeFileSync(path.join(tree, 'top'), 'top');
  writeFileSync(path.join(tree, 'deep/er/a b'), 'deeper');
  // More than browsers tell of at a time.
  for (let i = 0; i < 120; i++) writeFileSync(path.join(tree, 'deep', `f${i}`), String(i));
  const show = async (name: string): Promise<void> => {
    await page.fill('folder', name);
    await page.press('Enter', 'Enter');
    await page.until(`${FOLDER} === ${JSON.stringify(name)}`);
  };
  const here = String(await page.evaluate(FOLDER));
  await page.evaluate(`globalThis.steps = new Set(), new MutationObserver(() => {
    const [bar, state] = ['progress', '[role=status]'].map((one) => document.querySelector('.panel:not([hidden]) .pulls ' + one));
    if (bar?.position > 0 && bar.position < 1) steps.add(state.textContent);
  }).observe(document.querySelector('.panel:not([hidden]) .pulls'), { subtree: true, childList: true, characterData: true })`);
  await page.drop(tree);
  await page.until(`/^tree /.test(${NAMES})`);
  expect(await page.evaluate('[...steps].some((text) => /^\\d+ of 122 files: deep\\/f\\d+$/.test(text))')).toBe(true);
  await show(`${here}/tree`);
  await page.until(`${NAMES} === 'deep empty top'`);
  await show(`${here}/tree/deep`);
  await page.until(`${TOLD} === '121 entries'`);
  await show(`${here}/tree/deep/er`);
  await page.until(`${NAMES} === 'a b'`);
  expect(await page.evaluate(`${labelled('Download a b')}.closest('tr').innerText`)).toMatch(/\b6 B\b/);

  // Chosen, with a question, since it is there; what is there besides stays.
  writeFileSync(path.join(tree, 'top'), 'another');
  rmSync(path.join(tree, 'deep'), { recursive: true });
  await show(here);
  await page.chooseFolder(tree);
  await page.click('Replace');
  await page.until(`document.querySelector('.panel:not([hidden]) .pulls').children.length === 0`);
  await show(`${here}/tree`);
  await page.until(`/\\b7 B\\b/.test(${labelled('Download top')}.closest('tr').innerText)`);
  expect(await page.evaluate(NAMES)).toBe('deep empty top');

  // What cannot be is said in a line: a file is where a folder is to be.
  rmSync(path.join(tree, 'top'));
  mkdirSync(path.join(tree, 'top'));
  writeFileSync(path.join(tree, 'top/in'), 'in');
  await show(here);
  await page.drop(tree);
  await page.click('Replace');
  await page.until("document.querySelector('.notice.bad') !== null");
  expect(await page.evaluate("document.querySelector('.notice.bad span').textContent")).toMatch(
    /^tree: .*top.*\(0 of 1 files have arrived\)$/,
  );
  await page.evaluate("document.querySelector('.notice.bad button').click()");
  await page.evaluate(`${labelled('Delete tree')}.click()`);
  await page.click('Delete');
  await page.until(`!/tree/.test(${NAMES})`);
}

/** A port of the server's host that leads into the guest. */
async function openPort(page: ConsolePage): Promise<void> {
  await page.click('Terminal');
  await page.type('clear; while :; do printf "HTTP/1.0 200 OK\\r\\n\\r\\nserved" | nc -l -p 80; done > /dev/null &');
  await page.click('Ports');
  await page.fill('guestPort', '80');
  await page.press('Enter', 'Enter');
  const LINK = "document.querySelector('.panel:not([hidden]) td a')";
  await page.until(`${LINK} !== null`);
  const href = String(await page.evaluate(`${LINK}.href`));
  expect(href).toMatch(/^http:\/\/127\.0\.0\.1:3\d{4}\/$/);
  await expect.poll(() => fetch(href).then((answer) => answer.text(), String), { timeout: 10_000 }).toBe('served');
  await page.fill('guestPort', '81');
  await page.fill('hostPort', '1024');
  await page.press('Enter', 'Enter');
  await page.until("/ports from 30000 to 39999/.test(document.querySelector('.notices').textContent)");
  await page.evaluate(`${labelled('Close the port that leads to 80')}.click()`);
  await page.until(`${LINK} === null`);
  await expect(fetch(href)).rejects.toThrow();
}
