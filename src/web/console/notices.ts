/** What went wrong, and what was done: lines at the page's edge. */
import { el } from './dom.js';

/** Milliseconds that news stay; what went wrong stays until it is put away. */
const SHOWN = 8000;
const MOST = 5;

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Nobody wants to hear of what was taken back, or of a login that has ended: the page asks for another. */
export const isSilent = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'AbortError' || ('status' in error && error.status === 401));

export class Notices {
  readonly element = el('div', { className: 'notices', attrs: { 'aria-live': 'polite' } });

  private add(text: string, className: string, link?: { readonly text: string; readonly href: string }): HTMLElement {
    const close = el('button', { type: 'button', attrs: { 'aria-label': 'Put away' } }, '×');
    const notice = el(
      'div',
      { className: `notice ${className}`, attrs: className === 'bad' ? { role: 'alert' } : {} },
      el('span', {}, text, link && ' ', link && el('a', { href: link.href }, link.text)),
      close,
    );
    close.onclick = () => notice.remove();
    this.element.append(notice);
    while (this.element.children.length > MOST) this.element.firstElementChild?.remove();
    return notice;
  }

  /** Something was done. */
  say(text: string, link?: { readonly text: string; readonly href: string }): void {
    const notice = this.add(text, 'good', link);
    setTimeout(() => notice.remove(), SHOWN);
  }

  readonly failed = (error: unknown): void => {
    if (!isSilent(error)) this.add(messageOf(error), 'bad');
  };
}
