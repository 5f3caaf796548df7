import { Command } from 'commander';
import { findSupervisor } from '../api/node-supervisor.js';
import { UsageError } from '../base/errors.js';
import {
  familiarName,
  ImageStore,
  pullProgress,
  type ImageRecord,
  type ImageSettings,
  type Platform,
  type StoredImage,
} from '../oci/index.js';
import { interruptibleProgress } from './progress-line.js';
import { readableSize } from './readable-size.js';

interface JsonOption {
  readonly json?: boolean;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** `vitrine image`: container images. */
export function imageCommand(): Command {
  const command = new Command('image')
    .helpCommand(false)
    .description('container images: fetch, list, look at, remove and make them')
    .addHelpText(
      'after',
      `
Names are those of Docker and skopeo:
  alpine, debian:12, localhost:5000/team/app@sha256:...   in a registry
  oci:FOLDER[:TAG], oci-archive:FILE[:TAG]                an OCI image layout, or its archive
  docker-archive:FILE[:NAME]                              what "docker save" writes

Layers and disks are kept in $XDG_CACHE_HOME/vitrine/oci (else ~/.cache/vitrine/oci). Logins are
those of "docker login". A registry on this machine may do without TLS; others need --insecure.

Examples:
  vitrine image pull debian:12
  vitrine run oci:debian:12 -- cat /etc/os-release
  vitrine image build-from ./root --name mine --entrypoint /bin/app
  vitrine image inspect mine --json`,
    );
  command
    .command('pull')
    .description('fetch images, or look whether there are newer ones')
    .argument('<name...>')
    .option('--platform <os/architecture>', 'for which machine', parsePlatform)
    .option('--insecure', 'a registry without TLS, or with a certificate that nobody vouches for')
    .option('--json', 'what was fetched, as JSON')
    .action(pull);
  command.command('ls').description('list the images that are here').option('--json', 'as JSON').action(list);
  command
    .command('rm')
    .description('remove images, and what no other image needs')
    .argument('<name...>', 'names, or the beginnings of digests')
    .option('-f, --force', 'also what machines or snapshots need: it loses its name, and stays')
    .option('--json', 'as JSON')
    .action(remove);
  command
    .command('prune')
    .description('remove what no image needs: left by pulls that failed or were given up')
    .option('--untagged', 'and images without a name; machines that were saved to files with one need it')
    .option('--json', 'as JSON')
    .action(prune);
  command
    .command('inspect')
    .description('say what an image that is here runs, and how')
    .argument('<name>')
    .option('--json', 'as JSON')
    .action(inspect);
  command
    .command('build-from')
    .description('make an image of a folder, or of an archive (tar), with a root file system')
    .argument('<source>')
    .requiredOption('--name <name>', 'what it is called: NAME or NAME:TAG')
    .option('--entrypoint <word>', 'the program it always runs, and words it is given first; once for each', collect)
    .option(
      '--cmd <word>',
      'what is run, or given to the entrypoint, unless something else is; once for each word',
      collect,
    )
    .option('-e, --env <name=value>', 'a variable', collect)
    .option('--user <user[:group]>', 'whom it runs as')
    .option('--workdir <folder>', 'where it runs')
    .option('--json', 'as JSON')
    .action(buildFrom);
  return command;
}

function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...rest] = text.split('/');
  if (!os || !architecture || rest.length > 0)
    throw new UsageError(`--platform ${text} is not OS/ARCHITECTURE, such as linux/amd64`);
  return { os, architecture, variant };
}

/** Shows progress. */
async function withProgress<T>(
  name: string,
  work: (onProgress: ReturnType<typeof pullProgress>) => Promise<T>,
): Promise<T> {
  const { progress, done } = interruptibleProgress();
  try {
    return await work(pullProgress(name, progress));
  } finally {
    done();
  }
}

const summary = ({ name, digest, rootDisk, diskSize }: StoredImage): object => ({ name, digest, rootDisk, diskSize });

interface PullOptions extends JsonOption {
  readonly platform?: Platform;
  readonly insecure?: boolean;
}

async function pull(names: readonly string[], { platform, insecure, json }: PullOptions): Promise<void> {
  const store = new ImageStore();
  const images: StoredImage[] = [];
  for (const name of names) {
    const image = await withProgress(name, (onProgress) => store.pull(name, { platform, insecure, onProgress }));
    images.push(image);
    if (!json) console.log(`${image.name} ${image.digest}`);
  }
  if (json) console.log(JSON.stringify(images.map(summary), null, 2));
}

