/** One machine: what can be done with it, and tabs of what it shows. */
import type { MachineInfo } from '../../api/schemas.js';
import { DisplayView } from './display-view.js';
import { button, confirmed, el, enable } from './dom.js';
import { stamp } from './format.js';
import { FilesTab } from './files-tab.js';
import { serialOf, shellOf } from './links.js';
import { LogTab } from './log-tab.js';
import { OverviewTab } from './overview-tab.js';
import { PortsTab } from './ports-tab.js';
import { Tabs } from './tabs.js';
import { TerminalView } from './terminal-view.js';
import { machineLink, type Session, type View } from './view.js';

/** Characters that names of machines and snapshots may have. */
const MOST_NAME = 63;

/** Why a terminal or a screen is not to be had, by what the machine does. */
const BLOCKED: Readonly<Record<MachineInfo['state'], string>> = {
  starting: 'the machine is starting',
  running: 'the machine is running',
  paused: 'the machine is paused',
  ended: 'the machine has ended; what it wrote is in its log',
};

export class MachineView implements View {
  readonly element: HTMLElement;
  private readonly tabs: Tabs;
  private readonly state = el('span', { className: 'state' });
  private readonly overview: OverviewTab;
  private ports: PortsTab | undefined;
  private visible = false;
  private hasDisplay = false;
  private readonly actions: { readonly button: HTMLButtonElement; readonly when: readonly MachineInfo['state'][] }[] =
    [];

  constructor(
    private readonly session: Session,
    private machine: MachineInfo,
  ) {
    const { name } = machine;
    const { client } = session;
    const { leave } = this;
    this.overview = new OverviewTab(session, machine);
    this.tabs = new Tabs(`Machine ${name}`);
    this.tabs.add('overview', 'Overview', () => this.overview);
    const terminal = { connect: shellOf(client, name), fits: true, leave, blocked: () => this.blocked('running') };
    this.tabs.add('terminal', 'Terminal', () => new TerminalView({ ...terminal, label: `Shell in ${name}` }));
    const blocked = (): string | undefined => this.blocked('running', 'paused');
    const serial = { connect: serialOf(client, name), fits: false, leave, blocked };
    this.tabs.add('serial', 'Serial port', () => new TerminalView({ ...serial, label: `Serial port of ${name}` }));
    this.tabs.add('log', 'Log', () => new LogTab(session, name, this.machine.command !== undefined));
    this.tabs.add('files', 'Files', () => new FilesTab(session, name, () => this.blocked('running')));
    this.tabs.add('ports', 'Ports', () => (this.ports = new PortsTab(session, name, this.machine)));
    this.tabs.choose('overview');
    this.element = el(
      'section',
      {},
      el('header', { className: 'title' }, el('h2', { tabIndex: -1 }, name), this.state),
      el(
        'div',
        { className: 'actions', attrs: { role: 'group', 'aria-label': 'What can be done with it' } },
        ...this.buttons(),
      ),
      this.tabs.element,
    );
    this.update(machine);
  }

  /** Where a key leads to from what takes all others. */
  private readonly leave = (): void => this.tabs.focus();

  /** Why something that needs one of these states is not to be had now; undefined: it is. */
  private blocked(...states: readonly MachineInfo['state'][]): string | undefined {
    const { state } = this.machine;
    return states.includes(state) ? undefined : BLOCKED[state];
  }

  /** Of a machine that comes from a snapshot it is known only when it is there whether it has a screen. */
  private addDisplay(): void {
    const { client, notices } = this.session;
    const { name } = this.machine;
    const blocked = (): string | undefined => this.blocked('running', 'paused');
    this.hasDisplay = true;
    this.tabs.add('display', 'Display', () => new DisplayView(client, name, blocked, this.leave, notices.failed));
  }

  private buttons(): HTMLButtonElement[] {
    const { client, notices, feed } = this.session;
    const { name } = this.machine;
    const there = ['running', 'paused'] as const;
    const add = (
      label: string,
      when: readonly MachineInfo['state'][],
      work: () => Promise<unknown>,
      className = '',
    ): HTMLButtonElement => {
      const made = button(label, work, notices.failed, className);
      this.actions.push({ button: made, when });
      return made;
    };
    return [
      add('Fork', ['running'], async () => {
        const fork = await client.fork(name);
        feed.add(fork);
        notices.say(`${name} was forked:`, { text: fork.name, href: machineLink(fork.name) });
      }),
      add('Snapshot', there, async () => {
        const ending = `-${stamp()}`;
        const saved = await client.snapshot(name, { name: name.slice(0, MOST_NAME - ending.length) + ending });
        notices.say(`${name} was saved:`, { text: saved.name, href: '#/snapshots' });
      }),
      add('Pause', ['running'], () => client.pause(name)),
      add('Resume', ['paused'], () => client.resume(name)),
      add('Reset', ['running'], async () => {
        if (await confirmed(`Reset ${name}? What its programs have not saved is lost.`, 'Reset'))
          await client.reset(name);
      }),
      add('Shut down', there, () => client.shutdown(name)),
      add('Stop', ['starting', ...there], () => client.stop(name)),
      add(
        'Delete',
        ['starting', 'ended', ...there],
        async () => {
          if (this.machine.state === 'ended' || (await confirmed(`Stop and delete ${name}?`, 'Delete'))) {
            await client.remove(name);
            notices.say(`${name} was deleted.`);
          }
        },
        'danger',
      ),
    ];
  }

  /** It is not what it was. */
  update(machine: MachineInfo): void {
    const before = this.machine.state;
    this.machine = machine;
    const { state, progress, display } = machine;
    if (display && !this.hasDisplay) this.addDisplay();
    this.state.textContent = progress === undefined ? state : `${state}: ${progress}`;
    this.state.dataset['state'] = state;
    for (const { button: one, when } of this.actions) enable(one, when.includes(state));
    this.overview.update(machine);
    this.ports?.update(machine);
    // What waited for it is connected.
    if (before !== state && this.visible) this.tabs.show();
  }

  show(): void {
    this.visible = true;
    this.tabs.show();
  }

  hide(): void {
    this.visible = false;
    this.tabs.hide();
  }

  close(): void {
    this.hide();
    this.tabs.close();
  }
}
