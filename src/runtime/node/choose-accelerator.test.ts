import { describe, expect, it } from 'vitest';
import type { HostFiles } from '../../host/node/virtualization.js';
import { requireKvm } from '../../testing/tools.js';
import { chooseAccelerator, kvmStatus, type Needs } from './choose-accelerator.js';

/** A host without a device. */
const host = (files: Readonly<Record<string, string>> = {}, changes: Partial<HostFiles> = {}): HostFiles => ({
  platform: 'linux',
  arch: 'x64',
  exists: (path) => Object.hasOwn(files, path),
  read: (path) => files[path],
  ...changes,
});

const cpuinfo = (flags: string): Readonly<Record<string, string>> => ({
  '/proc/cpuinfo': `processor\t: 0\nflags\t\t: fpu ${flags} sse2\nbugs\t\t:\n`,
});

const plain: Needs = { clock: 'host', tracesCode: false };

describe('a host without /dev/kvm', () => {
  it.each([
    ['another system', host({}, { platform: 'darwin' }), /Linux's, and this host runs darwin/],
    ['another processor', host({}, { arch: 'arm64' }), /this host's processor is not \(arm64\)/],
    ['a module that is not loaded', host(cpuinfo('vmx')), /modprobe kvm_intel/],
    ['a module of AMD', host(cpuinfo('svm hypervisor')), /modprobe kvm_amd/],
    ['no nested virtualization', host(cpuinfo('hypervisor')), /offers no nested virtualization/],
    ['nothing', host(cpuinfo('')), /no VT-x or AMD-V, or the firmware/],
    ['no /proc', host(), /no VT-x or AMD-V/],
    [
      'a container',
      host({ '/sys/module/kvm/parameters': '', '/sys/devices/virtual/misc/kvm': '' }),
      /--device \/dev\/kvm/,
    ],
  ])('says why: %s', async (_name, given, reason) => {
    const status = await kvmStatus(given);
    expect(status).toMatchObject({ opens: false, works: false });
    expect(status.reason).toMatch(reason);
    expect(await chooseAccelerator(plain, given)).toEqual({ accel: 'wasm', reason: status.reason });
  });
});

describe('the choice of an accelerator', () => {
  it.each([
    ['virtual time', { ...plain, clock: 'virtual' }, /does not count/],
    ['a trace of code', { ...plain, tracesCode: true }, /which instructions run/],
  ] as const)('never falls on KVM for %s', async (_name, needs, reason) => {
    const choice = await chooseAccelerator(needs);
    expect(choice.accel).toBe('wasm');
    expect(choice.reason).toMatch(reason);
  });

  it('falls on KVM where operating systems run on it', async () => {
    const { missing } = await requireKvm();
    const status = await kvmStatus();
    expect(status.opens).toBe(missing === undefined);
    const choice = await chooseAccelerator(plain);
    expect(choice.accel).toBe(status.works ? 'kvm' : 'wasm');
    if (!status.works) expect(choice.reason).toBe(status.reason);
    // A guest that was saved goes on where its time-stamp counter runs as it did.
    expect((await chooseAccelerator({ ...plain, tscHz: 1e9 })).accel).toBe('wasm');
    // And where it finds what it has seen.
    const seen = [{ leaf: 7, subleaf: 0, eax: 0, ebx: 0, ecx: 0, edx: 0x8000_0000 }];
    const elsewhere = await chooseAccelerator({ ...plain, seen });
    expect(elsewhere.accel).toBe('wasm');
    if (status.works)
      expect(elsewhere.reason).toBe("the guest has seen 7h:EDX[31], which this host's KVM does not have");
  });
});
