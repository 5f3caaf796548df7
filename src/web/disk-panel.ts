/** The page's list of its images: what is stored, and how it comes and goes. */
import { listFiles, openFile, removeFile, storeFile } from '../host/browser/files.js';

/** The folder of the page's storage where images are. */
export const DISKS = 'disks';
const MIB = 2 ** 20;

export interface DiskPanelEvents {
  /** A machine is to have an image of the page's storage. */
  use(name: string): void;
  /** A machine is to have a file that was chosen, as it is. */
  borrow(file: File): void;
  failed(error: unknown): void;
}

export class DiskPanel {
  private readonly rows = document.createElement('ul');
  private readonly picker = document.createElement('input');
  /** What becomes of the file that is chosen. */
  private chosen: (file: File) => Promise<void> | void = () => {};

  constructor(
    place: HTMLElement,
    private readonly events: DiskPanelEvents,
  ) {
    this.picker.type = 'file';
    this.picker.onchange = () => {
      const file = this.picker.files?.item(0);
      // The same one may be chosen again.
      this.picker.value = '';
      if (file) this.attempt(() => this.chosen(file));
    };
    place.append(
      this.button('Store an image', () => this.pick((file) => this.store(file))),
      this.button('Boot with an image', () => this.pick((file) => this.events.borrow(file))),
      this.rows,
    );
    this.attempt(() => this.show());
  }

  private button(label: string, work: () => Promise<void> | void): HTMLButtonElement {
    const made = document.createElement('button');
    made.textContent = label;
    made.onclick = () => this.attempt(work);
    return made;
  }

  private attempt(work: () => Promise<void> | void): void {
    Promise.resolve()
      .then(work)
      .catch((error: unknown) => this.events.failed(error));
  }

  private pick(then: (file: File) => Promise<void> | void): void {
    this.chosen = then;
    this.picker.click();
  }

  private async store(file: File): Promise<void> {
    await storeFile(`${DISKS}/${file.name}`, file);
    await this.show();
  }

  /** Brings the list up to date. */
  async show(): Promise<void> {
    const files = await listFiles(DISKS);
    this.rows.replaceChildren(...files.map(({ name, size }) => this.row(name, size)));
  }

  private row(name: string, size: number): HTMLElement {
    const row = document.createElement('li');
    const place = `${DISKS}/${name}`;
    row.append(
      `${name} (${(size / MIB).toFixed(1)} MiB) `,
      this.button('Use', () => this.events.use(place)),
      this.button('Download', () => this.download(place, name)),
      this.button('Remove', async () => {
        await removeFile(place);
        await this.show();
      }),
    );
    return row;
  }

  private async download(place: string, name: string): Promise<void> {
    const file = await openFile(place);
    if (file) saveAs(file, name);
  }
}

/** Hands a file to the user. */
export function saveAs(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  Object.assign(document.createElement('a'), { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}
