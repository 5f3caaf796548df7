/** Commands that save machines which run detached, go on with them, and make two of one. */
import path from 'node:path';
import { Command } from 'commander';
import type { MachineInfo, MachineRequest } from '../api/schemas.js';
import { ask, askOrStart, printJson, untilInterrupted } from './machine-client.js';
import { checkMachineName } from '../runtime/node/registry.js';

interface JsonOption {
  readonly json?: boolean;
}

const JSON_OPTION = ['--json', 'as JSON'] as const;

/** A name, unless a path was meant. */
const isPath = (text: string): boolean => text.includes('/') || text.endsWith('.snap');

function tell(machine: MachineInfo, json: boolean | undefined): void {
  if (json) printJson(machine);
  else process.stdout.write(`${machine.name}\n`);
}

export function snapshotCommand(): Command {
  return new Command('snapshot')
    .description('save a machine, which goes on')
    .argument('<machine>', 'its name')
    .argument('[snapshot]', 'what the snapshot is called; or a file, FILE.snap or with a slash in it')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
All of the machine is saved but its disks. vitrine ls --snapshots lists snapshots, vitrine restore
goes on with one, vitrine rm --snapshot removes it. A file can be resumed on a terminal, too
(vitrine resume), and by programs (Vm.restore).`,
    )
    .action(async (name: string, to: string | undefined, { json }: JsonOption) => {
      const wanted =
        to ??
        `${name}-${new Date()
          .toISOString()
          .replace(/\.\d+Z$/, '')
          .replaceAll(/[-:]/g, '')
          .replace('T', '-')}`;
      const request = isPath(wanted) ? { file: path.resolve(wanted) } : { name: checkMachineName(wanted, 'snapshot') };
      const made = await ask(name, (client) => client.snapshot(name, request));
      if (json) printJson(made);
      else process.stdout.write(`${'file' in request ? wanted : made.name}\n`);
    });
}

interface RestoreOptions extends JsonOption {
  readonly name?: string;
  readonly rm?: boolean;
}

export function restoreCommand(): Command {
  return new Command('restore')
    .description('go on with a machine that was saved, detached')
    .argument('<snapshot>', 'its name in vitrine ls --snapshots; or a file, FILE.snap or with a slash in it')
    .option('--name <name>', 'what the machine is called; otherwise a name is made up')
    .option('--rm', 'remove it when it has ended')
    .option(...JSON_OPTION)
    .action(async (snapshot: string, { name, rm, json }: RestoreOptions) => {
      const request: MachineRequest = {
        ...(isPath(snapshot)
          ? { snapshotFile: path.resolve(snapshot) }
          : { snapshot: checkMachineName(snapshot, 'snapshot') }),
        ...(name !== undefined && { name: checkMachineName(name) }),
        ...(rm && { remove: true }),
      };
      await untilInterrupted(async (signal) => {
        tell(await askOrStart(undefined, (client) => client.create(request, { signal })), json);
      });
    });
}

export function forkCommand(): Command {
  return new Command('fork')
    .description('make a second machine of one that runs, with everything in it')
    .argument('<machine>', 'its name')
    .argument('[name]', 'what the second one is called; otherwise a name is made up')
    .option('--rm', 'remove it when it has ended')
    .option(...JSON_OPTION)
    .action(async (machine: string, name: string | undefined, { rm, json }: JsonOption & { readonly rm?: boolean }) => {
      const request = { ...(name !== undefined && { name: checkMachineName(name) }), ...(rm && { remove: true }) };
      tell(await ask(machine, (client) => client.fork(machine, request)), json);
    });
}
