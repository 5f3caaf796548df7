// Programs of any target have Symbol.asyncDispose with it, which declarations name (TypeScript 5.2).
/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Vitrine as a library.
 *
 *   import { Vm } from 'vitrine';
 *   await using vm = await Vm.create();
 *   const { stdout } = await vm.exec('uname -a');
 *
 * `Vm` is a machine with Linux in it whose commands, files and ports a program uses (docs/sdk.md). `MachineHandle` is what is
 * underneath, for machines of any kind: it runs in a worker of this process, and is talked to by its devices alone.
 */
export { HostError, UsageError, VitrineError } from '../base/errors.js';
export type { BootModule } from '../firmware/loaders/request.js';
export type { Progress, ProgressEvent } from '../guests/progress.js';
export type { InputEvent } from '../iface/input.js';
export type {
  AllowConfig,
  ForwardConfig,
  LinkNetConfig,
  NetConfig,
  NetworkConfig,
  TapNetConfig,
  UserNetConfig,
} from '../iface/net-config.js';
export type { StreamEnd, StreamListener } from '../iface/streams.js';
export type { DebugReason } from '../iface/vcpu.js';
export type { BarInfo } from '../bus/pci/bar.js';
export type { BalloonStatistic } from '../devices/virtio/balloon.js';
export type { FrameNews } from '../display/frame-news.js';
export type { Rectangle } from '../display/rectangle.js';
export type { CursorPicture } from '../iface/display.js';
export type { PointerInfo } from '../machine/common/input-hub.js';
export type { PciFunctionInfo } from '../machine/pc/describe-pci.js';
export type { BiosImage, BootKernel, BootSource } from '../machine/common/board.js';
export type { BalloonStatus, Button, PictureFormat } from '../runtime/common/commands.js';
export { MachineHandle, type MachineListener, type MachineOptions } from '../runtime/node/machine-handle.js';
export type { WorkerKind } from '../runtime/node/worker-kind.js';
export type { Branch, InputChannel, MachineFacts, MachineStart, OutputChannel } from '../runtime/node/protocol.js';
export { publishMachine, type PublishOptions } from '../runtime/node/publish.js';
export { BUTTON, POINTER_RANGE } from '../iface/input.js';
export type { CpuUsage } from '../runtime/node/scheduler.js';
export type { CpuLimits } from '../vmm/sched/settings.js';
export type { DiskAttachment, DiskMedia } from '../machine/common/disks.js';
export type { ClockKind, DiskCache, DiskConfig, DiskFormat, DisplayConfig, MachineConfig } from '../vmm/config.js';
export type { BootConfig, FirmwareConfig, FlashConfig, NetRomConfig } from '../vmm/firmware-config.js';
export type { CpuInfo, DiskInfo, Inspection, MediumInfo } from '../vmm/inspect.js';
export type { CardRequest, HotplugRequest } from '../vmm/hotplug.js';
export type { MediaRequest } from '../vmm/media.js';
export type { CardConfig, FolderConfig, NetdevConfig, NodeConfig, PluggedConfig } from '../vmm/plugged-config.js';
export type { ShareDriver } from '../machine/common/sharing-kinds.js';
export type { PortConfig, ShareConfig, SharingConfig, VsockConfig } from '../vmm/sharing-config.js';
export type { MachineExit } from '../vmm/machine.js';
export type { TerminalSize } from './agent/protocol.js';
export {
  AgentGoneError,
  ExecError,
  ExecTimeoutError,
  ExitError,
  GuestFileError,
  ProtocolError,
  VmError,
} from './errors.js';
export type { CommandLine, ExecOptions, ExecResult, ExitStatus, Input, SpawnOptions } from './exec.js';
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
} from './files.js';
export { HostGuestFiles } from './node/host-files.js';
export { LinuxGuest, type GuestMachine, type ShellOptions } from './linux-guest.js';
export { GuestProcess } from './process.js';
export { SerialPort } from './serial.js';
export { Display } from './node/display.js';
export type { Identity } from './identity.js';
export { Monitor, type Metrics, type VmEvent } from './node/monitor.js';
export type { StartOptions } from './node/start-machine.js';
export { Vm, type CreateOptions, type ForkOptions, type RestoreOptions } from './node/vm.js';
export type { DiskOptions, MountOptions, NetworkOptions, RootImage, VmOptions } from './node/launch.js';
export { PortForwards, type ForwardOptions, type PortForward } from './node/ports.js';
export {
  ImageStore,
  OciError,
  type Accounts,
  type BuildOptions,
  type Credentials,
  type DiskLimits,
  type ImageConfig,
  type ImageErrorCode,
  type ImageRecord,
  type ImageSettings,
  type Platform,
  type Port,
  type PullOptions,
  type PullProgress,
  type RemoveOptions,
  type StoredImage,
  type StoreOptions,
} from '../oci/index.js';
