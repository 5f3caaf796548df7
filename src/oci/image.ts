/**
 * What describes an image: index, manifest and configuration, of the OCI image specification 1.1 (image-index.md, manifest.md,
 * config.md, descriptor.md) and of Docker's image manifest version 2, schema 2.
 */
import { OciError } from './errors.js';
import { JsonValue } from './json.js';

export const MEDIA = {
  INDEX: 'application/vnd.oci.image.index.v1+json',
  MANIFEST: 'application/vnd.oci.image.manifest.v1+json',
  CONFIG: 'application/vnd.oci.image.config.v1+json',
  LAYER: 'application/vnd.oci.image.layer.v1.tar',
  DOCKER_INDEX: 'application/vnd.docker.distribution.manifest.list.v2+json',
  DOCKER_MANIFEST: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** What a registry is asked for. */
export const ACCEPTED = [MEDIA.INDEX, MEDIA.DOCKER_INDEX, MEDIA.MANIFEST, MEDIA.DOCKER_MANIFEST];

/** Kinds of layers that are no tar archives of files, or that other tools must unlock. */
const LAYER_TYPES = [
  /^application\/vnd\.oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?$/,
  /^application\/vnd\.docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?$/,
];

/** `sha256:` or `sha512:` and hexadecimal digits, checked. */
export type Digest = string;

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** descriptor.md, "Digests". Throws a one-line error (OciError). */
export function checkDigest(text: string): Digest {
  const [, algorithm, hex] = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/.exec(text) ?? [];
  if (algorithm === undefined) throw new OciError('damaged', `${JSON.stringify(text.slice(0, 100))} is no digest`);
  const length = HEX_LENGTH[algorithm];
  if (length === undefined) throw new OciError('unsupported', `digests of the kind ${algorithm} are not known here`);
  if (hex.length !== length || !/^[0-9a-f]+$/.test(hex))
    throw new OciError('damaged', `${JSON.stringify(text.slice(0, 200))} is no digest of the kind ${algorithm}`);
  return text;
}

export interface Descriptor {
  readonly mediaType: string | undefined;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An operating system and a processor, as Go names them: linux, amd64. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

export const DEFAULT_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' };

export const platformName = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');

export interface IndexEntry extends Descriptor {
  readonly platform: Platform | undefined;
}

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** A layer that is in the cache. */
export interface LayerBlob {
  /** The file, packed as it came. */
  readonly path: string;
  /** Bytes of the file. */
  readonly size: number;
  /** The digest of the archive in it. */
  readonly diffId: Digest;
}

/** Layers of one image: overlayfs, which other tools need, has fewer. */
const MAX_LAYERS = 512;

/** Throws a one-line error (OciError) for more layers than an image may have. */
export function checkLayerCount(count: number): void {
  if (count > MAX_LAYERS) throw new OciError('too-large', `the image has ${count} layers; ${MAX_LAYERS} are allowed`);
}

function descriptor(json: JsonValue): Descriptor {
  const annotations: Record<string, string> = {};
  for (const [key, value] of json.get('annotations').entries()) annotations[key] = value.string();
  return {
    mediaType: json.get('mediaType').optionalString(),
    digest: checkDigest(json.get('digest').string()),
    size: json.get('size').count(),
    annotations,
  };
}

/**
 * What bytes are that were fetched as a manifest. `told`: the media type that came with them. A document that is both, or that says
 * something else of itself, is refused: what it is must not depend on who reads it (CVE-2021-41190).
 */
export function readManifest(bytes: Uint8Array, told: string | undefined): Manifest | readonly IndexEntry[] {
  const json = JsonValue.parse(bytes, 'the manifest');
  const version = json.get('schemaVersion');
  if (!version.isAbsent && version.count() === 1)
    throw new OciError('unsupported', 'the image is in a format that Docker gave up in 2017 (manifest schema 1)');
  const own = json.get('mediaType').optionalString();
  const kind = told?.split(';')[0].trim().toLowerCase();
  const known = kind !== undefined && (ACCEPTED as readonly string[]).includes(kind);
  if (own !== undefined && known && own !== kind)
    throw new OciError('damaged', `the manifest says that it is ${JSON.stringify(own)}, but came as ${kind}`);
  const listed = !json.get('manifests').isAbsent;
  const layered = !json.get('layers').isAbsent || !json.get('config').isAbsent;
  if (listed === layered) throw new OciError('damaged', 'what came is neither a manifest nor an index of manifests');
  const type = own ?? (known ? kind : undefined);
  const isIndex = type === MEDIA.INDEX || type === MEDIA.DOCKER_INDEX;
  if (type !== undefined && (ACCEPTED as readonly string[]).includes(type) && isIndex !== listed)
    throw new OciError('damaged', `the manifest is not what its media type says (${type})`);
  return listed ? readIndex(json) : readLayers(json);
}

function readIndex(json: JsonValue): IndexEntry[] {
  return json
    .get('manifests')
    .list()
    .map((entry) => {
      const platform = entry.get('platform');
      return {
        ...descriptor(entry),
        platform: platform.isAbsent
          ? undefined
          : {
              os: platform.get('os').string(),
              architecture: platform.get('architecture').string(),
              variant: platform.get('variant').optionalString(),
            },
      };
    });
}

function readLayers(json: JsonValue): Manifest {
  const layers = json.get('layers').list().map(descriptor);
  checkLayerCount(layers.length);
  for (const { mediaType } of layers)
    if (mediaType !== undefined && !LAYER_TYPES.some((type) => type.test(mediaType)))
      throw new OciError('unsupported', `the image has a layer of the kind ${JSON.stringify(mediaType)}`);
  return { config: descriptor(json.get('config')), layers };
}

/** The manifest for a platform. Processors of a later variant are left out: what runs the image may be an earlier one. */
export function choosePlatform(entries: readonly IndexEntry[], wanted: Platform): IndexEntry {
  const of = (entry: IndexEntry): boolean =>
    entry.platform?.os === wanted.os && entry.platform.architecture === wanted.architecture;
  const fitting = entries.filter(of);
  const variants = [wanted.variant, undefined, '', 'v1', 'v2', 'v8'];
  for (const variant of variants) {
    const found = fitting.find(({ platform }) => platform?.variant === variant);
    if (found) return found;
  }
  // An index of one image may leave out what it is for; its configuration says it.
  const images = entries.filter(({ platform }) => platform?.architecture !== 'unknown');
  if (images.length === 1 && images[0].platform === undefined) return images[0];
  const there = [...new Set(images.flatMap(({ platform }) => (platform ? [platformName(platform)] : [])))];
  const offer = there.length > 0 ? `; there are ${there.slice(0, 20).join(', ')}` : '';
  throw new OciError('not-found', `the image is not there for ${platformName(wanted)}${offer}`);
}

/** A port that an image says its program listens on. */
export interface Port {
  /** 1 … 65535. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
}

/** How an image's program is started: config.md, "config". */
export interface ImageConfig {
  readonly platform: Platform;
  /** Seconds since 1970; 0 where the image does not say. */
  readonly created: number;
  /** What always runs; `cmd` is what is given to it, and what callers replace. */
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** `NAME=VALUE`, a name at most once. */
  readonly env: readonly string[];
  /** `user`, `uid`, `user:group`, `uid:gid`, …; empty: root. */
  readonly user: string;
  /** Absolute; `/` where the image does not say. */
  readonly workdir: string;
  readonly exposedPorts: readonly Port[];
  readonly volumes: readonly string[];
  /** A signal's name, such as SIGTERM, or its number in digits. */
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ConfigDocument {
  readonly config: ImageConfig;
  /** Digests of the layers' archives. */
  readonly diffIds: readonly Digest[];
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Throws a one-line error (OciError). */
export function readConfig(bytes: Uint8Array): ConfigDocument {
  const json = JsonValue.parse(bytes, 'the image configuration');
  const settings = json.get('config');
  const own = settings.isAbsent ? JsonValue.parse(new TextEncoder().encode('{}'), 'the image configuration') : settings;
  const rootfs = json.get('rootfs');
  const created = Date.parse(json.get('created').optionalString() ?? '');
  const labels: Record<string, string> = {};
  for (const [key, value] of own.get('Labels').entries()) labels[key] = value.string();
  const texts = (key: string): string[] => own.get(key).strings().map(withoutNul);
  const config: ImageConfig = {
    platform: {
      os: json.get('os').optionalString() ?? '',
      architecture: json.get('architecture').optionalString() ?? '',
      variant: json.get('variant').optionalString(),
    },
    created: Number.isFinite(created) ? Math.max(0, Math.floor(created / 1000)) : 0,
    entrypoint: texts('Entrypoint'),
    cmd: texts('Cmd'),
    env: environment(texts('Env')),
    user: withoutNul(own.get('User').optionalString() ?? ''),
    workdir: workdir(withoutNul(own.get('WorkingDir').optionalString() ?? '')),
    exposedPorts: own
      .get('ExposedPorts')
      .entries()
      .map(([key]) => port(key)),
    volumes: own
      .get('Volumes')
      .entries()
      .map(([key]) => withoutNul(key)),
    stopSignal: stopSignal(own.get('StopSignal').optionalString()),
    labels,
  };
  return { config, diffIds: rootfs.isAbsent ? [] : rootfs.get('diff_ids').strings().map(checkDigest) };
}

function withoutNul(text: string): string {
  if (text.includes('\0')) throw new OciError('damaged', 'the image configuration has a NUL where none can be');
  return text;
}

/** The last of several values of a name holds; a PATH is always there. */
function environment(pairs: readonly string[]): string[] {
  const byName = new Map<string, string>();
  for (const pair of [DEFAULT_PATH, ...pairs]) {
    const equals = pair.indexOf('=');
    // Docker leaves out what has no name or no value.
    if (equals <= 0) continue;
    byName.set(pair.slice(0, equals), pair);
  }
  return [...byName.values()];
}

function workdir(text: string): string {
  const names: string[] = [];
  for (const name of text.split('/')) {
    if (name === '..') names.pop();
    else if (name !== '' && name !== '.') names.push(name);
  }
  return `/${names.join('/')}`;
}

function port(text: string): Port {
  const [, digits, protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  const number = Number(digits);
  if (!(number >= 1 && number <= 65535))
    throw new OciError('damaged', `the image exposes ${JSON.stringify(text.slice(0, 40))}, which is no port`);
  return { port: number, protocol: protocol as Port['protocol'] };
}

function stopSignal(text: string | undefined): string {
  if (text === undefined || text === '') return 'SIGTERM';
  if (/^\d{1,2}$/.test(text)) return text;
  const name = text.toUpperCase().replace(/^(?!SIG)/, 'SIG');
  if (/^SIG[A-Z0-9+-]{2,12}$/.test(name)) return name;
  throw new OciError('damaged', `the image is stopped by ${JSON.stringify(text.slice(0, 40))}, which is no signal`);
}
