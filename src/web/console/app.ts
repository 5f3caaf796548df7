/** The console after the login: what is chosen in the address, behind the #, is shown. */
import { CreateView } from './create-view.js';
import { el } from './dom.js';
import { formatMemory } from './format.js';
import { imagesView } from './images-view.js';
import { MachineView } from './machine-view.js';
import { MachinesView } from './machines-view.js';
import { snapshotsView } from './snapshots-view.js';
import type { Session, View } from './view.js';

const PAGES = [
  ['', 'Machines', (session: Session): View => new MachinesView(session)],
  ['new', 'New machine', (session: Session): View => new CreateView(session)],
  ['snapshots', 'Snapshots', snapshotsView],
  ['images', 'Images', imagesView],
] as const;

/** What stands behind #/, in parts; what cannot be decoded is none. */
function partsOf(hash: string): string[] {
  try {
    return hash
      .replace(/^#?\/?/, '')
      .split('/')
      .map(decodeURIComponent);
  } catch {
    return [''];
  }
}

export class App {
  readonly element: HTMLElement;
  private readonly main = el('main', { id: 'main' });
  private readonly pages = new Map<string, View>();
  /** Those that have been looked at: their terminals stay connected. */
  private readonly machines = new Map<string, MachineView>();
  private readonly links = new Map<string, HTMLAnchorElement>();
  private readonly usage = el('span', { className: 'note usage' });
  private readonly offline = el(
    'div',
    { className: 'offline', hidden: true, attrs: { role: 'alert' } },
    'The server does not answer. Trying again …',
  );
  private shown: View | undefined;
  private readonly navigated = (): void => this.navigate(true);

  constructor(
    private readonly session: Session,
    logOut: () => void,
  ) {
    const { info, feed } = session;
    const leave = el('button', { type: 'button' }, 'Log out');
    leave.onclick = logOut;
    const links = PAGES.map(([path, label]) => {
      const link = el('a', { href: `#/${path}` }, label);
      this.links.set(path, link);
      return el('li', {}, link);
    });
    this.element = el(
      'div',
      {},
      el('a', { className: 'skip', href: '#main' }, 'To the content'),
      el(
        'header',
        { className: 'top' },
        el('h1', {}, 'Vitrine'),
        el('nav', { attrs: { 'aria-label': 'Pages' } }, el('ul', {}, ...links)),
        this.usage,
        el('span', { className: 'who', title: `Vitrine ${info.version}` }, info.tenant),
        leave,
      ),
      this.offline,
      this.main,
      session.notices.element,
    );
    // It would pass for a page.
    const skip = this.element.querySelector<HTMLAnchorElement>('.skip');
    if (skip)
      skip.onclick = (event) => {
        event.preventDefault();
        this.main.querySelector<HTMLElement>('h2')?.focus();
      };
    feed.connection.add((connected) => (this.offline.hidden = connected));
    feed.changed.add(() => this.changed());
    window.addEventListener('hashchange', this.navigated);
    this.navigate(false);
    this.changed();
  }

  private changed(): void {
    const { machines } = this.session.feed;
    const running = [...machines.values()].filter(({ state }) => state !== 'ended');
    const memory = running.reduce((sum, machine) => sum + machine.memory, 0);
    this.usage.textContent =
      running.length === 0 ? 'nothing runs' : `${running.length} running, ${formatMemory(memory)}`;
    for (const [name, view] of this.machines) {
      const machine = machines.get(name);
      if (machine) {
        view.update(machine);
        continue;
      }
      view.close();
      this.machines.delete(name);
      if (this.shown === view) location.hash = '#/';
    }
    // It was asked for before it was told of.
    if (!this.shown) this.navigate(false);
  }

  private find(): View | undefined {
    const [page = '', name = ''] = partsOf(location.hash);
    for (const [path, link] of this.links) {
      const current = path === page || (page === 'machines' && path === '');
      if (current) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    if (page === 'machines') return this.findMachine(name);
    let view = this.pages.get(page);
    const make = PAGES.find(([path]) => path === page)?.[2];
    if (!view && make) {
      view = make(this.session);
      this.pages.set(page, view);
    }
    return view;
  }

  private findMachine(name: string): View | undefined {
    let view = this.machines.get(name);
    const machine = this.session.feed.machines.get(name);
    if (!view && machine) {
      view = new MachineView(this.session, machine);
      this.machines.set(name, view);
    }
    return view;
  }

  /** `focus`: the heading of what is shown gets it, so that it is read out. */
  private navigate(focus: boolean): void {
    const view = this.find();
    if (view === this.shown && view) return;
    this.shown?.hide?.();
    this.shown = view;
    if (!view) {
      this.main.replaceChildren(
        el('p', {}, 'There is nothing of that name. ', el('a', { href: '#/' }, 'All machines')),
      );
      return;
    }
    this.main.replaceChildren(view.element);
    if (focus) view.element.querySelector<HTMLElement>('h2')?.focus();
    view.show?.();
  }

  close(): void {
    window.removeEventListener('hashchange', this.navigated);
    this.shown?.hide?.();
    for (const view of [...this.pages.values(), ...this.machines.values()]) view.close?.();
    this.session.feed.close();
  }
}
