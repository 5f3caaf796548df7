import { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { complete, quoteWord, splitLine, type Completions } from './completion.js';
import { SCRIPTS, SHELLS, type ShellName } from './completion-scripts.js';
import { VALUES } from './completion-values.js';

const isShell = (name: string): name is ShellName => SHELLS.some((shell) => shell === name);

/** `vitrine completion`: what has a shell complete the words of a command. */
export function completionCommand(): Command {
  return new Command('completion')
    .description('print a script that has bash, zsh or fish complete commands, options and names')
    .argument('<shell>', SHELLS.join(', '))
    .addHelpText(
      'after',
      `
To have it in every shell that begins:
  bash   echo 'source <(vitrine completion bash)' >> ~/.bashrc
  zsh    echo 'source <(vitrine completion zsh)' >> ~/.zshrc     (behind compinit)
  fish   vitrine completion fish > ~/.config/fish/completions/vitrine.fish`,
    )
    .action((shell: string) => {
      if (!isShell(shell))
        throw new UsageError(`there is no completion for ${shell}; there is for ${SHELLS.join(', ')}`);
      process.stdout.write(SCRIPTS[shell]);
    });
}

/**
 * bash takes a word apart at certain characters, most of all colons, and puts what is offered in the place of its last part;
 * what stands before it goes.
 */
function forBash({ candidates }: Completions, current: string, breaks: string): string[] {
  let start = 0;
  for (let i = 0; i < current.length; i++) if (breaks.includes(current[i])) start = i + 1;
  return candidates.map(({ value }) => quoteWord(value.slice(start)));
}

/** Characters of a word at which bash takes it apart, as far as they stand in words of ours. */
const DIVIDING = [':', '=', '@'];

/** What the scripts ask. It prints what could stand there, one on a line, and what else the shell is to do. */
export function completeCommand(program: Command): Command {
  return new Command('__complete')
    .argument('<shell>')
    .argument('[words...]')
    .action(async (shell: string, words: readonly string[]) => {
      let [before, current] = [words.slice(0, -1), words.at(-1) ?? ''];
      let breaks = '';
      if (shell === 'bash') {
        const [wordBreaks = '', line = ''] = words;
        breaks = DIVIDING.filter((one) => wordBreaks.includes(one)).join('');
        const all = splitLine(line);
        [before, current] = [all.slice(1, -1), all.at(-1) ?? ''];
      }
      const found = await complete(program, before, current, VALUES);
      const lines =
        shell === 'bash'
          ? forBash(found, current, breaks)
          : found.candidates.map(({ value, description = '' }) => `${value}\t${description}`);
      process.stdout.write([...lines, `:${found.directives.join(',')}`, ''].join('\n'));
    });
}
