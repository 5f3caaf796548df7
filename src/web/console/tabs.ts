/** Tabs as the ARIA Authoring Practices describe them: arrows, Home and End move between them. */
import { el } from './dom.js';
import type { View } from './view.js';

interface Tab {
  readonly id: string;
  readonly button: HTMLButtonElement;
  readonly panel: HTMLElement;
  readonly make: () => View;
  view: View | undefined;
}

let next = 1;

export class Tabs implements View {
  readonly element: HTMLElement;
  private readonly list: HTMLElement;
  private readonly tabs: Tab[] = [];
  private chosen: Tab | undefined;
  private visible = false;

  constructor(label: string) {
    this.list = el('div', { className: 'tabs', attrs: { role: 'tablist', 'aria-label': label } });
    this.list.onkeydown = (event) => this.move(event);
    this.element = el('div', {}, this.list);
  }

  /** `make` is called when it is looked at first. */
  add(id: string, label: string, make: () => View): void {
    const number = next++;
    const button = el(
      'button',
      { type: 'button', id: `tab-${number}`, tabIndex: -1, attrs: { role: 'tab', 'aria-controls': `panel-${number}` } },
      label,
    );
    const panel = el('div', {
      id: `panel-${number}`,
      className: 'panel',
      hidden: true,
      attrs: { role: 'tabpanel', 'aria-labelledby': button.id },
    });
    button.dataset['tab'] = id;
    button.onclick = () => this.choose(id);
    this.list.append(button);
    this.element.append(panel);
    this.tabs.push({ id, button, panel, make, view: undefined });
  }

  choose(id: string): void {
    const tab = this.tabs.find((one) => one.id === id);
    if (!tab || tab === this.chosen) return;
    if (this.visible) this.chosen?.view?.hide?.();
    this.chosen = tab;
    for (const one of this.tabs) {
      const selected = one === tab;
      one.button.setAttribute('aria-selected', String(selected));
      one.button.tabIndex = selected ? 0 : -1;
      one.panel.hidden = !selected;
    }
    if (!tab.view) {
      tab.view = tab.make();
      tab.panel.append(tab.view.element);
    }
    if (this.visible) tab.view.show?.();
  }

  private move(event: KeyboardEvent): void {
    const { length } = this.tabs;
    const at = this.tabs.findIndex((tab) => tab === this.chosen);
    const to: Readonly<Record<string, number>> = {
      ArrowRight: (at + 1) % length,
      ArrowLeft: (at + length - 1) % length,
      Home: 0,
      End: length - 1,
    };
    if (!(event.key in to)) return;
    event.preventDefault();
    const { id, button } = this.tabs[to[event.key]];
    this.choose(id);
    // What it shows may have taken the focus, which stays among the tabs here.
    button.focus();
  }

  /** The way out of what takes all keys. */
  focus(): void {
    this.chosen?.button.focus();
  }

  show(): void {
    this.visible = true;
    this.chosen?.view?.show?.();
  }

  hide(): void {
    this.visible = false;
    this.chosen?.view?.hide?.();
  }

  close(): void {
    for (const { view } of this.tabs) view?.close?.();
  }
}
