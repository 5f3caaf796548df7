import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { runCommand } from './command.js';
import { parseStanzas, words, type Stanza } from './deb822.js';

/** Debian's own names of its releases; other distributions and third parties use others. */
const DEBIAN_SUITE =
  /^(bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)(-updates|-security)?$/;

/** The sources that this machine's apt reads, as stanzas of the deb822 format whichever format they are written in. */
export async function readHostSources(): Promise<Stanza[]> {
  const shell = await runCommand('apt-config', [
    'shell',
    'L',
    'Dir::Etc::sourcelist/f',
    'P',
    'Dir::Etc::sourceparts/d',
  ]);
  const setting = (name: string): string | undefined =>
    new RegExp(`^${name}='(.*)'$`, 'm').exec(shell.stdout)?.[1]?.replaceAll("'\\''", "'");
  const list = setting('L') ?? '/etc/apt/sources.list';
  const parts = setting('P') ?? '/etc/apt/sources.list.d';
  const names = await readdir(parts).catch(() => []);
  // apt reads only these two endings, in this order; a missing or unreadable file holds no source.
  const files = [list, ...names.sort().map((name) => path.join(parts, name))];
  const stanzas: Stanza[] = [];
  for (const file of files.filter((name) => /\.(list|sources)$/.test(name))) {
    const text = await readFile(file, 'utf8').catch(() => '');
    stanzas.push(...(file.endsWith('.sources') ? parseStanzas(text) : parseSourcesList(text)));
  }
  return stanzas;
}

/** Parses the one-line format of sources.list(5): `deb [option=value …] uri suite component…`. */
export function parseSourcesList(text: string): Stanza[] {
  const stanzas: Stanza[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) continue;
    const [options = '', uri = '', suite = '', components = ''] = [1, 2, 3, 4].map((group) => match.at(group));
    const stanza = new Map([
      ['types', 'deb'],
      ['uris', uri],
      ['suites', suite],
      ['components', components.trim()],
    ]);
    for (const option of options.split(/\s+/)) {
      const equals = option.indexOf('=');
      // The one-line format calls some fields by other names: arch, lang, target.
      if (equals > 0) stanza.set(option.slice(0, equals), option.slice(equals + 1).replaceAll(',', ' '));
    }
    stanzas.push(stanza);
  }
  return stanzas;
}

/**
 * The machine's Debian sources with the release replaced: the same archive, keys and options, another suite. Sources of
 * anyone but Debian are left out. Empty where the machine has no Debian source.
 */
export function sourcesFor(hostSources: readonly Stanza[], suite: string): Stanza[] {
  const result: Stanza[] = [];
  for (const source of hostSources) {
    if (/^(no|false|0)$/i.test(source.get('enabled') ?? 'yes')) continue;
    if (!words(source, 'types').includes('deb') || !words(source, 'components').includes('main')) continue;
    const suites = words(source, 'suites')
      .map((name) => DEBIAN_SUITE.exec(name.replace(/\/$/, '')))
      .filter((match) => match !== null)
      .map((match) => match.at(2) ?? '')
      // sid has neither updates nor security of its own.
      .filter((suffix) => suite !== 'sid' || suffix === '')
      .map((suffix) => `${suite}${suffix}`);
    if (suites.length === 0) continue;
    const kept = new Map(source);
    // The host's architecture or index choices say nothing about the guest's.
    for (const field of ['architectures', 'arch', 'arch+', 'arch-', 'languages', 'lang', 'targets', 'target']) {
      kept.delete(field);
    }
    result.push(
      kept
        .set('types', 'deb')
        .set('suites', [...new Set(suites)].join(' '))
        .set('components', 'main'),
    );
  }
  return result;
}
