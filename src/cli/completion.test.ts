/** Completion: what is offered, and the shells that ask for it. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onTerminal, type TerminalStep } from '../testing/on-terminal.js';
import { describeWith, requireTool } from '../testing/tools.js';
import { complete, quoteWord, splitLine, type Completions } from './completion.js';

const [python, bash, zsh, fish] = await Promise.all(
  ['python3', 'bash', 'zsh', 'fish'].map((name) => requireTool(name)),
);
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-completion-'));
const env = {
  XDG_RUNTIME_DIR: path.join(folder, 'run'),
  XDG_CACHE_HOME: path.join(folder, 'cache'),
  HOME: folder,
  PATH: `${folder}/bin:${process.env['PATH'] ?? ''}`,
  TERM: 'xterm',
};
beforeAll(() => {
  mkdirSync(path.join(folder, 'bin'));
  mkdirSync(path.join(folder, 'run'), { mode: 0o700 });
  const file = path.join(folder, 'bin/vitrine');
  writeFileSync(file, `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`);
  chmodSync(file, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('words that are offered', () => {
  const program = new Command('vitrine')
    .helpCommand(false)
    .addCommand(
      new Command('run')
        .description('run it')
        .argument('[image]')
        .argument('[command...]')
        .option('-v, --volume <folder:place>', 'a folder')
        .option('--kernel <file>', 'a kernel')
        .option('--rm', 'remove'),
    )
    .addCommand(new Command('exec').argument('<machine>').argument('<command...>').option('-e, --env <name>', 'x'))
    .addCommand(new Command('image').helpCommand(false).addCommand(new Command('rm').argument('<name...>')))
    .addCommand(new Command('secret'), { hidden: true });
  const places: string[] = [];
  const ask = (line: string): Promise<Completions> => {
    const words = splitLine(line);
    places.length = 0;
    return complete(program, words.slice(1, -1), words.at(-1) ?? '', {
      values: (place) => {
        places.push(place);
        return Promise.resolve({ candidates: [{ value: 'one' }, { value: 'two:x' }], directives: ['files'] });
      },
    });
  };
  const offered = async (line: string): Promise<string[]> => (await ask(line)).candidates.map(({ value }) => value);

  it.each([
    ['vitrine ', ['run', 'exec', 'image']],
    ['vitrine r', ['run']],
    ['vitrine image ', ['rm']],
    ['vitrine run --', ['--volume', '--kernel', '--rm', '--help']],
    ['vitrine run --r', ['--rm']],
    ['vitrine run --rm=', []],
    ['vitrine run --nonsense=', []],
    ['vitrine exec box --', []],
    ['cd /; vitrine exec box x --e', []],
    ['vitrine exec --e', ['--env']],
  ])('%s', async (line, expected) => {
    expect(await offered(line)).toEqual(expected);
  });

  it.each([
    ['vitrine run ', 'run <image>', ['one', 'two:x']],
    ['vitrine run t', 'run <image>', ['two:x']],
    ['vitrine run -v ', 'run --volume <folder:place>', ['one', 'two:x']],
    ['vitrine run -v x --kernel ', 'run --kernel <file>', ['one', 'two:x']],
    ['vitrine run --kernel=o', 'run --kernel <file>', ['--kernel=one']],
    ['vitrine run -v x ', 'run <image>', ['one', 'two:x']],
    ['vitrine run --rm image -- ', 'run <command>', ['one', 'two:x']],
    ['vitrine exec -e A ', 'exec <machine>', ['one', 'two:x']],
    ['vitrine image rm one ', 'image rm <name>', ['one', 'two:x']],
  ])('%s: from %s', async (line, place, expected) => {
    expect(await offered(line)).toEqual(expected);
    expect(places).toEqual([place]);
  });

  it('are read as a shell reads them', () => {
    expect(splitLine(`a "b \\" c" 'd e'f g\\ h ""`)).toEqual(['a', 'b " c', 'd ef', 'g h', '']);
    expect(splitLine('x | vitrine ')).toEqual(['vitrine', '']);
    expect(splitLine('vitrine "run')).toEqual(['vitrine', 'run']);
    expect(quoteWord('oci:a/b@c')).toBe('oci:a/b@c');
    expect(quoteWord('a b$')).toBe('a\\ b\\$');
  });
});

/** What a shell shows of lines that are typed, each until what is expected stands there. */
async function type(
  shell: readonly string[],
  start: string,
  lines: readonly (readonly [string, string])[],
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  const steps: TerminalStep[] = [
    ['send', `${start}; echo REA''DY\n`],
    ['expect', 'READY'],
    ...lines.flatMap(([line, expected]): TerminalStep[] => [
      ['send', line],
      ['expect', expected],
      ['send', '\x15'],
    ]),
    ['send', 'echo al""l; exit\n'],
  ];
  return (await onTerminal(python, steps, shell, { seconds: 60, env: { ...env, ...more } })).seen;
}

/** A line that is typed, and what stands there behind Tab. */
const TYPED: readonly (readonly [string, string])[] = [
  ['vitrine resu\t', 'vitrine resume '],
  ['vitrine run --sav\t', '--save-on-exit '],
  ['vitrine top --o\t', '--once '],
];

describeWith([python, bash], 'bash', () => {
  it('completes commands, options and names', async () => {
    const seen = await type([bash.path, '--norc', '--noprofile', '-i'], 'source <(vitrine completion bash)', TYPED);
    expect(seen).toMatch(/all\r?\n/);
  });
});

describeWith([python, zsh], 'zsh', () => {
  it('completes commands, options and names', async () => {
    // One that was unpacked looks for its modules and functions where it would have been installed.
    const tree = path.resolve(zsh.path, zsh.path.includes('/usr/') ? '../../..' : '../..');
    const own =
      tree === '/'
        ? ''
        : `module_path=(${tree}/usr/lib/*/zsh/*(/N))\nfpath=(${tree}/usr/share/zsh/functions/**/*(/N))\n`;
    writeFileSync(path.join(folder, '.zshenv'), own);
    const start = 'autoload -U compinit; compinit -u -D; source <(vitrine completion zsh)';
    const seen = await type(
      [zsh.path, '-d', '-i'],
      start,
      // Its line editor writes other things between words.
      TYPED.map(([line, whole]) => [line, whole.trim().replace('vitrine ', '')]),
      { ZDOTDIR: folder, ...zsh.env },
    );
    expect(seen).toMatch(/all\r?\n/);
  });
});

describeWith([fish], 'fish', () => {
  it('completes commands, options and names', async () => {
    const offered = TYPED.map(([line]) => `complete -C "${line.trimEnd()}"`).join('; ');
    const { stdout } = await fish.run(['--no-config', '-c', `vitrine completion fish | source; ${offered}`], { env });
    expect(stdout.split('\n').map((line) => line.split('\t')[0])).toEqual(['resume', '--save-on-exit', '--once', '']);
  });
});
