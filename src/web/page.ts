/** The demonstration page: one machine, its terminal and its screen. docs/browser.md has the parameters of its address. */
import { Terminal } from '@xterm/xterm';
import { openFile } from '../host/browser/files.js';
import { BrowserMachine, warmWorker } from '../runtime/browser/machine-handle.js';
import { ACCELERATORS, type MachineStart, type PageParts } from '../runtime/browser/protocol.js';
import { version } from '../runtime/browser/version.js';
import { parseDisk, type DiskWords } from '../runtime/common/disk-words.js';
import type { MachineConfig } from '../vmm/config.js';
import { DEFAULT_USER_NETWORK } from '../vmm/net-config.js';
import { DiskPanel, saveAs } from './disk-panel.js';
import { ScreenView } from './screen-view.js';

/** What the server says of the guest. */
interface Offer {
  readonly guest: string;
  readonly commandLine: string;
}

const MIB = 2 ** 20;
/** Where the page keeps its machine. */
const SNAPSHOT = 'machine.snap';

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}

const parameters = new URLSearchParams(location.search);
const accel = ACCELERATORS.find((name) => name === parameters.get('accel')) ?? 'wasm';
const terminal = new Terminal({ cols: 80, rows: 24, scrollback: 5000 });
const view = new ScreenView(element('screen', HTMLCanvasElement), element('screen-frame', HTMLElement));
/** A file that was chosen as a disk, for this machine and no other. */
let borrowed: File | undefined;
const pauseButton = element('pause', HTMLButtonElement);
let machine: BrowserMachine | undefined;
let paused = false;

const options = {
  accel,
  workers: new URL('../runtime/browser/', import.meta.url),
  threads: parameters.get('threads') !== 'no',
};
const cpus = Number(parameters.get('cpus') ?? 1);
/** Of the first machine: it loads what it needs while the page loads what it boots. */
let warm: Worker | undefined = warmWorker(cpus, options);

function status(text: string): void {
  element('status', HTMLElement).textContent = text;
}

