/** What could stand where somebody presses Tab: found in the commands themselves, so that it is never another than they take. */
import type { Argument, Command, Option } from 'commander';

/** What a shell offers. */
export interface Candidate {
  readonly value: string;
  readonly description?: string | undefined;
}

/** What a shell does besides: looks for files or folders by itself; leaves no space behind the word. */
export type Directive = 'files' | 'folders' | 'nospace';

export interface Completions {
  readonly candidates: readonly Candidate[];
  readonly directives: readonly Directive[];
}

/** Where values come from that are not in the commands. */
export interface ValueSource {
  /** Of an argument or an option's value, by its place: `exec <machine>`, `run --accel <name>`. */
  values(place: string, current: string): Promise<Completions>;
}

const NONE: Completions = { candidates: [], directives: [] };

/** A command, and what of it is there already. */
interface Seen {
  readonly command: Command;
  /** Its arguments so far. */
  readonly given: number;
  /** Nothing further is an option. */
  readonly plain: boolean;
  /** An option whose value comes next. */
  readonly pending: Option | undefined;
}

const takesValue = (option: Option | undefined): option is Option => option?.required === true;

/** A word that begins with - and is an option: which one waits for a value in the next word. */
function waiting(command: Command, word: string): Option | undefined {
  if (word.startsWith('--')) {
    const option = command.options.find(({ long }) => long === word);
    return takesValue(option) ? option : undefined;
  }
  for (let i = 1; i < word.length; i++) {
    const option = command.options.find(({ short }) => short === `-${word[i]}`);
    if (takesValue(option)) return i === word.length - 1 ? option : undefined;
  }
  return undefined;
}

/** Whether options may stand behind a command's first argument; those of a program in the guest are its own. */
const passesOn = (command: Command): boolean =>
  command.registeredArguments.at(-1)?.name() === 'command' && command.name() !== 'run';

/** Reads the words before the one that is typed, those behind the program's name. */
function read(program: Command, words: readonly string[]): Seen {
  let seen: Seen = { command: program, given: 0, plain: false, pending: undefined };
  for (const word of words) {
    const { command, given, plain, pending } = seen;
    if (pending) seen = { ...seen, pending: undefined };
    else if (!plain && word === '--') seen = { ...seen, plain: true };
    else if (!plain && word.startsWith('-') && word !== '-') seen = { ...seen, pending: waiting(command, word) };
    else {
      const child = given === 0 && !plain ? command.commands.find((one) => one.name() === word) : undefined;
      seen = child
        ? { command: child, given: 0, plain: false, pending: undefined }
        : { ...seen, given: given + 1, plain: plain || passesOn(command) };
    }
  }
  return seen;
}

/** `image inspect`, for places. */
function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

function options(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long, short, description }) => {
      const value = long ?? short;
      return value === undefined ? [] : [{ value, description }];
    });
}

function subcommands(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((child) => ({ value: child.name(), description: child.description() }));
}

const argumentAt = ({ registeredArguments }: Command, index: number): Argument | undefined => {
  const last = registeredArguments.at(-1);
  return registeredArguments.at(index) ?? (last?.variadic ? last : undefined);
};

function beginning(current: string, { candidates, directives }: Completions): Completions {
  return { candidates: candidates.filter(({ value }) => value.startsWith(current)), directives };
}

/** What could stand in the place of `current`, behind `words`, which begin behind the program's name. */
export async function complete(
  program: Command,
  words: readonly string[],
  current: string,
  source: ValueSource,
): Promise<Completions> {
  const { command, given, plain, pending } = read(program, words);
  const path = pathOf(command);
  const ofOption = async (option: Option, begun: string): Promise<Completions> =>
    beginning(
      begun,
      await source.values(`${path} ${option.long ?? ''} ${/<.*>/.exec(option.flags)?.at(0) ?? ''}`, begun),
    );
  if (pending) return ofOption(pending, current);
  if (!plain && current.startsWith('-')) {
    const at = current.indexOf('=');
    if (!current.startsWith('--') || at < 0)
      return beginning(current, { candidates: options(command), directives: [] });
    const name = current.slice(0, at);
    const option = command.options.find(({ long }) => long === name);
    if (!takesValue(option)) return NONE;
    const { candidates, directives } = await ofOption(option, current.slice(at + 1));
    return { candidates: candidates.map((one) => ({ ...one, value: `${name}=${one.value}` })), directives };
  }
  if (given === 0 && !plain && command.commands.length > 0)
    return beginning(current, { candidates: subcommands(command), directives: [] });
  const argument = argumentAt(command, given);
  return argument ? beginning(current, await source.values(`${path} <${argument.name()}>`, current)) : NONE;
}

/**
 * Words of a line as a POSIX shell reads them (2.2, Quoting), up to where it ends; nothing is expanded. The last one is what is
 * being typed, and may be empty. What stands before the command, behind `;`, `|` or `&`, is left out.
 */
export function splitLine(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < line.length; i++) {
    const character = line[i];
    if (character === ' ' || character === '\t' || character === '\n') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (';|&'.includes(character)) {
      words.length = 0;
      word = undefined;
    } else if (character === '\\') word = (word ?? '') + (line[++i] ?? '');
    else if (character === "'") {
      const end = line.indexOf("'", i + 1);
      word = (word ?? '') + line.slice(i + 1, end < 0 ? undefined : end);
      i = end < 0 ? line.length : end;
    } else if (character === '"') {
      word ??= '';
      for (i++; i < line.length && line[i] !== '"'; i++) {
        if (line[i] === '\\' && '\\"$`'.includes(line[i + 1] ?? ' ')) i++;
        word += line[i];
      }
    } else word = (word ?? '') + character;
  }
  return [...words, word ?? ''];
}

/** A word as it can stand in a command line. */
export const quoteWord = (word: string): string =>
  /^[\w@%+=:,./~-]*$/.test(word) ? word : word.replace(/[^\w@%+=:,./~-]/g, (character) => `\\${character}`);
