export { agentArchive, joinArchives, readAgent, type AgentArchitecture, type BootStep } from './agent-initramfs.js';
export { cacheRoot } from '../host/node/cache.js';
export type { ToolOptions } from './debian-tools.js';
export { findBootRom, findFirmware, type Firmware } from './firmware.js';
export { ensureGuest, fetchGuest, findGuest, type PreparedGuest } from './prepare.js';
export type { Progress, ProgressEvent } from './progress.js';
export { DEFAULT_GUEST, targets, type GuestTarget } from './targets.js';
