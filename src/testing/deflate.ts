/** The compression of snapshots, for tests of layers that know no host. */
export { deflate } from '../host/node/deflate.js';
