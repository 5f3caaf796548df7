// Serves the demonstration page: npm run web [-- --port N] [--guest NAME] [--no-isolation]
//
//   --port N         default: 8080
//   --guest NAME     one of `vitrine guest list`; default: amd64
//   --no-isolation   without the headers that let a page share memory between threads
import { parseArgs } from 'node:util';
import { KERNEL_WORDS } from '../dist/guests/common/kernel-words.js';
import { cacheRoot, DEFAULT_GUEST, ensureGuest } from '../dist/guests/index.js';
import { createPageServer } from '../dist/server/page-server.js';

const { values } = parseArgs({
  allowNegative: true,
  options: {
    port: { type: 'string', default: '8080' },
    guest: { type: 'string', default: DEFAULT_GUEST },
    isolation: { type: 'boolean', default: true },
  },
});
const { files } = await ensureGuest(values.guest, { cache: cacheRoot(), progress: () => {} });
const server = createPageServer({
  guest: values.guest,
  kernel: files.vmlinux,
  initrd: files.initrd,
  commandLine: `console=ttyS0 ${KERNEL_WORDS}`,
  isolated: values.isolation,
});
server.on('error', (error) => {
  console.error(`the page cannot be served: ${error.message}`);
  process.exitCode = 1;
});
server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`http://localhost:${server.address().port}/`);
});
