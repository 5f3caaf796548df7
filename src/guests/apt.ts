import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { HostError } from '../base/errors.js';
import { readHostSources, sourcesFor } from './apt-sources.js';
import { publish, withTemporaryFolder } from '../host/node/cache.js';
import { withFileLock } from '../host/node/file-lock.js';
import { findProgram, lastLine, runCommand, type CommandOptions, type CommandResult } from './command.js';
import { formatStanzas, parseStanzas, type Stanza } from './deb822.js';
import type { Progress } from './progress.js';

/** Package lists are read again after this time, in milliseconds: a day, and an hour where some could not be read. */
const LISTS_LAST = { complete: 24 * 60 * 60 * 1000, partial: 60 * 60 * 1000 } as const;
/** Former ones are kept for so long, in milliseconds: runs that began with them may still use them. */
const FORMER_LAST = 60 * 60 * 1000;

/** A package as the archive offers it. */
export interface Package {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The field `Depends`, as it is written. */
  readonly depends: string;
}

export interface AptOptions {
  /** Vitrine's cache folder; see cacheRoot. */
  readonly cache: string;
  /** A Debian release by its code name. */
  readonly suite: string;
  /** A Debian architecture, such as amd64. */
  readonly architecture: string;
  readonly progress?: Progress;
}

/** A package whose file is in the cache. */
export interface FetchedPackage extends Package {
  readonly file: string;
}

/**
 * Debian's package manager with a state of its own: it reads archives, keys and proxies from the machine's configuration,
 * but for a release and architecture of our choice, and keeps package lists in our cache. It installs nothing, needs no
 * root and neither reads nor changes what the system has installed (`missingOnHost` reads it).
 *
 * Lists are in a folder per reading, named by its time, which appears complete and is never changed. So runs at the same
 * time cannot disturb each other, nor can one that is killed.
 */
export class Apt {
  readonly #options: AptOptions;
  readonly #home: string;
  #lists: string | undefined;
  #refreshed = false;

  constructor(options: AptOptions) {
    this.#options = options;
    this.#home = path.join(options.cache, 'apt', `${options.suite}-${options.architecture}`);
  }

  /** The packages' newest versions, in the order asked for; names that the archive does not have are left out. */
  async find(...names: readonly string[]): Promise<Package[]> {
    const { stdout } = await this.#run('apt-cache', ['show', '--no-all-versions', ...names]);
    const stanzas = parseStanzas(stdout);
    return names.flatMap((name) => {
      const stanza = stanzas.find((one) => one.get('package') === name);
      if (stanza === undefined) return [];
      const field = (key: string): string => stanza.get(key) ?? '';
      return [{ name, version: field('version'), architecture: field('architecture'), depends: field('depends') }];
    });
  }

