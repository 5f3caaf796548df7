// Programs of any target have Symbol.asyncDispose with it, which declarations name (TypeScript 5.2).
/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Vitrine as a library of pages.
 *
 *   import { Vm } from 'vitrine/browser';
 *   const vm = await Vm.create();
 *   const { stdout } = await vm.exec('uname -a');
 *
 * What a page's server has to serve is in docs/browser.md.
 */
export type { ImageFormat } from '../../block/open.js';
export { HostError, UsageError, VitrineError } from '../../base/errors.js';
export { listFiles, openFile, removeFile, storeFile, type StoredFile } from '../../host/browser/files.js';
export type { InputEvent } from '../../iface/input.js';
export { BrowserMachine, type MachineListener, type MachineOptions } from '../../runtime/browser/machine-handle.js';
export type { RelayAddress } from '../../runtime/browser/net-protocol.js';
export type {
  AcceleratorName,
  DiskSources,
  Frame,
  FramePart,
  MachineFacts,
  MachineStart,
  NewImage,
  PageParts,
  PointerPicture,
} from '../../runtime/browser/protocol.js';
export { version } from '../../runtime/browser/version.js';
export type { MachineConfig } from '../../vmm/config.js';
export type { MachineExit } from '../../vmm/machine.js';
export type { TerminalSize } from '../agent/protocol.js';
export {
  AgentGoneError,
  ExecError,
  ExecTimeoutError,
  ExitError,
  GuestFileError,
  ProtocolError,
  VmError,
} from '../errors.js';
export type { CommandLine, ExecOptions, ExecResult, ExitStatus, Input, SpawnOptions } from '../exec.js';
export {
  FileWatch,
  GuestFiles,
  type FileChange,
  type FileEvent,
  type FileOptions,
  type FileStatus,
  type FileType,
  type FolderEntry,
  type WriteOptions,
} from '../files.js';
export type { Identity } from '../identity.js';
export { LinuxGuest, type GuestMachine, type ShellOptions } from '../linux-guest.js';
export { GuestProcess } from '../process.js';
export type { DiskOptions, NetworkOptions, RootImage, Source, VmOptions } from './launch.js';
export { Vm, type CreateOptions, type ForkOptions, type RestoreOptions, type StartOptions } from './vm.js';
