export { readAgent } from './agent-initramfs.js';
export {
  agentArchive,
  architectureOf,
  joinArchives,
  type AgentArchitecture,
  type BootStep,
} from './common/agent-archive.js';
export { cacheRoot } from '../host/node/cache.js';
export type { ToolOptions } from './debian-tools.js';
export { findBootRom, findFirmware, type Firmware } from './firmware.js';
export { ensureGuest, fetchGuest, findGuest, type PreparedGuest } from './prepare.js';
export type { Progress, ProgressEvent } from './progress.js';
export { DEFAULT_GUEST, targets, type GuestTarget } from './targets.js';
