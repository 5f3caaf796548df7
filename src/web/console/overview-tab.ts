/** What a machine is, and charts of what it does. */
import type { MachineInfo, MachineMetrics } from '../../api/schemas.js';
import { Chart } from './chart.js';
import { el } from './dom.js';
import { formatBytes, formatCount, formatMemory, formatTime } from './format.js';
import { ratesBetween, usedMemory } from './measures.js';
import type { Session, View } from './view.js';

/** Milliseconds between two looks, and how many are shown: five minutes. */
const PERIOD = 2000;
const ROOM = 150;
/** More than any /proc/meminfo, in bytes. */
const MOST_MEMINFO = 65_536;

export class OverviewTab implements View {
  readonly element: HTMLElement;
  private readonly facts = el('dl', { className: 'facts' });
  private readonly failure = el('p', { className: 'failure', hidden: true });
  private readonly mips = new Chart({ label: 'MIPS', format: formatCount, room: ROOM });
  private readonly exits = new Chart({ label: 'Exits/s', format: formatCount, room: ROOM });
  private readonly processor = new Chart({
    label: 'Host CPU',
    format: (percent) => `${Math.round(percent)} %`,
    room: ROOM,
  });
  private readonly memory = new Chart({
    label: 'Memory',
    format: formatBytes,
    most: () => this.before?.memory,
    room: ROOM,
  });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private before: MachineMetrics | undefined;
  private machine: MachineInfo;
  private visible = false;

  constructor(
    private readonly session: Session,
    machine: MachineInfo,
  ) {
    this.machine = machine;
    const charts = [this.mips, this.exits, this.processor, this.memory];
    this.element = el(
      'div',
      {},
      this.failure,
      el('div', { className: 'charts' }, ...charts.map(({ element }) => element)),
      this.facts,
    );
  }

  show(): void {
    this.visible = true;
    void this.look();
  }

  hide(): void {
    this.visible = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    // What lies between would be taken for one moment.
    this.before = undefined;
  }

  close(): void {
    this.hide();
  }

  private async look(): Promise<void> {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.visible) void this.look();
    }, PERIOD);
    // Not while nobody sees the page.
    if (this.machine.state !== 'running' || document.hidden) {
      this.before = undefined;
      return;
    }
    try {
      const metrics = await this.session.client.metrics(this.machine.name);
      const rates = this.before && ratesBetween(this.before, metrics);
      this.before = metrics;
      if (!rates) return;
      this.mips.element.hidden = rates.mips === undefined;
      this.mips.add(rates.mips);
      this.exits.add(rates.exits);
      this.processor.add(rates.processor);
      this.memory.add(await this.readMemory());
    } catch {
      // It ends, or the connection does: the page says so elsewhere.
      this.before = undefined;
    }
  }

  private async readMemory(): Promise<number | undefined> {
    try {
      const parts: Uint8Array[] = [];
      const options = { offset: 0, length: MOST_MEMINFO };
      for await (const part of await this.session.client.readFile(this.machine.name, '/proc/meminfo', options))
        parts.push(part);
      return usedMemory(await new Blob(parts as Uint8Array<ArrayBuffer>[]).text());
    } catch {
      // Other guests than Linux have none.
      return undefined;
    }
  }

  /** It is not what it was. */
  update(machine: MachineInfo): void {
    this.machine = machine;
    const { exit, progress, state, command } = machine;
    this.failure.hidden = exit?.message === undefined;
    this.failure.textContent = exit?.message ?? '';
    const rows: [string, string | undefined][] = [
      ['State', progress === undefined ? state : `${state}: ${progress}`],
      ['Ended by', exit?.kind],
      ['Image', machine.image],
      ['Made from', machine.origin?.replace(':', ' ')],
      ['CPUs', String(machine.cpus)],
      ['Memory', formatMemory(machine.memory)],
      ['Accelerator', machine.accel],
      ['Screen', machine.display ? 'yes' : 'no'],
      ['Command', command?.line.join(' ')],
      ['Exit code', command?.exitCode === undefined ? undefined : String(command.exitCode)],
      ['Made', formatTime(machine.created)],
      ['Answered', machine.ready && formatTime(machine.ready)],
      ['Ended', machine.ended && formatTime(machine.ended)],
      ['Stopped at', machine.expires && formatTime(machine.expires)],
      [
        'Ports',
        machine.ports.map((port) => `${port.hostAddress}:${port.hostPort} → ${port.guestPort}`).join(', ') || undefined,
      ],
    ];
    this.facts.replaceChildren(
      ...rows.flatMap(([name, value]) => (value === undefined ? [] : [el('dt', {}, name), el('dd', {}, value)])),
    );
  }
}
