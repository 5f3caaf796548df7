/** Everything that is fuzzed. */
import type { FuzzTarget } from '../target.js';
import { agentTarget } from './agent.js';
import { ahciTarget } from './ahci.js';
import { balloonTarget } from './balloon.js';
import { consoleTarget } from './console.js';
import { e1000Target } from './e1000.js';
import { ext4Target } from './ext4.js';
import { fdcTarget } from './fdc.js';
import { fuseTarget } from './fuse.js';
import { gpuTarget } from './gpu.js';
import { httpTarget } from './http.js';
import { ideTarget } from './ide.js';
import { inputTarget } from './input.js';
import { ociTarget } from './oci.js';
import { p9Target } from './p9.js';
import { qcow2Target } from './qcow2.js';
import { qmpTarget } from './qmp.js';
import { rfbClientTarget } from './rfb-client.js';
import { rfbTarget } from './rfb.js';
import { rfbWatcherTarget } from './rfb-watcher.js';
import { streamsTarget } from './streams.js';
import { userNetTarget } from './user-net.js';
import { vgaTarget } from './vga.js';
import { virtioNetTarget } from './virtio-net.js';
import { virtqueueTarget } from './virtqueue.js';
import { vsockTarget } from './vsock.js';

export const TARGETS: readonly FuzzTarget[] = [
  vgaTarget,
  gpuTarget,
  rfbTarget,
  rfbClientTarget,
  rfbWatcherTarget,
  inputTarget,
  fuseTarget,
  p9Target,
  vsockTarget,
  consoleTarget,
  balloonTarget,
  streamsTarget,
  virtqueueTarget,
  virtioNetTarget,
  e1000Target,
  userNetTarget,
  qcow2Target,
  ociTarget,
  ext4Target,
  ahciTarget,
  httpTarget,
  ideTarget,
  fdcTarget,
  qmpTarget,
  agentTarget,
];
