/** What boots a container image: another /init for our guests' initramfs, which goes to a root disk and runs a program there. */
import { writeCpio } from './common/cpio.js';

/** A program of an image, as it is to be run. */
export interface ImageProgram {
  /** The program and what it is given; a name without a slash is looked for in the PATH of `env`. */
  readonly argv: readonly string[];
  /** `NAME=VALUE`: all that it gets, but for TERM, HOME and HOSTNAME where these are not among them. */
  readonly env: readonly string[];
  /** Made if it is not there. */
  readonly workdir: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** What the guest knows the root disk by. */
export const ROOT_DISK_SERIAL = 'vitrine-root';

/** What the guest writes to the virtio console when the program has ended, before its exit code. */
export const EXIT_MARK = 'vitrine-exit';

/** Exit codes where the program could not be started, as shells have them. */
const EXIT = { BROKEN: 125, NOT_EXECUTABLE: 126, NOT_FOUND: 127 } as const;

/**
 * The first process. In the chroot, busybox is reached through the root of process 1, so that nothing is put into the image; only
 * root may go that way, and it is root until start-stop-daemon becomes the program.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
exec </dev/console >/dev/console 2>&1
dmesg -n 1
BB=/proc/1/root/bin/busybox
R=/root-disk

# The console's last user waits until all is sent.
end() {
  exec </dev/null >/dev/null 2>&1
  sync
  echo "${EXIT_MARK} $1" >/dev/hvc0
  # The machine ends here, as a rule, and the kernel has no time to say that it does.
  sleep 5
  poweroff -f
}
broken() {
  echo "vitrine: $1"
  end ${EXIT.BROKEN}
}

for bus in pci platform virtio; do
  cat /sys/bus/$bus/devices/*/modalias 2>/dev/null | sort -u | while read -r alias; do modprobe -q -b "$alias"; done
done
modprobe -q -b -a crc32c_generic ext4 2>/dev/null

DISK=
tries=0
while [ -z "$DISK" ] && [ $tries -lt 500 ]; do
  for serial in /sys/block/*/serial; do
    [ "$(cat "$serial" 2>/dev/null)" = ${ROOT_DISK_SERIAL} ] && DISK=\${serial%/serial} && DISK=/dev/\${DISK##*/}
  done
  tries=$((tries + 1))
  [ -n "$DISK" ] || usleep 10000
done
[ -n "$DISK" ] || broken 'the guest does not find the root disk'
mkdir -p $R
mount -t ext4 "$DISK" $R 2>/dev/null || broken 'the guest cannot mount the root disk'

for folder in dev proc sys; do
  mkdir -p $R/$folder 2>/dev/null
  [ -d $R/$folder ] || broken "the image has a file where the folder /$folder should be"
  [ -L $R/$folder ] && broken "the image has a link where the folder /$folder should be"
done
mount -t proc proc $R/proc
mount -t sysfs sysfs $R/sys
mount -t devtmpfs devtmpfs $R/dev
mkdir -p $R/dev/pts $R/dev/shm
mount -t devpts -o ptmxmode=666 devpts $R/dev/pts
mount -t tmpfs -o mode=1777 tmpfs $R/dev/shm
ln -sfn /proc/self/fd $R/dev/fd
ln -sfn fd/0 $R/dev/stdin
ln -sfn fd/1 $R/dev/stdout
ln -sfn fd/2 $R/dev/stderr

hostname vitrine
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
  ip link set eth0 up
  udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/udhcpc.script >/dev/null 2>&1
fi

# Files of the image, as the image sees them.
in_root() { chroot $R $BB "$@"; }
in_root mkdir -p /etc
if [ -s /etc/resolv.conf ]; then
  in_root rm -f /etc/resolv.conf
  in_root sh -c 'cat >/etc/resolv.conf' </etc/resolv.conf
fi
in_root [ -s /etc/hosts ] || in_root sh -c 'cat >/etc/hosts' </etc/hosts
in_root [ -e /etc/hostname ] || in_root sh -c 'cat >/etc/hostname' </etc/hostname

. /etc/vitrine-program

PROGRAM=
case $1 in
  */*) PROGRAM=$1 ;;
  *)
    rest=$SEARCH:
    while [ -n "$rest" ] && [ -z "$PROGRAM" ]; do
      folder=\${rest%%:*}
      rest=\${rest#*:}
      in_root [ -f "\${folder:-.}/$1" ] && in_root [ -x "\${folder:-.}/$1" ] && PROGRAM=\${folder:-.}/$1
    done
    ;;
esac
in_root mkdir -p "$WORKDIR" || broken "the image has no folder $WORKDIR"
case $PROGRAM in
  '') echo "vitrine: the image has no program $1 in its PATH" && end ${EXIT.NOT_FOUND} ;;
  /*) WHERE=$PROGRAM ;;
  *) WHERE=$WORKDIR/$PROGRAM ;;
esac
in_root [ -e "$WHERE" ] || { echo "vitrine: the image has no $1" && end ${EXIT.NOT_FOUND}; }
in_root [ -f "$WHERE" ] && in_root [ -x "$WHERE" ] || { echo "vitrine: $1 cannot be executed" && end ${EXIT.NOT_EXECUTABLE}; }
NAME=$1
shift

# This shell has nothing to say of how it ends; cttyhack opens the program's own standard error.
exec 2>/dev/null
# A session with the console for its terminal; whatever the program leaves behind belongs to this shell.
setsid cttyhack sh -c '. /etc/vitrine-environment' - "$WHERE" "$NAME" "$@"
end $?
`;

/** Text as one word of a shell's. */
export const shellWord = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** An archive to be put behind a guest's own initramfs: what is in both is taken from here. */
export function imageInit({ argv, env, workdir, uid, gid, home }: ImageProgram): Uint8Array {
  const given = new Set(env.map((pair) => pair.slice(0, pair.indexOf('='))));
  const defaults = [`HOME=${home}`, 'TERM=xterm', 'HOSTNAME=vitrine'].filter((pair) => !given.has(pair.split('=')[0]));
  const all = [...env, ...defaults];
  const search = all.find((pair) => pair.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  const program = [
    `SEARCH=${shellWord(search)}`,
    `WORKDIR=${shellWord(workdir)}`,
    `set -- ${argv.map(shellWord).join(' ')}`,
  ];
  // Within the image; $1 is the program's place, $2 its name as it was given.
  const inside = [
    `cd ${shellWord(workdir)} || exit ${EXIT.BROKEN}`,
    'program=$1 name=$2',
    'shift 2',
    'unset OLDPWD SHLVL',
    `exec /proc/1/root/bin/busybox start-stop-daemon -S -c ${uid}:${gid} -x "$program" -a "$name" -- "$@"`,
  ];
  const environment = [
    `exec chroot /root-disk /proc/1/root/bin/busybox env -i ${all.map(shellWord).join(' ')} \\`,
    `  /proc/1/root/bin/busybox sh -c ${shellWord(inside.join('\n'))} - "$@"`,
  ];
  const text = (lines: readonly string[]): Uint8Array => new TextEncoder().encode(`${lines.join('\n')}\n`);
  return writeCpio([
    { kind: 'file', path: 'init', data: new TextEncoder().encode(INIT), mode: 0o755 },
    { kind: 'file', path: 'etc/vitrine-program', data: text(program) },
    { kind: 'file', path: 'etc/vitrine-environment', data: text(environment) },
  ]);
}
