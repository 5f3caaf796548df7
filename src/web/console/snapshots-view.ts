/** Machines that were saved. */
import type { SnapshotInfo } from '../../api/schemas.js';
import { confirmed } from './dom.js';
import { formatBytes, formatMemory, formatTime } from './format.js';
import { ShelfView } from './shelf-view.js';
import { machineLink, type Session, type View } from './view.js';

export function snapshotsView(session: Session): View {
  const { client, feed, notices } = session;
  return new ShelfView<SnapshotInfo>(session, {
    title: 'Snapshots',
    empty: 'Nothing has been saved: a machine’s page has a button for it.',
    columns: ['Name', 'Of', 'Image', 'CPUs', 'Memory', 'Size', 'Saved'],
    events: ['snapshot', 'snapshot-removed'],
    list: () => client.snapshots(),
    cells: ({ name, machine, image = '–', cpus, memory, size, created }) => [
      name,
      machine,
      image,
      String(cpus),
      formatMemory(memory),
      formatBytes(size),
      formatTime(created),
    ],
    actions: ({ name }) => [
      {
        label: 'Restore',
        work: async () => {
          const machine = await client.create({ snapshot: name, wait: false });
          feed.add(machine);
          notices.say(`${name} goes on as`, { text: machine.name, href: machineLink(machine.name) });
        },
      },
      {
        label: 'Delete',
        danger: true,
        work: async () => {
          if (await confirmed(`Delete the snapshot ${name}?`, 'Delete')) await client.removeSnapshot(name);
        },
      },
    ],
  });
}
