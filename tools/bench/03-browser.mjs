import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { createPageServer } from '../../dist/server/page-server.js';
import { ChromiumPage } from '../../dist/testing/chromium.js';
import { requireTool } from '../../dist/testing/tools.js';
import { guest } from './lib.mjs';

export const title = "Debian's Chromium against Node: a boot to a shell, and work in it; 256 MiB, wasm";

const PROMPT = 'vitrine:~#';
const WORK = {
  'a shell that counts': 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done',
  'SHA-256 of 100 MiB': 'dd if=/dev/zero bs=1M count=100 2>/dev/null | sha256sum',
  'gzip of 20 MiB': 'dd if=/dev/urandom bs=1M count=20 2>/dev/null | gzip | wc -c',
};
const words = 'console=ttyS0 panic=-1 tsc=reliable';
/** Milliseconds between two looks. */
const LOOK = 10;
const LIMIT = 180_000;

const seconds = (since) => (performance.now() - since) / 1000;

/** Resolves when `done` resolves to true. */
async function until(done) {
  for (const end = performance.now() + LIMIT; !(await done()); await pause(LOOK))
    if (performance.now() > end) throw new Error('the guest does not answer');
}

/** Times of the boot and of each piece of work, in seconds. */
async function times(machine, began) {
  await machine.sees(PROMPT);
  const result = { boot: seconds(began) };
  let count = 0;
  for (const [name, command] of Object.entries(WORK)) {
    const mark = ++count * 1111;
    const from = performance.now();
    await machine.type(`clear; ${command}; echo done-$((${mark}+1))\n`);
    await machine.sees(`done-${mark + 1}`);
    result[name] = seconds(from);
  }
  return result;
}

async function inNode() {
  const began = performance.now();
  const child = spawn(process.execPath, ['dist/cli/main.js', 'run', '--accel', 'wasm', '--memory', '256M'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.on('data', (data) => (text += data));
  try {
    const sees = (words) => until(async () => text.includes(words));
    return await times({ sees, type: async (line) => child.stdin.write(line) }, began);
  } finally {
    child.kill();
  }
}

async function inChromium(chromium, url) {
  const page = await ChromiumPage.open(chromium, 'about:blank');
  try {
    const began = performance.now();
    await page.evaluate(`location.href = ${JSON.stringify(url)}`);
    // The page looks itself, when its terminal has changed: to be asked all the time would cost it as much as its work.
    const sees = (words) =>
      until(() =>
        page
          .evaluate(
            `new Promise((resolve) => {
              const rows = document.querySelector('.xterm-rows');
              if (!rows) throw new Error('not yet');
              const look = () => {
                if (!rows.textContent.replaceAll('\\u00a0', ' ').includes(${JSON.stringify(words)})) return;
                observer.disconnect();
                resolve(true);
              };
              const observer = new MutationObserver(look);
              observer.observe(rows, { childList: true, subtree: true, characterData: true });
              look();
            })`,
          )
          .catch(() => false),
      );
    const type = async (line) => {
      await page.evaluate("document.querySelector('.xterm-helper-textarea').focus()");
      await page.insert(line.slice(0, -1));
      await page.press('Enter', 'Enter');
    };
    return await times({ sees, type }, began);
  } finally {
    page.close();
  }
}

export async function run(log) {
  const { vmlinux: kernel, initrd } = await guest('amd64');
  const server = createPageServer({ guest: 'amd64', kernel, initrd, commandLine: words, isolated: true });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const chromium = await requireTool('chromium');
    const url = `http://127.0.0.1:${server.address().port}/web/`;
    const sums = { node: {}, page: {} };
    const rounds = 3;
    for (let round = 0; round < rounds; round++)
      for (const where of ['node', 'page']) {
        const figures = where === 'node' ? await inNode() : await inChromium(chromium, url);
        const texts = Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(2)} s`);
        log(`${where}: ${texts.join(', ')}`);
        for (const [name, value] of Object.entries(figures)) sums[where][name] = (sums[where][name] ?? 0) + value;
      }
    for (const name of Object.keys(sums.node)) {
      const [node, page] = [sums.node[name] / rounds, sums.page[name] / rounds];
      log(`${name}: Node ${node.toFixed(2)} s, Chromium ${page.toFixed(2)} s: ${(page / node).toFixed(2)} times`);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
