/** Configuration and manifest of a new image: config.md and manifest.md of the OCI image specification 1.1. */
import { MEDIA, type Digest, type Platform } from './image.js';
import { digestOf } from './registry.js';

/** How the program of a new image is started: "config" in config.md. */
export interface ImageSettings {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
}

interface Document {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

function document(content: unknown): Document {
  const bytes = new TextEncoder().encode(JSON.stringify(content));
  return { bytes, digest: digestOf(bytes) };
}

/** For an image of one layer that is not packed. */
export function describeImage(
  layer: { readonly digest: Digest; readonly size: number },
  { os, architecture }: Platform,
  settings: ImageSettings,
): { readonly config: Document; readonly manifest: Document } {
  const rootfs = { type: 'layers', diff_ids: [layer.digest] };
  const config = document({ architecture, os, config: settings, rootfs });
  const manifest = document({
    schemaVersion: 2,
    mediaType: MEDIA.MANIFEST,
    config: { mediaType: MEDIA.CONFIG, digest: config.digest, size: config.bytes.length },
    layers: [{ mediaType: MEDIA.LAYER, digest: layer.digest, size: layer.size }],
  });
  return { config, manifest };
}
