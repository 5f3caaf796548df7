/** All machines, in a table. */
import type { MachineInfo } from '../../api/schemas.js';
import { el } from './dom.js';
import { formatAge, formatMemory } from './format.js';
import { machineLink, type Session, type View } from './view.js';

const COLUMNS = ['Name', 'State', 'Image', 'CPUs', 'Memory', 'Accelerator', 'Age'] as const;
/** Milliseconds between two looks at the ages. */
const PERIOD = 10_000;

interface Row {
  readonly element: HTMLTableRowElement;
  update(machine: MachineInfo): void;
}

function rowFor(name: string): Row {
  const state = el('span', { className: 'state' });
  const cells = COLUMNS.slice(2).map((label) => el('td', { attrs: { 'data-label': label } }));
  const element = el(
    'tr',
    {},
    el('th', { scope: 'row' }, el('a', { href: machineLink(name) }, name)),
    el('td', { attrs: { 'data-label': 'State' } }, state),
    ...cells,
  );
  return {
    element,
    update(machine) {
      const { state: now, progress, image, origin, cpus, memory, accel, created } = machine;
      state.textContent = progress ?? now;
      state.dataset['state'] = now;
      const texts = [
        image ?? origin?.replace(':', ' ') ?? '–',
        String(cpus),
        formatMemory(memory),
        accel ?? '–',
        formatAge(created),
      ];
      for (const [i, text] of texts.entries()) cells[i].textContent = text;
    },
  };
}

export class MachinesView implements View {
  readonly element: HTMLElement;
  private readonly body = el('tbody');
  private readonly table: HTMLTableElement;
  private readonly empty = el('p', {}, 'There is no machine. ', el('a', { href: '#/new' }, 'Make one'));
  /** By the names of machines: rows stay, so that the focus does. */
  private readonly rows = new Map<string, Row>();
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly session: Session) {
    const head = el('tr', {}, ...COLUMNS.map((label) => el('th', { scope: 'col' }, label)));
    this.table = el('table', {}, el('thead', {}, head), this.body);
    this.element = el('section', {}, el('h2', { tabIndex: -1 }, 'Machines'), this.empty, this.table);
    session.feed.changed.add(() => this.update());
    this.update();
  }

  private update(): void {
    const { machines } = this.session.feed;
    for (const [name, { element }] of this.rows)
      if (!machines.has(name)) {
        element.remove();
        this.rows.delete(name);
      }
    for (const [name, machine] of machines) {
      let row = this.rows.get(name);
      if (!row) {
        row = rowFor(name);
        this.rows.set(name, row);
        this.body.append(row.element);
      }
      row.update(machine);
    }
    this.table.hidden = machines.size === 0;
    this.empty.hidden = machines.size > 0;
  }

  show(): void {
    this.update();
    this.timer = setInterval(() => this.update(), PERIOD);
  }

  hide(): void {
    clearInterval(this.timer);
  }
}
