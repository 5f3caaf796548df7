/** A form for a new machine. */
import type { MachineRequest } from '../../api/schemas.js';
import { el, field } from './dom.js';
import { parseReachable } from './reachable.js';
import { machineLink, type Session, type View } from './view.js';

export class CreateView implements View {
  readonly element: HTMLElement;
  private readonly images = el('datalist', { id: 'known-images' });
  private readonly name = el('input', {
    name: 'name',
    autocomplete: 'off',
    pattern: '[A-Za-z0-9][A-Za-z0-9_.\\-]{0,62}',
    title: 'letters, digits, _ . and -, 63 at most, the first a letter or a digit',
    placeholder: 'made up',
  });
  private readonly image = el('input', {
    name: 'image',
    autocomplete: 'off',
    placeholder: 'none',
    attrs: { list: 'known-images' },
  });
  private readonly guest = el('input', { name: 'guest', autocomplete: 'off', placeholder: 'amd64' });
  private readonly memory = el('input', {
    name: 'memory',
    type: 'number',
    min: '16',
    step: '1',
    value: '512',
    required: true,
  });
  private readonly cpus = el('input', {
    name: 'cpus',
    type: 'number',
    min: '1',
    max: '16',
    value: '1',
    required: true,
  });
  private readonly accel: HTMLSelectElement;
  private readonly network = el(
    'select',
    { name: 'network' },
    el('option', { value: 'all' }, 'all that the server allows'),
    el('option', { value: 'some' }, 'only what is named'),
    el('option', { value: 'none' }, 'none'),
  );
  private readonly reachable = el('input', {
    name: 'reachable',
    autocomplete: 'off',
    placeholder: 'example.org:80, example.net',
  });
  private readonly display = el(
    'select',
    { name: 'display' },
    el('option', { value: '' }, 'none'),
    el('option', { value: 'std' }, 'VGA'),
    el('option', { value: 'virtio' }, 'virtio GPU'),
  );
  private readonly warm = el('input', { name: 'warm', type: 'checkbox', checked: true });
  private readonly submit = el('button', { type: 'submit', className: 'main' }, 'Create');

  constructor(private readonly session: Session) {
    const accelerators = session.info.accelerators.map((name) => el('option', { value: name }, name));
    this.accel = el('select', { name: 'accel' }, el('option', { value: '' }, 'the best that works'), ...accelerators);
    const reachable = field(
      'May reach',
      this.reachable,
      'Names or addresses, each with :PORT or not, with commas between',
    );
    const showReachable = (): void => {
      reachable.hidden = this.network.value !== 'some';
    };
    this.network.onchange = showReachable;
    showReachable();
    const form = el(
      'form',
      {},
      field('Name', this.name),
      field('Image', this.image, 'A container image, such as debian:12; without one, a small Linux'),
      field('Guest', this.guest, 'Whose kernel boots'),
      field('Memory (MiB)', this.memory),
      field('CPUs', this.cpus),
      field('Accelerator', this.accel),
      field('Network', this.network),
      reachable,
      field('Screen', this.display, 'With a keyboard and a mouse'),
      field('Warm', this.warm, 'Begins with a saved machine of the same kind, made the first time'),
      this.submit,
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit.disabled = true;
      this.create()
        .catch(session.notices.failed)
        .finally(() => (this.submit.disabled = false));
    };
    this.element = el('section', {}, el('h2', { tabIndex: -1 }, 'New machine'), form, this.images);
  }

  private request(): MachineRequest {
    const { name, image, guest, accel, network } = this;
    const net =
      network.value === 'none'
        ? false
        : network.value === 'some'
          ? { restrict: true, allow: parseReachable(this.reachable.value) }
          : undefined;
    return {
      ...(name.value !== '' && { name: name.value }),
      ...(image.value.trim() !== '' && { image: image.value.trim() }),
      ...(guest.value.trim() !== '' && { guest: guest.value.trim() }),
      memory: this.memory.valueAsNumber,
      cpus: this.cpus.valueAsNumber,
      // The server says which ones there are.
      ...(accel.value !== '' && { accel: accel.value as NonNullable<MachineRequest['accel']> }),
      ...(net !== undefined && { net }),
      // The form offers no others.
      ...(this.display.value !== '' && { display: this.display.value as 'std' | 'virtio' }),
      ...(this.warm.checked && { warm: true }),
      // Its page shows how it comes up.
      wait: false,
    };
  }

  private async create(): Promise<void> {
    const machine = await this.session.client.create(this.request());
    this.session.feed.add(machine);
    this.name.value = '';
    location.hash = machineLink(machine.name);
  }

  show(): void {
    this.session.client
      .images()
      .then(
        (images) => this.images.replaceChildren(...images.map(({ name }) => el('option', { value: name }))),
        this.session.notices.failed,
      );
  }
}
