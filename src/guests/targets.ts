/** A Linux guest: Debian's kernel with an initramfs of ours. */
export interface LinuxTarget {
  readonly kind: 'linux';
  readonly name: string;
  readonly description: string;
  readonly suite: string;
  readonly architecture: string;
  /** The package that depends on the current kernel. */
  readonly metaPackage: string;
}

/** Files of one Debian package, as they are. */
export interface FilesTarget {
  readonly kind: 'files';
  readonly name: string;
  readonly description: string;
  readonly suite: string;
  readonly architecture: string;
  /** Of several packages that match, the newest; a pattern of apt's. */
  readonly package: string | { readonly pattern: string };
  /** Which files of the package, by their path in it, and what to call them; `gunzip` adds an unpacked copy. */
  readonly files: readonly { readonly match: RegExp; readonly name?: string; readonly gunzip?: string }[];
}

export type GuestTarget = LinuxTarget | FilesTarget;

const bookworm = { suite: 'bookworm', architecture: 'amd64' } as const;

/** The guests that can be prepared, the default first. */
export const targets: readonly GuestTarget[] = [
  {
    ...bookworm,
    kind: 'linux',
    name: 'amd64',
    description: 'Debian 12 cloud kernel 6.1, busybox shell (the default)',
    metaPackage: 'linux-image-cloud-amd64',
  },
  {
    ...bookworm,
    kind: 'linux',
    name: 'amd64-generic',
    description: 'Debian 12 full kernel 6.1, all drivers as modules',
    metaPackage: 'linux-image-amd64',
  },
  {
    kind: 'linux',
    name: 'amd64-trixie',
    description: 'Debian 13 cloud kernel 6.12',
    suite: 'trixie',
    architecture: 'amd64',
    metaPackage: 'linux-image-cloud-amd64',
  },
  {
    kind: 'linux',
    name: 'i386',
    description: 'Debian 12 kernel 6.1 for 32-bit processors without PAE',
    suite: 'bookworm',
    architecture: 'i386',
    metaPackage: 'linux-image-686',
  },
  {
    ...bookworm,
    kind: 'files',
    name: 'seabios',
    description: 'SeaBIOS, a legacy BIOS (for --bios)',
    package: 'seabios',
    files: [{ match: /^usr\/share\/seabios\/[^/]+\.bin$/ }],
  },
  {
    ...bookworm,
    kind: 'files',
    name: 'ovmf',
    description: 'OVMF, UEFI firmware (for --bios)',
    package: 'ovmf',
    files: [{ match: /^usr\/share\/OVMF\/OVMF_(CODE|VARS)_4M\.fd$/ }],
  },
  {
    ...bookworm,
    kind: 'files',
    name: 'ipxe',
    description: 'iPXE, ROMs that boot from the network',
    package: 'ipxe-qemu',
    files: [{ match: /^usr\/lib\/ipxe\/qemu\/(pxe|efi)-(virtio|e1000)\.rom$/ }],
  },
  {
    ...bookworm,
    kind: 'files',
    name: 'memtest86+',
    description: 'Memtest86+, a memory test that boots like a kernel',
    package: 'memtest86+',
    files: [{ match: /^boot\/(memtest86\+|mt86plus_)[^/]+$/ }],
  },
  {
    ...bookworm,
    kind: 'files',
    name: 'grub-invaders',
    description: 'GRUB Invaders, a game in a multiboot kernel of 7 KB',
    package: 'grub-invaders',
    files: [{ match: /^boot\/[^/]*invaders[^/]*$/, name: 'invaders.exec' }],
  },
  {
    ...bookworm,
    kind: 'files',
    name: 'xen',
    description: 'Xen 4.17, a type 1 hypervisor (multiboot)',
    package: { pattern: '^xen-hypervisor-[0-9.]+-amd64$' },
    files: [{ match: /^boot\/xen-[^/]+-amd64\.gz$/, name: 'xen.gz', gunzip: 'xen' }],
  },
];

export const DEFAULT_GUEST = 'amd64';
