/**
 * Vitrine as a library: machines that run in workers of this process.
 *
 *   const machine = new MachineHandle({ kind: 'create', config }, { output: (channel, bytes, done) => … }, { version });
 *   await machine.started;
 *   machine.send('serial', new TextEncoder().encode('uname -a\n'));
 *   await machine.save('machine.snap');
 *   machine.stop();
 *   await machine.exited;
 */
export { HostError, UsageError, VitrineError } from '../base/errors.js';
export type { BiosImage, BootKernel, BootSource } from '../machine/common/board.js';
export { MachineHandle, type MachineListener, type MachineOptions } from '../runtime/node/machine-handle.js';
export type { InputChannel, MachineFacts, MachineStart, OutputChannel } from '../runtime/node/protocol.js';
export { publishMachine, type PublishOptions } from '../runtime/node/publish.js';
export type { CpuUsage } from '../runtime/node/scheduler.js';
export type { CpuLimits } from '../vmm/sched/settings.js';
export type { DiskAttachment, DiskMedia } from '../machine/common/disks.js';
export type { ClockKind, DiskConfig, DiskFormat, MachineConfig } from '../vmm/config.js';
export type { ShareDriver } from '../machine/common/sharing.js';
export type { PortConfig, ShareConfig, SharingConfig, VsockConfig } from '../vmm/sharing-config.js';
export type { MachineExit } from '../vmm/machine.js';
