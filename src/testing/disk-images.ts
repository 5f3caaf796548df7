/** Disk images as QEMU's programs make them, with all features of the format in turn. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RequiredTool } from './tools.js';

export interface ImageTools {
  readonly img: Pick<RequiredTool, 'run'>;
  readonly io: Pick<RequiredTool, 'run'>;
}

export interface GeneratedImage {
  readonly file: string;
  /** What is special about it, for messages. */
  readonly features: string;
  /** Names of the snapshots within it. */
  readonly snapshots: readonly string[];
}

/** Numbers that look random, the same for the same seed. */
export function sequence(seed: number): (below: number) => number {
  let state = (seed * 0x9e37_79b1 + 0x7f4a_7c15) >>> 0 || 1;
  return (below) => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

async function checked(tool: ImageTools['img'], args: readonly string[]): Promise<void> {
  const { status, stdout, stderr } = await tool.run(args);
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stdout}${stderr}`);
}

/** Bytes that compress, each sector different. */
function contents(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 512)
    if (Math.floor(at / 65536) % 3 !== 0) {
      bytes.fill((at / 512 + seed) % 251, at, at + 500);
      bytes[at] = seed;
    }
  return bytes;
}

/** qemu-io's commands for some writes to a disk. */
function writes(size: number, count: number, next: (below: number) => number, kinds: readonly string[]): string[] {
  return Array.from({ length: count }, () => {
    const kind = kinds[next(kinds.length)];
    const first = next(size / 512 - 1);
    const sectors = Math.min(1 + next(next(3) === 0 ? 2000 : 40), size / 512 - first);
    const place = `${first * 512} ${sectors * 512}`;
    return kind === 'discard' ? `discard ${place}` : `${kind.replace('PATTERN', String(1 + next(254)))} ${place}`;
  });
}

const KINDS = ['write -P PATTERN', 'write -P PATTERN', 'write -P PATTERN', 'write -z', 'write -z -u', 'discard'];

/** Makes an image of the features that a seed chooses, in a folder of its own. */
export async function generateImage(tools: ImageTools, folder: string, seed: number): Promise<GeneratedImage> {
  const next = sequence(seed);
  const file = path.join(folder, `image-${seed}.qcow2`);
  const v2 = next(5) === 0;
  const clusterSize = 512 << [0, 3, 5, 7, 7, 7, 9, 12][next(8)];
  const size = (2048 + next(16 * 2048)) * 512;
  const zstd = !v2 && next(3) === 0;
  const options = [`cluster_size=${clusterSize}`, `compat=${v2 ? '0.10' : '1.1'}`];
  // Snapshots need counts of two bits at least.
  if (!v2) options.push(`refcount_bits=${[2, 4, 8, 16, 16, 32, 64][next(7)]}`);
  if (!v2 && next(4) === 0) options.push('lazy_refcounts=on');
  if (zstd) options.push('compression_type=zstd');
  if (!v2 && clusterSize >= 16384 && next(2) === 0) options.push('extended_l2=on');
  const features = [...options, `size=${size}`];
  const snapshots: string[] = [];

  switch (next(4)) {
    case 0: {
      // Compressed from a raw file.
      const raw = path.join(folder, `raw-${seed}`);
      writeFileSync(raw, contents(size, seed % 200));
      await checked(tools.img, ['convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', options.join(','), raw, file]);
      features.push('compressed');
      break;
    }
    case 1: {
      // On a backing file, which is as long, shorter or longer, and perhaps on another.
      const base = path.join(folder, `base-${seed}.img`);
      writeFileSync(base, contents(Math.max(1, next(2 * (size / 512))) * 512, seed % 200));
      let [below, format] = [path.basename(base), 'raw'];
      for (let i = next(3); i > 0; i--) {
        const middle = path.join(folder, `middle-${seed}-${i}.qcow2`);
        await checked(tools.img, ['create', '-q', '-f', 'qcow2', '-b', below, '-F', format, middle, String(size)]);
        await checked(tools.io, [...writes(size, 8, next, KINDS).flatMap((line) => ['-c', line]), middle]);
        [below, format] = [path.basename(middle), 'qcow2'];
        features.push('chain');
      }
      await checked(tools.img, [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-o',
        options.join(','),
        '-b',
        below,
        '-F',
        format,
        file,
        String(size),
      ]);
      features.push('backing');
      break;
    }
    default: {
      const preallocation = ['off', 'off', 'metadata'][next(3)];
      options.push(`preallocation=${preallocation}`);
      await checked(tools.img, ['create', '-q', '-f', 'qcow2', '-o', options.join(','), file, String(size)]);
      features.push(preallocation);
    }
  }
  for (let round = next(4); round >= 0; round--) {
    const some = writes(size, 12, next, KINDS).flatMap((line) => ['-c', line]);
    await checked(tools.io, [...some, file]);
    if (next(2) === 0) {
      const cluster = next(Math.floor(size / clusterSize));
      const { status } = await tools.io.run(['-c', `write -c -P 77 ${cluster * clusterSize} ${clusterSize}`, file]);
      if (status === 0) features.push('compressed cluster');
    }
    if (round > 0 && next(2) === 0) {
      // Narrow counts have no room for many.
      const { status } = await tools.img.run(['snapshot', '-c', `s${round}`, file]);
      if (status === 0) snapshots.push(`s${round}`);
      // A snapshot that failed leaves lost clusters.
      else await checked(tools.img, ['check', '-q', '-r', 'leaks', file]);
    }
  }
  if (!v2 && next(4) === 0) {
    await checked(tools.img, ['bitmap', '--add', file, 'b1']);
    features.push('bitmap');
  }
  return { file, features: [...features, ...snapshots].join(' '), snapshots };
}
