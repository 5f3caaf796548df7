/** Ports of the server's host that lead into a machine: those that are open, and how others come. */
import type { MachineInfo, PortRequest } from '../../api/schemas.js';
import { button, el, enable, field } from './dom.js';
import { portUrl } from './guest-path.js';
import type { Session, View } from './view.js';

const COLUMNS = ['Port of the guest', 'Address'] as const;

const portField = (name: string, placeholder: string, required: boolean): HTMLInputElement =>
  el('input', { name, type: 'number', min: '1', max: '65535', step: '1', placeholder, required });

export class PortsTab implements View {
  readonly element: HTMLElement;
  private readonly body = el('tbody');
  private readonly table: HTMLTableElement;
  private readonly empty = el('p', {}, 'No port is open.');
  private readonly guestPort = portField('guestPort', '80', true);
  private readonly hostPort = portField('hostPort', 'any', false);
  private readonly submit = el('button', { type: 'submit' }, 'Open');
  private shown = '';

  constructor(
    private readonly session: Session,
    private readonly name: string,
    machine: MachineInfo,
  ) {
    const head = el('tr', {}, ...[...COLUMNS, ''].map((label) => el('th', { scope: 'col' }, label)));
    this.table = el('table', {}, el('caption', {}, 'Open ports'), el('thead', {}, head), this.body);
    const form = el(
      'form',
      { className: 'line' },
      field('Port of the guest', this.guestPort),
      field("Port of the server's host", this.hostPort),
      this.submit,
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      enable(this.submit, false);
      this.open()
        .then(() => form.reset(), session.notices.failed)
        .finally(() => enable(this.submit, true));
    };
    this.element = el('div', {}, form, this.empty, this.table);
    this.update(machine);
  }

  private async open(): Promise<void> {
    const { client, notices } = this.session;
    const request: PortRequest = {
      guestPort: this.guestPort.valueAsNumber,
      ...(this.hostPort.value !== '' && { hostPort: this.hostPort.valueAsNumber }),
    };
    const { hostAddress, hostPort, guestPort } = await client.openPort(this.name, request);
    notices.say(`Port ${guestPort} of ${this.name} is reached at ${hostAddress}, port ${hostPort}.`);
  }

  /** It is not what it was. */
  update({ ports, state }: MachineInfo): void {
    enable(this.submit, state === 'running');
    // What has the focus stays where nothing has changed.
    const now = JSON.stringify(ports);
    if (now === this.shown) return;
    this.shown = now;
    this.table.hidden = ports.length === 0;
    this.empty.hidden = ports.length > 0;
    this.body.replaceChildren(
      ...ports.map((port) => {
        const { id, guestPort, hostAddress, hostPort } = port;
        const href = portUrl(port, location.hostname);
        const link = el(
          'a',
          { href, target: '_blank', rel: 'noopener noreferrer' },
          hostAddress.includes(':') ? `[${hostAddress}]:${hostPort}` : `${hostAddress}:${hostPort}`,
        );
        const close = button(
          'Close',
          async () => {
            await this.session.client.closePort(this.name, id);
            this.guestPort.focus();
          },
          this.session.notices.failed,
          'danger',
        );
        close.setAttribute('aria-label', `Close the port that leads to ${guestPort}`);
        return el(
          'tr',
          {},
          el('th', { scope: 'row' }, String(guestPort)),
          el('td', { attrs: { 'data-label': COLUMNS[1] } }, link),
          el('td', { className: 'actions' }, close),
        );
      }),
    );
  }
}