  /** Names of packages that match a regular expression of apt's. */
  async search(pattern: string): Promise<string[]> {
    const { stdout } = await this.#run('apt-cache', ['search', '--names-only', pattern]);
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split(' ')[0]]));
  }

  /**
   * Packages with their files, downloaded unless the cache has them; apt checks signatures and hashes. Lists that are out of
   * date name files that are gone, so a failure has the lists read again, once.
   */
  async fetch(...names: readonly string[]): Promise<FetchedPackage[]> {
    const { suite, architecture } = this.#options;
    for (;;) {
      try {
        const packages = await this.find(...names);
        const unknown = names.find((name) => !packages.some((one) => one.name === name));
        if (unknown !== undefined) throw new HostError(`Debian ${suite} has no package ${unknown} for ${architecture}`);
        await this.#download(packages);
        return packages.map((one) => ({ ...one, file: this.#fileOf(one) }));
      } catch (error) {
        if (!(error instanceof HostError) || this.#refreshed) throw error;
        await this.refresh();
      }
    }
  }

  /** Where the cache keeps a package; as apt names it, with an epoch's colon escaped. */
  #fileOf({ name, version, architecture }: Package): string {
    const file = `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`;
    return path.join(this.#options.cache, 'debs', file);
  }

  async #download(packages: readonly Package[]): Promise<void> {
    const { cache, progress } = this.#options;
    const wanted: Package[] = [];
    for (const one of packages) if (!(await exists(this.#fileOf(one)))) wanted.push(one);
    if (wanted.length === 0) return;
    const text = `downloading ${wanted.map(({ name, version }) => `${name} ${version}`).join(', ')}`;
    await withTemporaryFolder(cache, async (folder) => {
      const args = ['download', ...wanted.map(({ name, version }) => `${name}=${version}`)];
      const { status, stderr } = await this.#run('apt-get', args, {
        cwd: folder,
        onStatusLine: (line) => progress?.({ text, fraction: fractionOf(line) }),
      });
      const made = new Set(await readdir(folder));
      for (const one of wanted) {
        const file = this.#fileOf(one);
        if (made.has(path.basename(file))) await publish(path.join(folder, path.basename(file)), file);
      }
      if (status !== 0) throw new HostError(`cannot download ${wanted[0].name}: ${lastLine(stderr)}`);
    });
  }

  /** What would have to be installed on this machine for the packages to work, themselves included. */
  async missingOnHost(names: readonly string[]): Promise<string[]> {
    return this.#wouldInstall(names, '/var/lib/dpkg/status');
  }

  /** The packages with all that they depend on, as for a system where nothing is installed yet. */
  async withDependencies(names: readonly string[]): Promise<string[]> {
    return this.#wouldInstall(names);
  }

  /** What installing packages would install, given a dpkg status (default: nothing is installed). */
  async #wouldInstall(names: readonly string[], dpkgStatus?: string): Promise<string[]> {
    const args = ['--simulate', '--no-install-recommends', 'install', ...names];
    const { status, stdout, stderr } = await this.#run('apt-get', args, {}, dpkgStatus);
    if (status !== 0) throw new HostError(`cannot find out what ${names.join(', ')} needs: ${lastLine(stderr)}`);
    return [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name);
  }

  /** Reads the package lists again, whatever their age. */
  async refresh(): Promise<void> {
    this.#refreshed = true;
    this.#lists = await this.#readLists(this.#lists);
  }

  /** Runs one of apt's programs over the lists, with a given dpkg status (default: nothing is installed). */
  async #run(
    program: string,
    args: readonly string[],
    options: CommandOptions = {},
    status?: string,
  ): Promise<CommandResult> {
    this.#lists ??= await this.#currentLists();
    return this.#runOver(this.#lists, program, args, options, status);
  }

  #runOver(
    lists: string,
    program: string,
    args: readonly string[],
    options: CommandOptions,
    status?: string,
  ): Promise<CommandResult> {
    return withTemporaryFolder(this.#options.cache, async (folder) => {
      const configuration = path.join(folder, 'apt.conf');
      await writeFile(configuration, this.#configuration(lists, status ?? path.join(lists, 'status'), folder));
      // A status line on descriptor 3 is apt's interface for front ends.
      const allArgs = ['-o', 'APT::Status-Fd=3', ...args];
      return runCommand(program, allArgs, { ...options, env: { ...options.env, APT_CONFIG: configuration } });
    });
  }

  #configuration(lists: string, status: string, scratch: string): string {
    const architecture = this.#options.architecture;
    // With another status the binary cache of the lists would be another one; it is made anew in the scratch folder.
    const cache = status.startsWith(lists) ? path.join(lists, 'cache') : path.join(scratch, 'cache');
    return `Dir::State::Lists "${path.join(lists, 'lists')}";
Dir::State::status "${status}";
Dir::State::extended_states "${path.join(lists, 'extended_states')}";
Dir::Cache "${cache}";
Dir::Cache::archives "${path.join(scratch, 'archives')}";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "${path.join(lists, 'sources')}";
Dir::Etc::preferences "${path.join(lists, 'preferences')}";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "${path.join(scratch, 'log')}";
#clear APT::Architectures;
APT::Architecture "${architecture}";
APT::Architectures { "${architecture}"; };
APT::Sandbox::User "root";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Debug::NoLocking "1";
`;
  }

  /** The newest lists if they are fresh, else new ones, or the old ones where there is no network. */
  async #currentLists(): Promise<string> {
    const newest = await this.#newestLists();
    if (newest !== undefined) {
      const partial = await exists(path.join(newest, 'partial'));
      const age = Date.now() - Number(path.basename(newest));
      if (age < (partial ? LISTS_LAST.partial : LISTS_LAST.complete)) return newest;
    }
    try {
      return await this.#readLists(newest);
    } catch (error) {
      if (newest === undefined || !(error instanceof HostError)) throw error;
      this.#options.progress?.({ text: `${error.message}; going on with older package lists` });
      return newest;
    }
  }

  async #newestLists(): Promise<string | undefined> {
    const names = await readdir(this.#home).catch(() => []);
    const times = names.filter((name) => /^\d+$/.test(name)).map(Number);
    return times.length === 0 ? undefined : path.join(this.#home, String(Math.max(...times)));
  }

  /** Reads the package lists into a new folder and returns its path; or that of newer ones than `known`, which another run has read meanwhile. */
  async #readLists(known: string | undefined): Promise<string> {
    const { cache, suite, architecture, progress } = this.#options;
    if ((await findProgram('apt-get')) === undefined || (await findProgram('dpkg-deb')) === undefined) {
      throw new HostError("this machine has no apt-get and dpkg-deb (Debian's package manager)");
    }
    const sources = sourcesFor(await readHostSources(), suite);
    if (sources.length === 0) throw new HostError("this machine's apt is not configured for any Debian archive");
    const text = `reading Debian's package lists (${suite} ${architecture})`;
    progress?.({ text });
    return withTemporaryFolder(cache, async (folder) => {
      await mkdir(path.dirname(this.#home), { recursive: true });
      return withFileLock(`${this.#home}.lock`, 'exclusive', undefined, async () => {
        const newest = await this.#newestLists();
        if (newest !== undefined && newest !== known) return newest;
        const made = path.join(folder, 'made');
        await this.#update(made, sources, text);
        const place = path.join(this.#home, String(Date.now()));
        await publish(made, place);
        await this.#removeOldLists();
        return place;
      });
    });
  }

  async #update(made: string, sources: readonly Stanza[], text: string): Promise<void> {
    await mkdir(path.join(made, 'lists', 'partial'), { recursive: true });
    await mkdir(path.join(made, 'sources'));
    await mkdir(path.join(made, 'cache'));
    await writeFile(path.join(made, 'sources', 'debian.sources'), formatStanzas(sources));
    // Another archive may use Debian's names of releases; Debian's own packages come first whatever their version.
    await writeFile(path.join(made, 'preferences'), 'Package: *\nPin: release o=Debian\nPin-Priority: 990\n');
    await writeFile(path.join(made, 'status'), '');
    const { stderr } = await this.#runOver(made, 'apt-get', ['--quiet', 'update'], {
      onStatusLine: (line) => this.#options.progress?.({ text, fraction: fractionOf(line) }),
    });
    const got = await readdir(path.join(made, 'lists'));
    // A mirror in the middle of an update lacks one list or another; what counts is what can be resolved later.
    if (!got.some((name) => name.includes('_Packages'))) {
      // The last line only says that something failed; those before say what, behind the address.
      const why = /^[EW]: Failed to fetch \S+ +(.+)$/m.exec(stderr)?.[1] ?? lastLine(stderr);
      throw new HostError(`cannot read Debian's package lists (is there a network?): ${why}`);
    }
    if (/^[EW]: /m.test(stderr)) await writeFile(path.join(made, 'partial'), stderr);
  }

  /** Keeps the two newest readings, and those of the last hour. */
  async #removeOldLists(): Promise<void> {
    const names = (await readdir(this.#home)).filter((name) => /^\d+$/.test(name));
    const old = names.sort((a, b) => Number(b) - Number(a)).slice(2);
    for (const name of old.filter((name) => Date.now() - Number(name) > FORMER_LAST)) {
      const folder = path.join(this.#home, name);
      const away = path.join(this.#options.cache, 'tmp', `${process.pid}-old-${name}`);
      await rename(folder, away).then(
        () => rm(away, { recursive: true, force: true }),
        // Another run removes it at this moment.
        () => undefined,
      );
    }
  }
}

/** The fraction done in a status line of apt's: `dlstatus:items:percent:text`. */
function fractionOf(line: string): number | undefined {
  const percent = /^\w+:[^:]*:([\d.]+):/.exec(line)?.[1];
  return percent === undefined ? undefined : Number(percent) / 100;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** The architecture and release of the Debian system that this is; undefined elsewhere. */
export async function hostDebian(): Promise<{ readonly suite: string; readonly architecture: string } | undefined> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const suite = /^VERSION_CODENAME=(.+)$/m.exec(release)?.[1];
  const { status, stdout } = await runCommand('dpkg', ['--print-architecture']);
  if (status !== 0 || suite === undefined || !/^ID=debian$/m.test(release)) return undefined;
  return { suite, architecture: stdout.trim() };
}
