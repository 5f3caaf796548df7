/** Disks are made on a thread of their own: unpacking, hashing and writing would hold up whoever waits for them. */
import { Worker } from 'node:worker_threads';
import { THREAD_OPTIONS } from '../host/node/thread-options.js';
import { buildDisk, type BuiltDisk, type DiskLimits, type DiskOptions } from './build-disk.js';
import { OciError, type ImageErrorCode } from './errors.js';
import type { LayerBlob } from './image.js';

/** What the thread is given. */
export interface BuildRequest {
  readonly layers: readonly LayerBlob[];
  readonly file: string;
  readonly limits: DiskLimits;
  readonly identity: string;
  readonly made: number;
  readonly size: number | undefined;
}

/** What it tells. `code`: of an OciError; `system`: of the system's, with its name. */
export type BuildNews =
  | { readonly kind: 'progress'; readonly fraction: number }
  | { readonly kind: 'done'; readonly disk: BuiltDisk }
  | { readonly kind: 'refused'; readonly code: ImageErrorCode; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string; readonly code?: string; readonly syscall?: string };

/** From the sources, as tests run them, there is no thread to be started. */
const isBuilt = import.meta.url.endsWith('.js');

/** As `buildDisk`. When the signal is aborted, the thread has ended before the promise is rejected. */
export async function buildDiskApart(
  layers: readonly LayerBlob[],
  file: string,
  options: DiskOptions,
): Promise<BuiltDisk> {
  if (!isBuilt) return buildDisk(layers, file, options);
  const { limits, identity, made, size, signal, progress } = options;
  signal?.throwIfAborted();
  const workerData: BuildRequest = { layers, file, limits, identity, made, size };
  const worker = new Worker(new URL('./build-worker.js', import.meta.url), { ...THREAD_OPTIONS, workerData });
  let abort = (): void => {};
  try {
    return await new Promise<BuiltDisk>((resolve, reject) => {
      abort = () => reject(signal?.reason as Error);
      signal?.addEventListener('abort', abort, { once: true });
      worker.on('message', (news: BuildNews) => {
        if (news.kind === 'progress') progress?.(news.fraction);
        else if (news.kind === 'done') resolve(news.disk);
        else reject(errorOf(news));
      });
      worker.on('error', (error) => {
        const full = (error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY';
        reject(
          full ? new OciError('too-large', 'the image has more files than memory can hold', { cause: error }) : error,
        );
      });
      worker.on('exit', () => reject(new Error('the thread that makes disks has ended')));
    });
  } finally {
    signal?.removeEventListener('abort', abort);
    await worker.terminate();
  }
}

function errorOf(news: BuildNews & { readonly kind: 'refused' | 'failed' }): Error {
  if (news.kind === 'refused') return new OciError(news.code, news.message);
  const { message, code, syscall } = news;
  return Object.assign(new Error(message), code === undefined ? {} : { code, syscall });
}
