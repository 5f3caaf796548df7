#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { VitrineError } from '../base/errors.js';
import { reasonOf } from '../host/node/read-file.js';
import { productVersion } from './version.js';

/** One line on stderr, whatever the text. */
function complain(text: string): void {
  process.stderr.write(`vitrine: ${text.trim().replace(/\s*\n\s*/g, ' ')}\n`);
}

/** What a program that writes to a pipe ends with when SIGPIPE ends it, as shells tell: 128 and the signal's number. */
const BROKEN_PIPE = 141;

/** Nobody reads on, or the disk is full: nothing that would be printed can be. Commands that have more to end look for it themselves. */
function outputFailed(error: NodeJS.ErrnoException): void {
  if (process.stdout.listenerCount('error') > 1) return;
  if (error.code !== 'EPIPE') complain(`cannot write the output: ${reasonOf(error)}`);
  process.exit(error.code === 'EPIPE' ? BROKEN_PIPE : 1);
}

/** A file that the host refuses, where nobody has said it in better words: no bug. */
function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'syscall' in error && 'path' in error)) return undefined;
  return `cannot use ${String(error.path)}: ${reasonOf(error)} (${String(error.syscall)})`;
}

/** How a command is made; what it is made of is loaded then. */
type Maker = () => Promise<Command>;

/** The commands, by the headings of the help text. */
const GROUPS: Readonly<Record<string, Readonly<Record<string, Maker>>>> = {
  'Machines on this terminal:': {
    run: async () => (await import('./run-command.js')).runCommand(),
    resume: async () => (await import('./resume-command.js')).resumeCommand(),
  },
  'Machines that run detached (run --detach):': {
    ls: async () => (await import('./machine-commands.js')).listCommand(),
    exec: async () => (await import('./exec-command.js')).execCommand(),
    shell: async () => (await import('./exec-command.js')).shellCommand(),
    cp: async () => (await import('./cp-command.js')).cpCommand(),
    logs: async () => (await import('./machine-commands.js')).logsCommand(),
    stop: async () => (await import('./machine-commands.js')).stopCommand(),
    rm: async () => (await import('./machine-commands.js')).removeCommand(),
    pause: async () => (await import('./machine-commands.js')).pauseCommand(),
    unpause: async () => (await import('./machine-commands.js')).unpauseCommand(),
    snapshot: async () => (await import('./snapshot-commands.js')).snapshotCommand(),
    restore: async () => (await import('./snapshot-commands.js')).restoreCommand(),
    fork: async () => (await import('./snapshot-commands.js')).forkCommand(),
  },
  'What there is besides:': {
    disk: async () => (await import('./disk-command.js')).diskCommand(),
    screenshot: async () => (await import('./screenshot-command.js')).screenshotCommand(),
    top: async () => (await import('./top-command.js')).topCommand(),
    guest: async () => (await import('./guest-command.js')).guestCommand(),
    image: async () => (await import('./image-command.js')).imageCommand(),
    serve: async () => (await import('./serve-command.js')).serveCommand(),
    info: async () => (await import('./info-command.js')).infoCommand(),
    completion: async () => (await import('./completion-command.js')).completionCommand(),
  },
};

/** Commands that other programs give. */
const HIDDEN: Readonly<Record<string, (program: Command) => Promise<Command>>> = {
  supervise: async () => (await import('./serve-command.js')).superviseCommand(),
  __complete: async (program) => (await import('./completion-command.js')).completeCommand(program),
};

/** The whole of it, or with one command alone: loading them all takes longer than many of them do. */
async function createProgram(only?: string): Promise<Command> {
  const program = new Command('vitrine')
    .description('Virtual machines you can npm install.')
    .version(productVersion(), '--version', 'print the version')
    .helpCommand(false)
    // What stands behind the machine in `vitrine exec MACHINE ls -l` belongs to ls.
    .enablePositionalOptions();
  const isWanted = (name: string): boolean => only === undefined || only === name;
  for (const [heading, commands] of Object.entries(GROUPS)) {
    program.commandsGroup(heading);
    for (const [name, make] of Object.entries(commands)) if (isWanted(name)) program.addCommand(await make());
  }
  program.addHelpText('after', '\nvitrine COMMAND --help tells more about each.');
  for (const [name, make] of Object.entries(HIDDEN))
    if (isWanted(name)) program.addCommand(await make(program), { hidden: true });
  inherit(program);
  return program;
}

/** The command that the words give, when they begin with one; completion looks at all of them. */
function commandOf([, , first]: readonly string[]): string | undefined {
  const known = [...Object.values(GROUPS), HIDDEN].flatMap((commands) => Object.keys(commands));
  return first === '__complete' ? undefined : known.find((name) => name === first);
}

/** Subcommands that are made apart take over how errors are told. */
function inherit(command: Command): void {
  command.configureOutput({ outputError: (text) => complain(text.replace(/^error: /, '')) });
  command.exitOverride();
  for (const child of command.commands) inherit(child);
}

process.stdout.on('error', outputFailed);
process.stderr.on('error', () => {});
try {
  const program = await createProgram(commandOf(process.argv));
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are printed already, and so is what is wrong.
    process.exitCode = error.exitCode;
  } else if (error instanceof VitrineError || refusalOf(error) !== undefined) {
    complain(refusalOf(error) ?? (error as VitrineError).message);
    process.exitCode = 1;
  } else {
    // A bug: everything that helps to find it.
    process.stderr.write(
      `vitrine: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exitCode = 70;
  }
}
