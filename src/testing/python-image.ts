/** An image with Python of Debian's, put together by umoci and carried by skopeo to a registry; no program of Debian's runs for it. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { runChecked } from '../guests/command.js';
import { addLayers, layer, umociImage, type TestRegistry } from './oci-images.js';
import { requirePackages, type RequiredPackages, type RequiredTool } from './tools.js';

/** Each is a layer. The first ones are packed with zstd, the others with gzip. */
const ZSTD = ['libc6', 'zlib1g', 'libexpat1', 'libssl3'];
const GZIP = ['libpython3.11-minimal', 'python3.11-minimal', 'python3-minimal'];

/** What Python is made of. */
export const requirePython = (): Promise<RequiredPackages> => requirePackages('bookworm', 'amd64', [...ZSTD, ...GZIP]);

export interface PythonTools {
  readonly python: RequiredPackages;
  readonly umoci: RequiredTool;
  readonly skopeo: RequiredTool;
}

/** Puts the image into a registry: `name` is NAME:TAG there. `folder`: for what is made on the way. */
export async function pushPython(
  { python, umoci, skopeo }: PythonTools,
  { host }: TestRegistry,
  name: string,
  folder: string,
): Promise<void> {
  const layout = path.join(folder, 'python-layout');
  // Archives as they are in the packages: owners and modes come along without root.
  const archives = await Promise.all(
    python.files.map(async (file) => {
      const archive = path.join(folder, `${path.basename(file)}.tar`);
      await runChecked(`cannot read ${file}`, 'dpkg-deb', ['--fsys-tarfile', file], { stdoutFile: archive });
      return archive;
    }),
  );
  const copy = async (from: string, to: string, ...options: readonly string[]): Promise<void> => {
    const args = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false', '--dest-tls-verify=false'];
    // It notes in its home what blobs it has seen.
    const { status, stderr } = await skopeo.run([...args, ...options, from, to], { env: { HOME: folder } });
    if (status !== 0) throw new Error(`skopeo copy ${from} ${to}: ${stderr}`);
  };
  const own = layer([
    { path: 'tmp', kind: 'folder', mode: 0o1777 },
    { path: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\n' },
  ]);
  await umociImage(umoci, layout, 'base', [own]);
  await addLayers(umoci, `${layout}:base`, archives.slice(0, ZSTD.length));
  // umoci packs with gzip alone, and skopeo packs anew on the way to a registry only.
  await copy(`oci:${layout}:base`, `docker://${host}/base`, '--dest-compress-format', 'zstd');
  await copy(`docker://${host}/base`, `oci:${layout}:python`);
  await addLayers(umoci, `${layout}:python`, archives.slice(ZSTD.length));
  await copy(`oci:${layout}:python`, `docker://${host}/${name}`);
  for (const archive of archives) fs.rmSync(archive);
}
