import { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { cacheRoot, DEFAULT_GUEST, fetchGuest, findGuest, targets } from '../guests/index.js';
import { interruptibleProgress } from './progress-line.js';

/** `vitrine guest`: operating systems to run, prepared from Debian's packages. */
export function guestCommand(): Command {
  const command = new Command('guest')
    .description("operating systems to run, prepared from Debian's packages")
    .addHelpText(
      'after',
      `
Guests are made from packages that this machine's own apt can download. Nothing is
installed, and root is not needed. They are kept in $XDG_CACHE_HOME/vitrine (else
~/.cache/vitrine), which may be deleted at any time.`,
    );
  command.command('list').description('list the guests, and which of them are prepared').action(list);
  command
    .command('fetch')
    .description('prepare guests, or bring them up to date')
    .argument('[name...]', 'guests as in the list', [DEFAULT_GUEST])
    .action(fetch);
  command
    .command('path')
    .description('print where a prepared guest is')
    .argument('<name>', 'a guest as in the list')
    .argument('[file]', 'one of its files, such as vmlinuz, vmlinux or initrd')
    .action(path);
  return command;
}

async function list(): Promise<void> {
  const cache = cacheRoot();
  const rows = [['NAME', 'PREPARED', 'WHAT IT IS']];
  for (const { name, description } of targets) {
    rows.push([name, (await findGuest(name, { cache }))?.version ?? '-', description]);
  }
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    console.log(row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell)).join('  '));
  }
}

async function fetch(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const { progress, done } = interruptibleProgress();
    const guest = await fetchGuest(name, { cache: cacheRoot(), progress }).finally(done);
    console.log(`${name} ${guest.version} is ready in ${guest.folder}`);
  }
}

async function path(name: string, file: string | undefined): Promise<void> {
  const guest = await findGuest(name, { cache: cacheRoot() });
  if (guest === undefined) throw new UsageError(`guest ${name} is not prepared; vitrine guest fetch ${name} does it`);
  if (file === undefined) {
    console.log(guest.folder);
    return;
  }
  const found = Object.hasOwn(guest.files, file) ? guest.files[file] : undefined;
  const names = Object.keys(guest.files).join(', ');
  if (found === undefined) throw new UsageError(`guest ${name} has no file ${file}; it has ${names}`);
  console.log(found);
}
