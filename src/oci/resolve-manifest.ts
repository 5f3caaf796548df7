import { OciError } from './errors.js';
import { choosePlatform, readManifest, type Manifest, type Platform } from './image.js';
import type { FetchedManifest } from './registry.js';
import type { ImageSource } from './source.js';

/** Indexes in indexes. */
const MAX_NESTING = 4;

/** The manifest that a name leads to, through indexes. */
export async function resolveManifest(
  source: ImageSource,
  platform: Platform,
): Promise<{ readonly fetched: FetchedManifest; readonly manifest: Manifest }> {
  let fetched = await source.root();
  for (let depth = 0; depth <= MAX_NESTING; depth++) {
    const content = readManifest(fetched.bytes, fetched.mediaType);
    if ('layers' in content) return { fetched, manifest: content };
    const chosen = choosePlatform(content, platform);
    const next = await source.manifest(chosen);
    if (next.bytes.length !== chosen.size)
      throw new OciError(
        'damaged',
        `the manifest ${chosen.digest} has ${next.bytes.length} bytes instead of ${chosen.size}`,
      );
    fetched = next;
  }
  throw new OciError('damaged', 'the index of the image leads to other indexes without an end');
}
