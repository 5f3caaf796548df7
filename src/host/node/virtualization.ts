/** Why a host has no KVM, in words that say what to do. */
import * as fs from 'node:fs';

/** What is asked of the host; tests bring another one. */
export interface HostFiles {
  /** `process.platform`, `process.arch`. */
  readonly platform: string;
  readonly arch: string;
  exists(path: string): boolean;
  /** Undefined when it cannot be read. */
  read(path: string): string | undefined;
}

export const hostFiles: HostFiles = {
  platform: process.platform,
  arch: process.arch,
  exists: (path) => fs.existsSync(path),
  read: (path) => {
    try {
      return fs.readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
};

export const KVM_DEVICE = '/dev/kvm';

/** Undefined when there is a device to be opened. */
export function whyNoKvmDevice(host: HostFiles): string | undefined {
  if (host.platform !== 'linux') return `KVM is Linux's, and this host runs ${host.platform}`;
  if (host.arch !== 'x64') return `guests are x86, and this host's processor is not (${host.arch})`;
  if (host.exists(KVM_DEVICE)) return undefined;
  if (host.exists('/sys/module/kvm/parameters') && host.exists('/sys/devices/virtual/misc/kvm'))
    return 'the kernel has KVM, but there is no /dev/kvm here: a container has to be given it (--device /dev/kvm)';
  const flags = new Set(
    /^flags\s*:(.*)$/m
      .exec(host.read('/proc/cpuinfo') ?? '')?.[1]
      .trim()
      .split(/\s+/),
  );
  if (flags.has('vmx') || flags.has('svm')) {
    const module = flags.has('vmx') ? 'kvm_intel' : 'kvm_amd';
    return `there is no /dev/kvm, though the processor could: load the module ${module} (as root: modprobe ${module})`;
  }
  if (flags.has('hypervisor'))
    return 'this host is a virtual machine itself, and the hypervisor below it offers no nested virtualization';
  return 'the processor offers no VT-x or AMD-V, or the firmware has switched it off';
}
