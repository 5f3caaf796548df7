/** Files on their way from the page into a guest, each with a way to take it back. */
import type { ApiClient } from '../../api/client.js';
import { el } from './dom.js';
import { formatBytes } from './format.js';
import { childOf } from './guest-path.js';

export interface UploadListener {
  readonly done: (name: string) => void;
  readonly failed: (error: unknown) => void;
}

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
    const going = new AbortController();
    this.going.add(going);
    const state = el('span', { className: 'note', attrs: { role: 'status' } }, 'waits');
    const bar = el('progress', { attrs: { 'aria-label': `Sending ${file.name}` } });
    const cancel = el('button', { type: 'button', attrs: { 'aria-label': `Cancel sending ${file.name}` } }, 'Cancel');
    const item = el('li', {}, el('strong', {}, file.name), bar, state, cancel);
    cancel.onclick = () => going.abort();
    this.element.append(item);
    this.turn = this.turn.then(async () => {
      try {
        going.signal.throwIfAborted();
        state.textContent = formatBytes(file.size);
        await this.send(childOf(folder, file.name), file, isNew, going.signal);
        this.listener.done(file.name);
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
      const there = error instanceof Error && 'code' in error && error.code === 'EEXIST';
      // Half a file must not pass for a whole one; where it cannot be removed, the first error says why.
      if (isNew && !there) await client.removeFile(machine, path).catch(() => {});
      throw error;
    }
  }

  /** Takes back all that has not arrived. */
  close(): void {
    for (const going of this.going) going.abort();
  }
}
