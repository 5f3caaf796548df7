/** Container images: those that are here, and how others come. */
import type { ImageInfo } from '../../api/schemas.js';
import { confirmed, el, field } from './dom.js';
import { formatBytes, formatTime } from './format.js';
import { ShelfView } from './shelf-view.js';
import type { Session, View } from './view.js';

/** Pulls that are under way, each with a way to take it back. */
function pullForm({ client, feed, notices }: Session): readonly HTMLElement[] {
  const name = el('input', { name: 'image', required: true, autocomplete: 'off', placeholder: 'debian:12' });
  const pulls = el('ul', { className: 'pulls' });
  const form = el('form', { className: 'line' }, field('Image', name), el('button', { type: 'submit' }, 'Pull'));

  const pull = async (image: string): Promise<void> => {
    const going = new AbortController();
    const state = el('span', { className: 'note', attrs: { role: 'status' } });
    const bar = el('progress', { max: 100, attrs: { 'aria-label': `Pulling ${image}` } });
    const cancel = el('button', { type: 'button' }, 'Cancel');
    const item = el('li', {}, el('strong', {}, image), bar, state, cancel);
    cancel.onclick = () => going.abort();
    const quiet = feed.news.add((event) => {
      if (event.type !== 'image-progress' || event.name !== image) return;
      state.textContent = event.progress ?? '';
      const percent = /(\d+) %$/.exec(event.progress ?? '')?.[1];
      if (percent === undefined) bar.removeAttribute('value');
      else bar.value = Number(percent);
    });
    pulls.append(item);
    try {
      await client.pullImage(image, { signal: going.signal });
      notices.say(`${image} is here.`);
    } finally {
      quiet();
      item.remove();
    }
  };

  form.onsubmit = (event) => {
    event.preventDefault();
    const image = name.value.trim();
    form.reset();
    if (image !== '') pull(image).catch(notices.failed);
  };
  return [form, pulls];
}

export function imagesView(session: Session): View {
  const { client } = session;
  return new ShelfView<ImageInfo>(
    session,
    {
      title: 'Images',
      empty: 'No image is here. Those that machines are made of are pulled by themselves, too.',
      columns: ['Name', 'Platform', 'Size', 'Pulled', 'Digest'],
      events: ['image', 'image-removed'],
      list: () => client.images(),
      cells: ({ name, platform, size, pulled, digest }) => [
        name,
        platform,
        formatBytes(size),
        formatTime(pulled),
        el('code', { title: digest }, digest.slice(0, 19)),
      ],
      actions: ({ name }) => [
        {
          label: 'Delete',
          danger: true,
          work: async () => {
            if (await confirmed(`Delete the image ${name}?`, 'Delete')) await client.removeImage(name);
          },
        },
      ],
    },
    ...pullForm(session),
  );
}