function note(text: string): void {
  element('notes', HTMLElement).textContent += `${text}\n`;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function fetchBytes(path: string): Promise<Uint8Array> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`the server has no ${path}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The address that the page was opened with may name several. */
const diskWords = (): DiskWords[] => parameters.getAll('disk').map(parseDisk);

/** What a machine calls a file that was chosen. */
const nameOf = (file: File): string => file.name.replaceAll(',', '_');

/** What the page has for a machine. */
function partsOfPage(): PageParts {
  const net = parameters.get('net') ?? 'fetch';
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  return {
    images: diskWords().flatMap(({ image }) => image ?? []),
    ...(borrowed && { files: { [nameOf(borrowed)]: borrowed } }),
    ...(/^wss?:/.test(net) && { relay: { url: net, ...(token !== null && { token }) } }),
  };
}

function disks(): MachineConfig['disks'] {
  const own = borrowed ? [parseDisk(nameOf(borrowed)).config] : [];
  return [...own, ...diskWords().map(({ config }) => config)];
}

async function configure(): Promise<MachineConfig> {
  status('loading a guest');
  const [{ guest, commandLine }, kernel, initrd] = await Promise.all([
    fetch('../guest/offer.json').then((response) => response.json() as Promise<Offer>),
    fetchBytes('../guest/kernel'),
    fetchBytes('../guest/initrd'),
  ]);
  const words = parameters.get('append') ?? commandLine;
  const vga = parameters.get('display') === 'virtio' ? 'virtio' : 'std';
  return {
    cpu: 'x86-64-v2',
    cpus,
    memory: Number(parameters.get('memory') ?? 256) * MIB,
    boot: {
      kernel: { name: guest, data: kernel, commandLine: words, modules: [{ name: 'initrd', data: initrd }] },
    },
    disks: disks(),
    display: { vga, rom: null, input: 'virtio' },
    networks:
      parameters.get('net') === 'none'
        ? []
        : [
            {
              network: DEFAULT_USER_NETWORK,
              model: 'virtio-net',
              mac: '52:54:00:12:34:56',
              queues: 1,
              mtu: 1500,
              pcap: '',
            },
          ],
    debugExit: false,
    noReboot: false,
    clock: 'host',
  };
}

/** The last of the machines that were asked for, which start one after the other. */
let running: Promise<unknown> = Promise.resolve();

function run(start: MachineStart): Promise<void> {
  const next = running.then(() => replaceMachine(start));
  running = next.catch(() => undefined);
  return next;
}

async function replaceMachine(start: MachineStart): Promise<void> {
  machine?.stop();
  await machine?.exited.catch(() => undefined);
  terminal.reset();
  status('starting');
  const began = performance.now();
  const own = new BrowserMachine(
    start,
    {
      output: (_channel, bytes, done) => terminal.write(bytes, done),
      report: note,
      reset: () => note('the machine was reset'),
      frame: (frame) => view.draw(frame),
    },
    {
      version,
      ...options,
      parts: partsOfPage(),
      ...(warm && { worker: warm }),
    },
  );
  warm = undefined;
  machine = own;
  view.watch(own);
  setPaused(false);
  void own.started.then(({ cpus, threads, memory }) => {
    const took = Math.round(performance.now() - began);
    const where = threads > 1 ? `${threads} workers` : 'one worker';
    status(
      `running: ${cpus} CPU${cpus > 1 ? 's' : ''} on ${where}, ${memory / MIB} MiB, ${accel}; started in ${took} ms`,
    );
    terminal.focus();
  });
  own.exited.then(
    ({ kind }) => {
      if (machine === own) status(`the machine has ended: ${kind}`);
    },
    (error: unknown) => {
      if (machine !== own) return;
      status('the machine has failed');
      note(messageOf(error));
    },
  );
}

function setPaused(now: boolean): void {
  paused = now;
  pauseButton.textContent = now ? 'Resume' : 'Pause';
}

async function save(): Promise<void> {
  const began = performance.now();
  await machine?.save(SNAPSHOT);
  const size = ((await openFile(SNAPSHOT))?.size ?? 0) / MIB;
  status(`saved: ${size.toFixed(1)} MiB in ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

async function restore(): Promise<void> {
  const file = await openFile(SNAPSHOT);
  if (!file) throw new Error('nothing has been saved here');
  await run({ kind: 'resume', name: SNAPSHOT, file });
}

async function download(): Promise<void> {
  const file = await openFile(SNAPSHOT);
  if (!file) throw new Error('nothing has been saved here');
  saveAs(file, SNAPSHOT);
}

/** Does what a button is for; what goes wrong is told in the page. */
function onClick(id: string, work: () => Promise<void>): void {
  element(id, HTMLButtonElement).onclick = () => {
    work().catch((error: unknown) => note(messageOf(error)));
  };
}

onClick('pause', async () => {
  await (paused ? machine?.resume() : machine?.pause());
  setPaused(!paused);
});
onClick('reset', async () => machine?.press('reset'));
onClick('save', save);
onClick('restore', restore);
onClick('download', download);
const upload = element('upload', HTMLInputElement);
onClick('choose', () => {
  upload.click();
  return Promise.resolve();
});
upload.onchange = () => {
  const file = upload.files?.item(0);
  // The same one may be chosen again.
  upload.value = '';
  if (file) run({ kind: 'resume', name: file.name, file }).catch((error: unknown) => note(messageOf(error)));
};
const display = element('display', HTMLInputElement);
display.onchange = () => {
  element('screen-frame', HTMLElement).hidden = !display.checked;
};
new DiskPanel(element('disks', HTMLElement), {
  // A machine has its disks from the beginning; the address remembers which.
  use: (name) => {
    const next = new URL(location.href);
    next.searchParams.append('disk', name);
    next.searchParams.delete('resume');
    location.href = next.href;
  },
  borrow: (file) => {
    borrowed = file;
    boot().catch((error: unknown) => note(messageOf(error)));
  },
  failed: (error) => note(messageOf(error)),
});

terminal.open(element('terminal', HTMLElement));
terminal.onData((text) => machine?.send('serial', new TextEncoder().encode(text)));

// What browsers keep of a page that was left, to go back to, is to keep no disks from others.
addEventListener('pagehide', () => machine?.stop());

async function boot(): Promise<void> {
  await run({ kind: 'create', config: await configure() });
}

async function begin(): Promise<void> {
  if (parameters.has('resume')) await restore();
  else await boot();
}
begin().catch((error: unknown) => {
  status('nothing runs');
  note(messageOf(error));
});
