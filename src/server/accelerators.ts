/** What machines can run on here. */
import { hostFiles, whyNoKvmDevice } from '../host/node/virtualization.js';

/** Those that a client may name. */
export const accelerators = (): readonly string[] =>
  whyNoKvmDevice(hostFiles) === undefined ? ['wasm', 'interp', 'kvm'] : ['wasm', 'interp'];