async function list({ json }: JsonOption): Promise<void> {
  const records = await new ImageStore().list();
  if (json) {
    console.log(JSON.stringify(records.map(listed), null, 2));
    return;
  }
  const rows = [['NAME', 'DIGEST', 'PLATFORM', 'SIZE', 'PULLED']];
  for (const record of records) {
    const { name, digest, size, pulled } = listed(record);
    rows.push([
      record.formerly === undefined ? name : untagged(record),
      digest.slice(0, 19),
      record.platform,
      readableSize(size),
      pulled.slice(0, 16).replace('T', ' '),
    ]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    );
}

/** As Docker shows it. */
const untagged = ({ name }: ImageRecord): string => `${familiarName(name).replace(/@.*$/, '')}:<none>`;

const listed = ({
  name,
  digest,
  platform,
  size,
  pulled,
  formerly,
}: ImageRecord): {
  readonly name: string;
  readonly digest: string;
  readonly platform: string;
  readonly size: number;
  readonly pulled: string;
  readonly untagged?: true;
} => ({
  name: familiarName(name),
  digest,
  platform,
  size,
  pulled: new Date(pulled).toISOString(),
  ...(formerly !== undefined && { untagged: true }),
});

/** Of machines in the background, and their snapshots: who needs which image, by its digest. */
async function usersOfImages(): Promise<ReadonlyMap<string, string>> {
  const client = await findSupervisor();
  try {
    const images = (await client?.images()) ?? [];
    return new Map(
      images.flatMap(({ digest, neededBy: [user] = [] }) => (user ? [[digest, `the ${user.kind} ${user.name}`]] : [])),
    );
  } finally {
    client?.close();
  }
}

interface RemoveOptions extends JsonOption {
  readonly force?: boolean;
}

async function remove(names: readonly string[], { force = false, json }: RemoveOptions): Promise<void> {
  const store = new ImageStore();
  const users = await usersOfImages();
  let freed = 0;
  for (const name of names) freed += await store.remove(name, { force, neededBy: ({ digest }) => users.get(digest) });
  console.log(json ? JSON.stringify({ removed: names, freed }, null, 2) : `${readableSize(freed)} are free again`);
}

interface PruneOptions extends JsonOption {
  readonly untagged?: boolean;
}

async function prune({ untagged: all = false, json }: PruneOptions): Promise<void> {
  const store = new ImageStore();
  const users = all ? await usersOfImages() : new Map<string, string>();
  const freed = await store.prune(({ digest }) => all && !users.has(digest));
  if (json) {
    console.log(JSON.stringify({ freed }, null, 2));
    return;
  }
  console.log(`${readableSize(freed)} are free again`);
  const left = (await store.list()).filter(({ formerly }) => formerly !== undefined);
  if (left.length === 0) return;
  const [stay, them] =
    left.length === 1 ? ['one untagged image stays', 'it'] : [`${left.length} untagged images stay`, 'them'];
  console.log(all ? `${stay}: machines or snapshots need ${them}` : `${stay}; --untagged removes ${them}, too`);
}

async function inspect(name: string, { json }: JsonOption): Promise<void> {
  const store = new ImageStore();
  const record = await store.lookUp(name);
  if (record === undefined) throw new UsageError(`there is no image ${name} here; vitrine image pull fetches it`);
  const image = await withProgress(name, (onProgress) => store.open(record, { onProgress }));
  const { config, credentials } = image;
  if (json) {
    console.log(
      JSON.stringify(
        { ...summary(image), platform: record.platform, blobs: record.blobs, config, credentials },
        null,
        2,
      ),
    );
    return;
  }
  const lines: readonly (readonly [string, string])[] = [
    ['name', image.name],
    ['digest', image.digest],
    ['platform', record.platform],
    ['size', `${readableSize(record.size)} in ${record.blobs.length - 2} layers`],
    ['disk', `${image.rootDisk}, ${readableSize(image.diskSize)}`],
    ['entrypoint', config.entrypoint.map((word) => JSON.stringify(word)).join(' ')],
    ['cmd', config.cmd.map((word) => JSON.stringify(word)).join(' ')],
    ['user', `${config.user || 'root'} (${credentials.uid}:${credentials.gid})`],
    ['workdir', config.workdir],
    ['ports', config.exposedPorts.map(({ port, protocol }) => `${port}/${protocol}`).join(', ')],
    ['stopped by', config.stopSignal],
    ...config.env.map((pair, i) => [i === 0 ? 'env' : '', JSON.stringify(pair).slice(1, -1)] as const),
  ];
  for (const [key, value] of lines) if (value !== '') console.log(`${key.padEnd(10)}  ${value}`);
}

interface BuildFromOptions extends JsonOption {
  readonly name: string;
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
}

async function buildFrom(source: string, options: BuildFromOptions): Promise<void> {
  const { name, entrypoint, cmd, env, user, workdir, json } = options;
  for (const pair of env ?? []) if (!/^[^=]+=/.test(pair)) throw new UsageError(`--env ${pair} is not NAME=VALUE`);
  const settings: ImageSettings = {
    ...(entrypoint && { Entrypoint: entrypoint }),
    ...(cmd && { Cmd: cmd }),
    ...(env && { Env: env }),
    ...(user !== undefined && { User: user }),
    ...(workdir !== undefined && { WorkingDir: workdir }),
  };
  const image = await withProgress(name, (onProgress) =>
    new ImageStore().build(source, { name, settings, onProgress }),
  );
  console.log(json ? JSON.stringify(summary(image), null, 2) : `${image.name} ${image.digest}`);
}
