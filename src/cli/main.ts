#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { VitrineError } from '../base/errors.js';
import { completeCommand, completionCommand } from './completion-command.js';
import { cpCommand } from './cp-command.js';
import { diskCommand } from './disk-command.js';
import { execCommand, shellCommand } from './exec-command.js';
import { guestCommand } from './guest-command.js';
import { imageCommand } from './image-command.js';
import { infoCommand } from './info-command.js';
import {
  listCommand,
  logsCommand,
  pauseCommand,
  removeCommand,
  stopCommand,
  unpauseCommand,
} from './machine-commands.js';
import { resumeCommand } from './resume-command.js';
import { runCommand } from './run-command.js';
import { screenshotCommand } from './screenshot-command.js';
import { serveCommand, superviseCommand } from './serve-command.js';
import { forkCommand, restoreCommand, snapshotCommand } from './snapshot-commands.js';
import { topCommand } from './top-command.js';
import { productVersion } from './version.js';

/** One line on stderr, whatever the text. */
function complain(text: string): void {
  process.stderr.write(`vitrine: ${text.trim().replace(/\s*\n\s*/g, ' ')}\n`);
}

function createProgram(): Command {
  const program = new Command('vitrine')
    .description('Virtual machines you can npm install.')
    .version(productVersion(), '--version', 'print the version')
    .helpCommand(false)
    // What stands behind the machine in `vitrine exec MACHINE ls -l` belongs to ls.
    .enablePositionalOptions()
    .commandsGroup('Machines on this terminal:')
    .addCommand(runCommand())
    .addCommand(resumeCommand())
    .commandsGroup('Machines that run detached (run --detach):')
    .addCommand(listCommand())
    .addCommand(execCommand())
    .addCommand(shellCommand())
    .addCommand(cpCommand())
    .addCommand(logsCommand())
    .addCommand(stopCommand())
    .addCommand(removeCommand())
    .addCommand(pauseCommand())
    .addCommand(unpauseCommand())
    .addCommand(snapshotCommand())
    .addCommand(restoreCommand())
    .addCommand(forkCommand())
    .commandsGroup('What there is besides:')
    .addCommand(diskCommand())
    .addCommand(screenshotCommand())
    .addCommand(topCommand())
    .addCommand(guestCommand())
    .addCommand(imageCommand())
    .addCommand(serveCommand())
    .addCommand(superviseCommand(), { hidden: true })
    .addCommand(infoCommand())
    .addCommand(completionCommand())
    .addHelpText('after', '\nvitrine COMMAND --help tells more about each.');
  program.addCommand(completeCommand(program), { hidden: true });
  inherit(program);
  return program;
}

/** Subcommands that are made apart take over how errors are told. */
function inherit(command: Command): void {
  command.configureOutput({ outputError: (text) => complain(text.replace(/^error: /, '')) });
  command.exitOverride();
  for (const child of command.commands) inherit(child);
}

try {
  await createProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are printed already, and so is what is wrong.
    process.exitCode = error.exitCode;
  } else if (error instanceof VitrineError) {
    complain(error.message);
    process.exitCode = 1;
  } else {
    // A bug: everything that helps to find it.
    process.stderr.write(
      `vitrine: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exitCode = 70;
  }
}
