/** What a machine has written, as it comes. */
import { el, field } from './dom.js';
import { messageOf } from './notices.js';
import { plainText } from './plain-text.js';
import type { Session, View } from './view.js';

/** Characters that are shown; what came before is left out. */
const MOST = 400_000;
/** Bytes of what was written before. */
const TAIL = 262_144;

export class LogTab implements View {
  readonly element: HTMLElement;
  private readonly text = el('pre', {
    className: 'log',
    tabIndex: 0,
    attrs: { 'aria-label': 'What the machine has written' },
  });
  private readonly state = el('span', { className: 'note', attrs: { role: 'status' } });
  private readonly source = el(
    'select',
    {},
    el('option', { value: 'serial' }, 'serial port'),
    el('option', { value: 'command' }, 'command'),
  );
  private going: AbortController | undefined;

  constructor(
    private readonly session: Session,
    private readonly machine: string,
    hasCommand: boolean,
  ) {
    this.source.value = hasCommand ? 'command' : 'serial';
    this.source.onchange = () => this.show();
    this.element = el(
      'div',
      {},
      el('div', { className: 'bar' }, hasCommand && field('Of', this.source), this.state),
      this.text,
    );
  }

  show(): void {
    this.hide();
    const going = new AbortController();
    this.going = going;
    this.text.textContent = '';
    this.follow(going.signal).catch((error: unknown) => {
      if (!going.signal.aborted) this.state.textContent = messageOf(error);
    });
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const { text } = this;
    this.state.textContent = 'nothing has come yet';
    const source = this.source.value === 'command' ? 'command' : 'serial';
    const options = { source, follow: true, tail: TAIL, signal } as const;
    const decoder = new TextDecoder();
    let kept = '';
    let drawn = true;
    // Once for all that comes between two pictures of the page.
    const draw = (): void => {
      drawn = true;
      if (signal.aborted) return;
      const atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
      text.textContent = plainText(kept);
      if (atEnd) text.scrollTop = text.scrollHeight;
    };
    for await (const bytes of await this.session.client.logs(this.machine, options)) {
      kept = (kept + decoder.decode(bytes, { stream: true })).slice(-MOST);
      if (kept !== '') this.state.textContent = 'goes on';
      if (drawn) requestAnimationFrame(draw);
      drawn = false;
    }
    this.state.textContent = 'nothing more comes';
  }

  hide(): void {
    this.going?.abort();
    this.going = undefined;
  }

  close(): void {
    this.hide();
  }
}
