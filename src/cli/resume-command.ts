import { Command } from 'commander';
import { runSession } from './session.js';

interface ResumeOptions {
  readonly reboot: boolean;
  readonly saveOnExit?: string;
  readonly debugcon?: string;
}

export function resumeCommand(): Command {
  return new Command('resume')
    .description('go on with a machine that was saved')
    .argument('<file>', 'what --save-on-exit wrote')
    .option('--no-reboot', 'a reset or triple fault of the guest ends the machine')
    .option(
      '--save-on-exit <file>',
      'when stopped by Ctrl-A x or a signal, save the machine there; may be the same file',
    )
    .option('--debugcon <file>', 'write what goes to ports 0xe9 and 0x402 to a file')
    .addHelpText(
      'after',
      `
The file holds all of the machine but its disks, which must be as they were. It stays as it
is, so that it can be resumed any number of times.`,
    )
    .action(resume);
}

async function resume(file: string, { reboot, saveOnExit, debugcon }: ResumeOptions): Promise<void> {
  process.exitCode = await runSession(
    { kind: 'resume', file, ...(!reboot && { noReboot: true }) },
    { console: 'serial', ...(saveOnExit !== undefined && { saveOnExit }), ...(debugcon !== undefined && { debugcon }) },
  );
}
