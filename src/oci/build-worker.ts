/** The thread that makes one disk. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.js';
import { VitrineError } from '../base/errors.js';
import { isSystemError } from './blob-store.js';
import { buildDisk } from './build-disk.js';
import type { BuildNews, BuildRequest } from './build-thread.js';
import { OciError } from './errors.js';

assert(parentPort !== null, 'this is the entry of a worker');
const port = parentPort;
const tell = (news: BuildNews): void => port.postMessage(news);

const { layers, file, ...request } = workerData as BuildRequest;
let shown = 0;
try {
  const disk = await buildDisk(layers, file, {
    ...request,
    progress: (fraction) => {
      // A message for each hundredth is enough.
      if (fraction - shown < 0.01 && fraction < 1) return;
      shown = fraction;
      tell({ kind: 'progress', fraction });
    },
  });
  tell({ kind: 'done', disk });
} catch (error) {
  if (error instanceof OciError) tell({ kind: 'refused', code: error.code, message: error.message });
  // What files say of themselves is one line as well.
  else if (error instanceof VitrineError) tell({ kind: 'refused', code: 'storage', message: error.message });
  else if (isSystemError(error))
    tell({ kind: 'failed', message: error.message, code: error.code ?? '', syscall: error.syscall ?? '' });
  else tell({ kind: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
