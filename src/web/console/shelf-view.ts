/** A table of what the server keeps, read anew when it is looked at and when it has changed. */
import { button, el } from './dom.js';
import type { Session, View } from './view.js';

export interface ShelfOptions<T> {
  readonly title: string;
  /** Where there is nothing. */
  readonly empty: string;
  readonly columns: readonly string[];
  /** Whose events mean that it has changed. */
  readonly events: readonly string[];
  list(): Promise<readonly T[]>;
  /** As many as there are columns; the first one names it. */
  cells(item: T): readonly (Node | string)[];
  actions(
    item: T,
  ): readonly { readonly label: string; readonly danger?: boolean; readonly work: () => Promise<unknown> }[];
}

export class ShelfView<T> implements View {
  readonly element: HTMLElement;
  private readonly body = el('tbody');
  private readonly table: HTMLTableElement;
  private readonly empty: HTMLElement;
  private visible = false;

  constructor(
    private readonly session: Session,
    private readonly options: ShelfOptions<T>,
    ...besides: readonly HTMLElement[]
  ) {
    const { title, columns, events } = options;
    this.empty = el('p', { hidden: true }, options.empty);
    const head = el('tr', {}, ...[...columns, ''].map((label) => el('th', { scope: 'col' }, label)));
    this.table = el('table', { hidden: true }, el('thead', {}, head), this.body);
    this.element = el('section', {}, el('h2', { tabIndex: -1 }, title), ...besides, this.empty, this.table);
    session.feed.news.add(({ type }) => {
      if (this.visible && events.includes(type)) this.refresh();
    });
  }

  refresh(): void {
    this.options.list().then((items) => this.fill(items), this.session.notices.failed);
  }

  private fill(items: readonly T[]): void {
    const { options, session } = this;
    this.body.replaceChildren(
      ...items.map((item) => {
        const [first, ...rest] = options.cells(item);
        const actions = options
          .actions(item)
          .map(({ label, danger = false, work }) =>
            button(label, () => work().then(() => this.refresh()), session.notices.failed, danger ? 'danger' : ''),
          );
        return el(
          'tr',
          {},
          el('th', { scope: 'row' }, first),
          ...rest.map((cell, i) => el('td', { attrs: { 'data-label': options.columns[i + 1] } }, cell)),
          el('td', { className: 'actions' }, ...actions),
        );
      }),
    );
    this.table.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
  }

  show(): void {
    this.visible = true;
    this.refresh();
  }

  hide(): void {
    this.visible = false;
  }
}
