/** Where images come from, seen alike: something with a manifest, and blobs by their digests. */
import { createHash } from 'node:crypto';
import { FolderTree, readAll, type ArchiveTree, type FileTree } from './archive-index.js';
import type { BlobSource } from './blob-store.js';
import { OciError } from './errors.js';
import { checkDigest, checkLayerCount, MEDIA, type Descriptor, type Digest } from './image.js';
import { JsonValue } from './json.js';
import type { FileReference, RegistryReference } from './reference.js';
import { digestOf, MAX_MANIFEST, Registry, type FetchedManifest, type RegistryOptions } from './registry.js';

export interface ImageSource {
  /** What the name stands for: a manifest or an index. */
  root(): Promise<FetchedManifest>;
  /** A manifest that an index names. */
  manifest(descriptor: Descriptor): Promise<FetchedManifest>;
  blob(digest: Digest): BlobSource;
  close(): void;
}

export class RegistrySource implements ImageSource {
  private readonly registry: Registry;

  constructor(
    private readonly reference: RegistryReference,
    options: RegistryOptions,
  ) {
    this.registry = new Registry(reference, options);
  }

  root(): Promise<FetchedManifest> {
    const { digest, tag } = this.reference;
    return this.registry.manifest(digest ?? tag ?? 'latest');
  }

  async manifest({ digest, size }: Descriptor): Promise<FetchedManifest> {
    if (size > MAX_MANIFEST) throw new OciError('too-large', `the manifest ${digest} has ${size} bytes`);
    return this.registry.manifest(digest);
  }

  blob(digest: Digest): BlobSource {
    return (offset) => this.registry.blob(digest, offset);
  }

  close(): void {
    this.registry.close();
  }
}

/** An image layout (image-layout.md of the OCI image specification 1.1), in a folder or in an archive. */
export class LayoutSource implements ImageSource {
  constructor(
    private readonly tree: FileTree,
    private readonly reference: FileReference,
  ) {}

  private async json(name: string): Promise<JsonValue> {
    const bytes = await readAll(this.tree, name, MAX_MANIFEST);
    if (bytes === undefined)
      throw new OciError('not-found', `${this.reference.path} is no image layout: it has no ${name}`);
    return JsonValue.parse(bytes, `${name} in ${this.reference.path}`);
  }

  async root(): Promise<FetchedManifest> {
    const version = (await this.json('oci-layout')).get('imageLayoutVersion').string();
    if (!version.startsWith('1.'))
      throw new OciError('unsupported', `image layouts of version ${version} are not known here`);
    const { path, tag } = this.reference;
    const all = (await this.json('index.json')).get('manifests').list();
    const named = all.map((entry) => {
      const name = entry.get('annotations').isAbsent
        ? undefined
        : entry.get('annotations').get(REF_NAME).optionalString();
      return { entry, name };
    });
    const fitting =
      tag === undefined ? named : named.filter(({ name }) => name === tag || name?.endsWith(`:${tag}`) === true);
    if (fitting.length === 1) return this.manifest(descriptorOf(fitting[0].entry));
    const names = named.flatMap(({ name }) => name ?? []);
    const offer = names.length > 0 ? `; there are ${names.slice(0, 20).join(', ')}` : '';
    if (tag !== undefined) throw new OciError('not-found', `${path} has no image ${JSON.stringify(tag)}${offer}`);
    throw new OciError('not-found', `${path} has ${fitting.length} images: say which, as in ${path}:NAME${offer}`);
  }

  async manifest({ digest, mediaType }: Descriptor): Promise<FetchedManifest> {
    const bytes = await readAll(this.tree, blobPath(digest), MAX_MANIFEST);
    if (bytes === undefined) throw new OciError('damaged', `${this.reference.path} has no blob ${digest}`);
    if (digestOf(bytes, digest.split(':')[0]) !== digest)
      throw new OciError('damaged', `a manifest in ${this.reference.path} is not what its digest says (${digest})`);
    return { bytes, mediaType, digest };
  }

  blob(digest: Digest): BlobSource {
    return (offset) => Promise.resolve({ from: offset, body: this.tree.open(blobPath(digest), offset) });
  }

