/** Container images as roots of machines. */
import type { Progress } from '../../guests/index.js';
import { ImageStore, pullProgress } from '../../oci/index.js';
import type { RootImage } from './launch.js';

export interface PulledImageOptions {
  readonly onProgress?: Progress | undefined;
  /** Ends the pull, which throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A container image by its name (docs/images.md): `debian:12`, `oci:FOLDER`, `docker-archive:FILE`. It is pulled unless it is here.
 * Throws a one-line error (OciError).
 */
export async function pulledImage(name: string, { onProgress, signal }: PulledImageOptions): Promise<RootImage> {
  const step = onProgress && pullProgress(name, onProgress);
  const { rootDisk, config } = await new ImageStore().ensure(name, { signal, onProgress: step });
  return { disk: rootDisk, env: config.env, cwd: config.workdir, user: config.user };
}
