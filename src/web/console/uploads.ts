/** Files and folders on their way from the page into a guest, each with a way to take it back. */
import type { ApiClient } from '../../api/client.js';
import { el } from './dom.js';
import { formatBytes } from './format.js';
import { childOf, cleanPath } from './guest-path.js';
import { isSilent, messageOf } from './notices.js';
import type { PickedFolder } from './picked-folders.js';

export interface UploadListener {
  readonly done: (name: string) => void;
  readonly failed: (error: unknown) => void;
}

interface Shown {
  readonly state: HTMLElement;
  readonly bar: HTMLProgressElement;
}

const isThere = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EEXIST';

export class Uploads {
  readonly element = el('ul', { className: 'pulls', attrs: { 'aria-label': 'Files on their way' } });
  private readonly going = new Set<AbortController>();
  /** One behind the other: they share one connection into the guest anyway. */
  private turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly client: ApiClient,
    private readonly machine: string,
    private readonly listener: UploadListener,
  ) {}

  /** `isNew`: nothing is there; what is not whole is removed then. */
  add(folder: string, file: File, isNew: boolean): void {
    this.queue(file.name, async ({ state }, signal) => {
      state.textContent = formatBytes(file.size);
      await this.send(childOf(folder, file.name), file, isNew, signal);
    });
  }

  /** A folder with all that is in it, which `look` finds. What is there already is replaced. What has arrived when it ends early stays. */
  addFolder(folder: string, name: string, look: (signal: AbortSignal) => Promise<PickedFolder>): void {
    this.queue(name, async ({ state, bar }, signal) => {
      state.textContent = 'looks …';
      const top = childOf(folder, name);
      let [done, all] = [0, 0];
      try {
        const { folders, files } = await look(signal);
        all = files.length;
        for (const path of ['', ...folders])
          await this.client.makeFolder(this.machine, cleanPath(`${top}/${path}`), { parents: true, signal });
        bar.max = Math.max(1, all);
        for (const { path, open } of files) {
          bar.value = done;
          state.textContent = `${done} of ${all} files: ${path}`;
          await this.sendAnyway(childOf(top, path), await open(), signal);
          done++;
        }
      } catch (error) {
        if (isSilent(error)) throw error;
        throw new Error(`${name}: ${messageOf(error)} (${done} of ${all} files have arrived)`, { cause: error });
      }
    });
  }

  /** Shows what is on its way, and does it when all before it is done. */
  private queue(name: string, work: (shown: Shown, signal: AbortSignal) => Promise<void>): void {
    const going = new AbortController();
    this.going.add(going);
    const state = el('span', { className: 'note', attrs: { role: 'status' } }, 'waits');
    const bar = el('progress', { attrs: { 'aria-label': `Sending ${name}` } });
    const cancel = el('button', { type: 'button', attrs: { 'aria-label': `Cancel sending ${name}` } }, 'Cancel');
    const item = el('li', {}, el('strong', {}, name), bar, state, cancel);
    cancel.onclick = () => going.abort();
    this.element.append(item);
    this.turn = this.turn.then(async () => {
      try {
        going.signal.throwIfAborted();
        await work({ state, bar }, going.signal);
        this.listener.done(name);
      } catch (error) {
        this.listener.failed(error);
      } finally {
        this.going.delete(going);
        item.remove();
      }
    });
  }

  private async send(path: string, file: File, isNew: boolean, signal: AbortSignal): Promise<void> {
    const { client, machine } = this;
    try {
      // The browser reads the file as the server takes it.
      await client.writeFile(machine, path, file, { how: isNew ? 'create' : 'replace', signal });
    } catch (error) {
      // Half a file must not pass for a whole one; where it cannot be removed, the first error says why.
      if (isNew && !isThere(error)) await client.removeFile(machine, path).catch(() => {});
      throw error;
    }
  }

  /** Whether it is new shows. */
  private async sendAnyway(path: string, file: File, signal: AbortSignal): Promise<void> {
    try {
      await this.send(path, file, true, signal);
    } catch (error) {
      if (!isThere(error)) throw error;
      await this.send(path, file, false, signal);
    }
  }

  /** Takes back all that has not arrived. */
  close(): void {
    for (const going of this.going) going.abort();
  }
}
