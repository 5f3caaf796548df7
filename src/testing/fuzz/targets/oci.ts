import { ImageError } from '../../../block/image.js';
import type { FsFolder, FsNode } from '../../../block/ext4/tree.js';
import { Ext4Image } from '../../../block/ext4/write.js';
import { OciError } from '../../../oci/errors.js';
import { choosePlatform, DEFAULT_PLATFORM, readConfig, readManifest } from '../../../oci/image.js';
import { LayerTree } from '../../../oci/layer-tree.js';
import { parseReference } from '../../../oci/reference.js';
import { parseChallenge } from '../../../oci/registry.js';
import { TarReader, type TarEntry, type TarKind } from '../../../oci/tar-reader.js';
import { resolveUser } from '../../../oci/users.js';
import { layer, type LayerMember } from '../../oci-images.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzTarget } from '../target.js';

const KINDS: readonly TarKind[] = ['file', 'folder', 'link', 'hard-link', 'character-device', 'block-device', 'fifo'];
const NAMES = [
  'a',
  'b',
  'c',
  '..',
  '.',
  '',
  '.wh.a',
  '.wh.b',
  '.wh..wh..opq',
  '.wh.',
  'n'.repeat(255),
  'n'.repeat(256),
  '\u00ff',
];
const XATTRS = ['user.a', 'security.capability', 'system.posix_acl_access', 'trusted.x', 'nonsense', 'user.'];

/** Runs what may refuse its input, in one line. */
function refusing<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof OciError || error instanceof ImageError)) throw error;
    must(!error.message.includes('\n'), 'a message of several lines');
    return undefined;
  }
}

const somePath = (random: RandomSource): string =>
  (random.once(8) ? '/' : '') + Array.from({ length: 1 + random.below(5) }, () => random.pick(NAMES)).join('/');

function someMember(random: RandomSource): LayerMember {
  const xattrs = new Map<string, Uint8Array>();
  if (random.once(4)) xattrs.set(random.pick(XATTRS), random.bytes(random.below(random.once(4) ? 5000 : 60)));
  return {
    path: somePath(random),
    kind: random.once(3) ? random.pick(KINDS) : random.pick(['file', 'folder']),
    target: somePath(random),
    mode: random.u32(0o10000),
    uid: random.u32(2000),
    gid: random.u32(2000),
    major: random.u32(300),
    minor: random.u32(300),
    mtime: { seconds: random.u32(2 ** 31), nanoseconds: random.below(1e9) },
    content: random.bytes(random.below(random.once(6) ? 9000 : 40)),
    xattrs,
  };
}

/** Layers, nearly right, read and put on each other; what comes out must be a tree that stays within itself. */
function layers(random: RandomSource): void {
  const tree = new LayerTree({ entries: 60 });
  for (let n = 1 + random.below(4); n > 0; n--) {
    tree.nextLayer();
    const bytes = random.damage(layer(Array.from({ length: random.below(12) }, () => someMember(random))), 3);
    let last: TarEntry | undefined;
    const reader = new TarReader({
      entry: (entry) => {
        last = entry;
        tree.apply(entry);
      },
      content: (data, offset) =>
        must(last !== undefined && offset + data.length <= last.size, 'content behind the end'),
    });
    const piece = 1 + random.below(1500);
    refusing(() => {
      for (let at = 0; at < bytes.length; at += piece) reader.push(bytes.subarray(at, at + piece));
      reader.end();
    });
  }
  checkTree(tree.root);
  refusing(() => {
    const image = new Ext4Image(tree.root, { uuid: new Uint8Array(16), made: 0, free: 0 });
    const written = { write: () => {}, truncate: () => {} };
    for (const _ of image.writeMetadata(written));
  });
}

function checkTree(root: FsFolder): void {
  const seen = new Set<FsNode>([root]);
  const left = [root];
  for (let folder = left.pop(); folder !== undefined; folder = left.pop())
    for (const [name, node] of folder.children) {
      must(
        name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.startsWith('.wh.'),
        `a file ${name}`,
      );
      if (node.kind !== 'folder') continue;
      must(!seen.has(node), 'a folder in two places');
      seen.add(node);
      left.push(node);
    }
}

const DIGEST = `sha256:${'0'.repeat(64)}`;
const DESCRIPTOR = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 5 };
const DOCUMENTS = [
  {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { ...DESCRIPTOR, mediaType: 'x' },
    layers: [DESCRIPTOR],
  },
  {
    schemaVersion: 2,
    manifests: [{ ...DESCRIPTOR, platform: { os: 'linux', architecture: 'amd64', variant: 'v1' } }, DESCRIPTOR],
  },
  {
    created: '2024-01-01T00:00:00Z',
    os: 'linux',
    architecture: 'amd64',
    config: {
      Env: ['A=b', 'C'],
      Cmd: ['x'],
      Entrypoint: null,
      User: 'a:b',
      WorkingDir: '/x/../y',
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGTERM',
      Labels: { a: 'b' },
    },
    rootfs: { type: 'layers', diff_ids: [DIGEST] },
  },
];

/** Changes something in a document: a value becomes one of another kind, or goes. */
function changed(value: unknown, random: RandomSource): unknown {
  if (random.once(12))
    return random.pick<unknown>([
      null,
      0,
      -1,
      1.5,
      2 ** 60,
      '',
      'x',
      [],
      {},
      [[]],
      true,
      { __proto__: null },
      DIGEST,
      'sha256:0',
      '../..',
    ]);
  if (Array.isArray(value)) return value.map((one) => changed(one, random));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(() => !random.once(20));
  return Object.fromEntries(entries.map(([key, one]) => [random.once(40) ? '__proto__' : key, changed(one, random)]));
}

function documents(random: RandomSource): void {
  const text = JSON.stringify(changed(random.pick(DOCUMENTS), random)) ?? 'null';
  const bytes = random.damage(new TextEncoder().encode(text), 6);
  const type = random.pick([
    undefined,
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.oci.image.index.v1+json',
    'x',
  ]);
  refusing(() => {
    const read = readManifest(bytes, type);
    if ('layers' in read)
      must(
        read.layers.every(({ size, digest }) => size >= 0 && /^sha\d+:[0-9a-f]+$/.test(digest)),
        'a layer',
      );
    else choosePlatform(read, DEFAULT_PLATFORM);
  });
  refusing(() => {
    const { config, diffIds } = readConfig(bytes);
    must(config.workdir.startsWith('/') && !config.workdir.split('/').includes('..'), 'a folder');
    must(
      diffIds.every((digest) => /^sha\d+:[0-9a-f]+$/.test(digest)),
      'a digest',
    );
    resolveUser(config.user, { passwd: text, group: text });
  });
}

const PIECES = [
  'a',
  'docker.io',
  ':',
  '/',
  '@',
  'sha256',
  'localhost',
  '5000',
  '.',
  '-',
  '_',
  'oci:',
  'docker-archive:',
  '\n',
  '\0',
  '[::1]',
  '0'.repeat(64),
  '"',
  '=',
];

function texts(random: RandomSource): void {
  const text = Array.from({ length: random.below(12) }, () => random.pick(PIECES)).join('');
  refusing(() => parseReference(text));
  parseChallenge(text);
  refusing(() => resolveUser(text, { passwd: 'a:x:1:2::/a\nb', group: 'a:x:3:a' }));
}

/** Container images: archives of layers, manifests and configurations, names. */
export const ociTarget: FuzzTarget = {
  name: 'oci',
  share: 6,
  length: 50,
  start: (random) => ({ step: () => random.pick([layers, documents, texts])(random) }),
};
