import { writeCpio, type CpioEntry } from './common/cpio.js';
import { moduleIndex, type KernelModule } from './kernel-modules.js';

/** Modules of the guest's kernel that its initramfs brings: the drivers of our devices, and ext4 for disks. */
export const GUEST_MODULES = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_blk',
  'virtio_console',
  'virtio_rng',
  'virtio_net',
  'e1000',
  'virtio_balloon',
  'virtiofs',
  '9p',
  '9pnet_virtio',
  'vmw_vsock_virtio_transport',
  'ahci',
  'ata_piix',
  'sd_mod',
  'sr_mod',
  'floppy',
  'ext4',
  'isofs',
  'vfat',
  // What vfat reads names by, unless it is told otherwise.
  'nls_cp437',
  'nls_ascii',
  // ext4 asks for it by the name of an algorithm, which no dependency shows.
  'crc32c_generic',
] as const;

/**
 * The guest's first process. It is a shell script rather than busybox's own init, which takes two seconds for each
 * power-off: the signals that `poweroff`, `reboot` and `halt` send to process 1 are handled here.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root TERM=xterm LANG=C.UTF-8
exec </dev/console >/dev/console 2>&1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
hostname -F /etc/hostname

# Drivers of the devices that are there; those of a virtio bus appear only with the bus's own driver.
for bus in pci platform virtio; do
  cat /sys/bus/$bus/devices/*/modalias 2>/dev/null | sort -u | while read -r alias; do modprobe -q -b "$alias"; done
done

# What hangs on a controller is found later than the controller.
[ -e /sys/class/ata_port ] && modprobe -q -b -a sd_mod sr_mod

# What the kernel has to say for information from now on, such as that a link is ready, would stand in the middle of what
# somebody types: it stays in dmesg. Warnings and errors are shown. Who asked for another level gets it.
read -r level rest </proc/sys/kernel/printk
[ "$level" = 7 ] && dmesg -n 6

ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
  ip link set eth0 up
  udhcpc -i eth0 -b -t 3 -T 1 -s /etc/udhcpc.script >/dev/null 2>&1 &
fi

trap 'poweroff -f' USR2
trap 'reboot -f' TERM
trap 'halt -f' USR1

read -r uptime rest </proc/uptime
echo
echo "Vitrine guest: Debian's Linux $(uname -r) on $(uname -m), up after $uptime s."
echo "BusyBox has the commands; 'poweroff' or 'exit' ends the machine."
echo

# The shell has a session of its own, whose terminal is the console, so that Ctrl-C and Ctrl-Z work. The second setsid is a
# group leader already, so it goes on as an orphan: with '&' the shell would run with SIGINT ignored for good.
setsid setsid cttyhack sh -c 'sh -l; kill -USR2 1' </dev/console >/dev/console 2>&1

# A shell handles signals between commands only, and 'wait' is one that they interrupt.
while :; do
  sleep 86400 &
  wait $!
done
`;

const PROFILE = `export PS1='\\h:\\w\\$ '
cd "$HOME"
`;

const UDHCPC_SCRIPT = `#!/bin/sh
# Called by udhcpc with what the network said.
case $1 in
  deconfig) ip -4 addr flush dev "$interface" ;;
  bound | renew)
    ip addr replace "$ip/$mask" dev "$interface"
    for gateway in $router; do ip route replace default via "$gateway"; done
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
`;

const FILES: Readonly<Record<string, string>> = {
  'etc/group': 'root:x:0:\n',
  'etc/hostname': 'vitrine\n',
  'etc/hosts': '127.0.0.1 localhost vitrine\n::1 localhost\n',
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
  'etc/profile': PROFILE,
};

/** What goes into an initramfs. */
export interface InitramfsContents {
  /** A statically linked busybox for the guest's architecture. */
  readonly busybox: Uint8Array;
  /** The kernel's release as `uname -r` prints it; names the folder of modules. */
  readonly release: string;
  readonly modules: readonly KernelModule[];
}

/** Makes the initramfs of our Linux guests: busybox, an /init that leads to a shell, and drivers. */
export function buildInitramfs({ busybox, release, modules }: InitramfsContents): Uint8Array {
  const text = new TextEncoder();
  const folder = (path: string): CpioEntry => ({ kind: 'folder', path });
  const script = (path: string, content: string): CpioEntry => ({
    kind: 'file',
    path,
    data: text.encode(content),
    mode: 0o755,
  });
  const index = moduleIndex(modules);
  const home = `lib/modules/${release}`;
  const entries: CpioEntry[] = [
    ...['bin', 'dev', 'etc', 'lib', 'lib/modules', home, 'mnt', 'proc', 'root', 'run', 'sbin', 'sys', 'tmp'].map(
      folder,
    ),
    ...['usr', 'usr/bin', 'usr/sbin', 'var'].map(folder),
    // The kernel opens it for /init before anything is mounted.
    { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'file', path: 'bin/busybox', data: busybox, mode: 0o755 },
    script('init', INIT),
    script('etc/udhcpc.script', UDHCPC_SCRIPT),
    ...Object.entries(FILES).map(([path, content]): CpioEntry => ({ kind: 'file', path, data: text.encode(content) })),
    { kind: 'link', path: 'etc/mtab', target: '/proc/mounts' },
    ...modules.map(({ name, data }): CpioEntry => ({ kind: 'file', path: `${home}/${name}.ko`, data })),
    { kind: 'file', path: `${home}/modules.dep`, data: text.encode(index.dependencies) },
    { kind: 'file', path: `${home}/modules.alias`, data: text.encode(index.aliases) },
    { kind: 'file', path: `${home}/modules.symbols`, data: new Uint8Array(0) },
  ];
  return writeCpio(entries);
}

/** Everything that decides what buildInitramfs makes besides its arguments; part of a prepared guest's identity. */
export const INITRAMFS_RECIPE = [INIT, UDHCPC_SCRIPT, JSON.stringify(FILES), GUEST_MODULES.join()].join('\0');