  close(): void {}
}

const REF_NAME = 'org.opencontainers.image.ref.name';

const blobPath = (digest: Digest): string => `blobs/${digest.replace(':', '/')}`;

function descriptorOf(json: JsonValue): Descriptor {
  return {
    mediaType: json.get('mediaType').optionalString(),
    digest: checkDigest(json.get('digest').string()),
    size: json.get('size').count(),
    annotations: {},
  };
}

/**
 * What `docker save` writes, in both of its forms: a list of images, each with the names of its configuration and of its layers'
 * archives. There is no manifest in it, so one is made, which is the same for the same image.
 */
export class DockerArchiveSource implements ImageSource {
  /** Members of the archive by the digests they turn out to have. */
  private readonly files = new Map<Digest, string>();

  constructor(
    private readonly tree: ArchiveTree,
    private readonly reference: FileReference,
    private readonly signal?: AbortSignal,
  ) {}

  async root(): Promise<FetchedManifest> {
    const { path } = this.reference;
    const list = await readAll(this.tree, 'manifest.json', MAX_MANIFEST);
    if (list === undefined)
      throw new OciError('not-found', `${path} was not written by docker save: it has no manifest.json`);
    const image = this.choose(JsonValue.parse(list, `manifest.json in ${path}`).list());
    const names = image.get('Layers').strings();
    checkLayerCount(names.length);
    const config = await this.describe(image.get('Config').string(), MEDIA.CONFIG);
    const layers: Descriptor[] = [];
    for (const name of names) layers.push(await this.describe(name, MEDIA.LAYER));
    const plain = ({ mediaType, digest, size }: Descriptor): object => ({ mediaType, digest, size });
    const document = { schemaVersion: 2, mediaType: MEDIA.MANIFEST, config: plain(config), layers: layers.map(plain) };
    const bytes = new TextEncoder().encode(JSON.stringify(document));
    return { bytes, mediaType: MEDIA.MANIFEST, digest: digestOf(bytes) };
  }

  private choose(images: readonly JsonValue[]): JsonValue {
    const { path, tag } = this.reference;
    const names = images.flatMap((image) => image.get('RepoTags').strings());
    const fitting =
      tag === undefined
        ? images
        : images.filter((image) =>
            image
              .get('RepoTags')
              .strings()
              .some((name) => sameName(name, tag)),
          );
    if (fitting.length === 1) return fitting[0];
    const offer = names.length > 0 ? `; there are ${names.slice(0, 20).join(', ')}` : '';
    if (tag !== undefined) throw new OciError('not-found', `${path} has no image ${JSON.stringify(tag)}${offer}`);
    throw new OciError('not-found', `${path} has ${images.length} images: say which, as in ${path}:NAME${offer}`);
  }

  private async describe(name: string, mediaType: string): Promise<Descriptor> {
    const size = await this.tree.size(name);
    if (size === undefined) throw new OciError('damaged', `${this.reference.path} has no ${JSON.stringify(name)}`);
    const hash = createHash('sha256');
    for await (const chunk of this.tree.open(name)) {
      this.signal?.throwIfAborted();
      hash.update(chunk);
    }
    const digest = `sha256:${hash.digest('hex')}`;
    this.files.set(digest, name);
    return { mediaType, digest, size, annotations: {} };
  }

  manifest(): Promise<FetchedManifest> {
    return Promise.reject(new OciError('damaged', 'archives of docker save have no index'));
  }

  blob(digest: Digest): BlobSource {
    const name = this.files.get(digest) ?? digest;
    return (offset) => Promise.resolve({ from: offset, body: this.tree.open(name, offset) });
  }

  close(): void {}
}

/** `app` stands for `app:latest`, and either may be written with the registry before it. */
function sameName(there: string, wanted: string): boolean {
  const full = (name: string): string => (/:[^/]*$/.test(name) ? name : `${name}:latest`);
  return there === wanted || full(there) === full(wanted) || full(there).endsWith(`/${full(wanted)}`);
}

export const folderSource = (reference: FileReference): ImageSource =>
  new LayoutSource(new FolderTree(reference.path), reference);
