/** A process that writes to an image is killed at some moment; then the image must be sound, with all that was promised. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openImage } from '../block/open.js';
import { imageOpener } from '../runtime/node/image-store.js';
import { createDisk } from '../runtime/node/disk-tools.js';
import { sequence, type ImageTools } from './disk-images.js';
import { places, record, RECORD } from './disk-writer.js';

const WRITER = fileURLToPath(new URL('../../dist/testing/disk-writer.js', import.meta.url));

export interface KillRound {
  /** A file that is not there yet. */
  readonly file: string;
  readonly seed: number;
  /** Bytes of the disk. */
  readonly size: number;
  readonly clusterSize?: number;
  /** An image that the new one stands on. */
  readonly backing?: string;
}

/** One round. Returns how many records were promised; throws when one is missing or the image is not sound. */
export async function killRound({ img }: Pick<ImageTools, 'img'>, round: KillRound): Promise<number> {
  const { file, seed, size, clusterSize, backing } = round;
  createDisk({
    file,
    format: 'qcow2',
    size,
    clusterSize,
    backing: backing === undefined ? undefined : { file: backing, format: 'auto' },
  });
  const promised = await writeUntilKilled(file, seed, 20 + sequence(seed)(400));
  const { status, stdout, stderr } = await img.run(['check', file]);
  if (status !== 0) throw new Error(`qemu-img check gives ${status} after a kill: ${stdout}${stderr}`);
  const disk = openImage({ name: file, format: 'auto', readOnly: true }, imageOpener({ lock: true, warn: () => {} }));
  const all = size / RECORD;
  let number = 0;
  // Once all is promised, records are discarded.
  if (promised < all)
    for (const offset of places(all, seed)) {
      if (number >= promised) break;
      const bytes = new Uint8Array(RECORD);
      disk.read(offset, bytes);
      if (Buffer.compare(bytes, record(number)) !== 0) throw new Error(`record ${number} of ${promised} is lost`);
      number++;
    }
  disk.close();
  return promised;
}

/** Kills the writer so many milliseconds after its first promise. Returns the last one. */
function writeUntilKilled(file: string, seed: number, milliseconds: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WRITER, file, String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output === '') setTimeout(() => child.kill('SIGKILL'), milliseconds);
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code !== null) reject(new Error(`the writer ended with ${code}`));
      // The last line may have been cut.
      else resolve(Number(output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1)));
    });
  });
}
