/** A terminal in the page (xterm.js), and what it is connected to. */
import { Terminal } from '@xterm/xterm';
import { button, el } from './dom.js';
import type { Connect, Link } from './links.js';
import { isWayOut, type View } from './view.js';

export interface TerminalOptions {
  /** What it is, for people who do not see it. */
  readonly label: string;
  readonly connect: Connect;
  /** It has the size of its place in the page; otherwise 80 columns and 24 rows, since the far end is not told. */
  readonly fits: boolean;
  /** Why it cannot be connected at this moment; undefined: it can. */
  readonly blocked: () => string | undefined;
  /** Where the focus goes by the key that leads out. */
  readonly leave: () => void;
}

const LEAST = { columns: 20, rows: 5 } as const;

export class TerminalView implements View {
  readonly element: HTMLElement;
  private readonly place: HTMLElement;
  private readonly state = el('span', { className: 'note', attrs: { role: 'status' } });
  private readonly terminal = new Terminal({
    cols: 80,
    rows: 24,
    scrollback: 5000,
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: 14,
  });
  private readonly watcher = new ResizeObserver(() => this.fit());
  private readonly again: HTMLButtonElement;
  private link: Link | undefined;
  private opened = false;

  constructor(private readonly options: TerminalOptions) {
    const { terminal } = this;
    this.place = el('div', {
      className: options.fits ? 'terminal fits' : 'terminal',
      attrs: { role: 'region', 'aria-label': options.label },
    });
    this.again = button(
      'Connect again',
      () => {
        this.connect();
        terminal.focus();
      },
      () => {},
    );
    this.again.hidden = true;
    this.element = el(
      'div',
      { className: 'terminal-view' },
      this.place,
      el('div', { className: 'bar' }, this.again, this.state, el('span', { className: 'note' }, 'Ctrl+F6 leads out')),
    );
    terminal.attachCustomKeyEventHandler((event) => {
      if (!isWayOut(event)) return true;
      if (event.type === 'keydown') options.leave();
      return false;
    });
    terminal.onData((text) => this.link?.write(new TextEncoder().encode(text)));
    // Reports of a mouse, which are bytes.
    terminal.onBinary((text) => this.link?.write(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => this.link?.resize?.({ columns: cols, rows }));
  }

  show(): void {
    if (!this.opened) this.terminal.open(this.place);
    this.opened = true;
    this.fit();
    if (this.options.fits) this.watcher.observe(this.place);
    if (!this.link && this.again.hidden) this.connect();
    this.terminal.focus();
  }

  hide(): void {
    this.watcher.disconnect();
  }

  private connect(): void {
    const { terminal } = this;
    const blocked = this.options.blocked();
    this.again.hidden = true;
    this.state.textContent = blocked ?? '';
    if (blocked !== undefined) return;
    this.link?.close();
    terminal.reset();
    let over = false;
    const link = this.options.connect(
      { columns: terminal.cols, rows: terminal.rows },
      {
        output: (bytes) => new Promise((resolve) => terminal.write(bytes, resolve)),
        ended: (text) => {
          over = true;
          // Not where another has taken its place.
          if (this.link !== undefined && this.link !== link) return;
          this.link = undefined;
          this.state.textContent = text;
          this.again.hidden = false;
        },
      },
    );
    if (!over) this.link = link;
  }

  /** As many characters as there is room for. */
  private fit(): void {
    const { terminal, place } = this;
    const screen = place.querySelector('.xterm-screen')?.getBoundingClientRect();
    if (!this.options.fits || !screen || screen.width === 0 || place.clientWidth === 0) return;
    const style = getComputedStyle(place);
    const inner = (size: number, ...paddings: readonly string[]): number =>
      paddings.reduce((left, padding) => left - parseFloat(padding), size);
    // The scroll bar lies over the last column.
    const width = inner(place.clientWidth, style.paddingLeft, style.paddingRight) - 14;
    const height = inner(place.clientHeight, style.paddingTop, style.paddingBottom);
    const columns = Math.max(LEAST.columns, Math.floor((width * terminal.cols) / screen.width));
    const rows = Math.max(LEAST.rows, Math.floor((height * terminal.rows) / screen.height));
    if (columns !== terminal.cols || rows !== terminal.rows) terminal.resize(columns, rows);
  }

  close(): void {
    this.watcher.disconnect();
    this.link?.close();
    this.terminal.dispose();
  }
}
