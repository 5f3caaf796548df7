import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { isDetached } from './machine-client.js';
import { addSessionOptions, readSessionOptions, type RawSessionOptions } from './session-options.js';

interface ResumeOptions extends RawSessionOptions {
  readonly reboot: boolean;
  readonly forceCpu?: boolean;
}

export function resumeCommand(): Command {
  const command = new Command('resume')
    .description('go on with a machine that was saved')
    .argument('<file>', 'what --save-on-exit wrote')
    .option('--force-cpu', 'also where the guest would miss features of the processor that it has seen')
    .option('--no-reboot', 'a reset or triple fault of the guest ends the machine');
  return addSessionOptions(command)
    .addHelpText(
      'after',
      `
The file holds all of the machine but its disks, which must be as they were. It stays as it
is, so that it can be resumed any number of times; --save-on-exit may name it again.`,
    )
    .action(resume);
}

async function resume(file: string, options: ResumeOptions): Promise<void> {
  if (!existsSync(file) && (await isDetached(file)))
    throw new UsageError(`${file} is no file but a machine: vitrine unpause ${file} lets it go on`);
  const session = readSessionOptions(options);
  const { runSession } = await import('./session.js');
  process.exitCode = await runSession(
    { kind: 'resume', file, ...(!options.reboot && { noReboot: true }), ...(options.forceCpu && { forceCpu: true }) },
    session,
  );
}
