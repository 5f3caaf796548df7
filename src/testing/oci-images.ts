/** Container images for tests: their layers as archives, images in layouts as umoci makes them, and registries. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { TAR_END, tarHeader, tarPadding, type TarMember } from '../oci/tar-writer.js';
import type { RequiredTool } from './tools.js';

/** A member of a layer; a file's content is text or bytes. */
export type LayerMember = Partial<TarMember> & { readonly path: string; readonly content?: string | Uint8Array };

/** An archive of members: files, unless they say something else. */
export function layer(members: readonly LayerMember[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const { content = '', ...member } of members) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    const kind = member.kind ?? 'file';
    const whole: TarMember = {
      kind,
      mode: kind === 'folder' ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
      size: bytes.length,
      ...member,
    };
    parts.push(tarHeader(whole));
    if (kind === 'file') parts.push(bytes, tarPadding(bytes.length));
  }
  return Buffer.concat([...parts, TAR_END]);
}

/** Makes an image in a layout with umoci; `config`: options of `umoci config`, such as --config.cmd. */
export async function umociImage(
  umoci: RequiredTool,
  layout: string,
  tag: string,
  layers: readonly Uint8Array[],
  config: readonly string[] = [],
): Promise<void> {
  if (!fs.existsSync(layout)) await runUmoci(umoci, ['init', '--layout', layout]);
  const image = `${layout}:${tag}`;
  await runUmoci(umoci, ['new', '--image', image]);
  const files = layers.map((bytes, i) => {
    const file = path.join(path.dirname(layout), `layer-${tag}-${i}.tar`);
    fs.writeFileSync(file, bytes);
    return file;
  });
  await addLayers(umoci, image, files);
  if (config.length > 0) await runUmoci(umoci, ['config', '--image', image, ...config]);
}

/** Puts archives on top of an image, LAYOUT:TAG. */
export async function addLayers(umoci: RequiredTool, image: string, files: readonly string[]): Promise<void> {
  for (const file of files) await runUmoci(umoci, ['raw', 'add-layer', '--image', image, file]);
}

async function runUmoci(umoci: RequiredTool, args: readonly string[]): Promise<void> {
  const { status, stderr } = await umoci.run(args);
  if (status !== 0) throw new Error(`umoci ${args.join(' ')}: ${stderr}`);
}

/** A port of this machine's that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** A registry that runs until it is stopped. */
export interface TestRegistry {
  /** HOST:PORT */
  readonly host: string;
  stop(): void;
}

/** Starts Debian's docker-registry on loopback; `htpasswd`: who may use it, as lines of such a file. */
export async function startRegistry(registry: RequiredTool, folder: string, htpasswd?: string): Promise<TestRegistry> {
  const port = await freePort();
  const config = path.join(folder, `registry-${port}.json`);
  const passwords = `${config}.htpasswd`;
  if (htpasswd !== undefined) fs.writeFileSync(passwords, htpasswd);
  // JSON is YAML, too.
  fs.writeFileSync(
    config,
    JSON.stringify({
      version: '0.1',
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: path.join(folder, 'registry') }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}` },
      ...(htpasswd !== undefined && { auth: { htpasswd: { realm: 'test', path: passwords } } }),
    }),
  );
  const child = spawn(registry.path, ['serve', config], { env: { ...process.env, ...registry.env }, stdio: 'ignore' });
  const deadline = Date.now() + 10_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error('docker-registry has ended');
    const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined);
    if (answer) break;
    if (Date.now() > deadline) throw new Error('docker-registry does not start');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { host: `127.0.0.1:${port}`, stop: () => void child.kill() };
}
