/* Linux system calls and the few types of theirs that the agent uses, for amd64 and i386, without a C library. */
#ifndef SYS_H
#define SYS_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

/** A system call: its result, or the negative number of an error. */
long sys(long number, long a, long b, long c, long d, long e, long f);

#ifdef __x86_64__
#define NR(amd64, i386) (amd64)
#else
#define NR(amd64, i386) (i386)
#endif

/* Linux 6.1, arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl. */
enum {
  NR_read = NR(0, 3),
  NR_write = NR(1, 4),
  NR_close = NR(3, 6),
  NR_poll = NR(7, 168),
  NR_mmap = NR(9, 192), /* mmap2 on i386, whose offset is in pages */
  NR_munmap = NR(11, 91),
  NR_rt_sigprocmask = NR(14, 175),
  NR_ioctl = NR(16, 54),
  NR_getpid = NR(39, 20),
  NR_socket = NR(41, 359),
  NR_connect = NR(42, 362),
  NR_shutdown = NR(48, 373),
  NR_fork = NR(57, 2),
  NR_execve = NR(59, 11),
  NR_exit_group = NR(231, 252),
  NR_wait4 = NR(61, 114),
  NR_kill = NR(62, 37),
  NR_uname = NR(63, 122),
  NR_fcntl = NR(72, 221),
  NR_fsync = NR(74, 118),
  NR_chdir = NR(80, 12),
  NR_setsid = NR(112, 66),
  NR_setgroups = NR(116, 206),
  NR_setuid = NR(105, 213),
  NR_setgid = NR(106, 214),
  NR_prctl = NR(157, 172),
  NR_chroot = NR(161, 61),
  NR_sync = NR(162, 36),
  NR_mount = NR(165, 21),
  NR_umount2 = NR(166, 52),
  NR_reboot = NR(169, 88),
  NR_sethostname = NR(170, 74),
  NR_getdents64 = NR(217, 220),
  NR_clock_settime = NR(227, 404), /* clock_settime64 on i386 */
  NR_openat = NR(257, 295),
  NR_mkdirat = NR(258, 296),
  NR_mknodat = NR(259, 297),
  NR_fchownat = NR(260, 298),
  NR_unlinkat = NR(263, 301),
  NR_renameat = NR(264, 302),
  NR_symlinkat = NR(266, 304),
  NR_readlinkat = NR(267, 305),
  NR_fchmodat = NR(268, 306),
  NR_signalfd4 = NR(289, 327),
  NR_dup3 = NR(292, 330),
  NR_pipe2 = NR(293, 331),
  NR_inotify_init1 = NR(294, 332),
  NR_inotify_add_watch = NR(254, 292),
  NR_pread64 = NR(17, 180),
  NR_finit_module = NR(313, 350),
  NR_statx = NR(332, 383),
  NR_close_range = NR(436, 436),
};

#define SYS0(name) sys(NR_##name, 0, 0, 0, 0, 0, 0)
#define SYS1(name, a) sys(NR_##name, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(name, a, b) sys(NR_##name, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(name, a, b, c) sys(NR_##name, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(name, a, b, c, d) sys(NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(name, a, b, c, d, e) sys(NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(name, a, b, c, d, e, f) sys(NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* errno.h */
enum {
  ENOENT = 2, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EBUSY = 16,
  EEXIST = 17, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EROFS = 30, EPIPE = 32, ENAMETOOLONG = 36, ENOSYS = 38, EPROTO = 71,
};

/* fcntl.h */
enum {
  O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_EXCL = 0200, O_NOCTTY = 0400, O_TRUNC = 01000,
  O_APPEND = 02000, O_NONBLOCK = 04000, O_ASYNC = 020000, O_DIRECTORY = 0200000, O_NOFOLLOW = 0400000,
  O_CLOEXEC = 02000000, F_SETFL = 4, F_SETOWN = 8, AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100,
  AT_REMOVEDIR = 0x200,
};
#define O_LARGEFILE NR(0, 0100000)

/* sys/stat.h */
enum { S_IFMT = 0170000, S_IFDIR = 0040000, S_IFLNK = 0120000 };

/* sys/mount.h */
enum {
  MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REMOUNT = 32, MS_MOVE = 8192, MNT_DETACH = 2,
};

/* signal.h */
enum { SIGKILL = 9, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17, SIGIO = 29, SIG_BLOCK = 0, SIG_SETMASK = 2 };

/* poll.h */
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
struct pollfd {
  int fd;
  short events, revents;
};

/* asm/ioctls.h, linux/random.h, linux/sockios.h */
enum {
  TIOCSCTTY = 0x540e, TIOCSWINSZ = 0x5414, FIONREAD = 0x541b, TIOCSPTLCK = 0x40045431, TIOCGPTPEER = 0x5441,
  RNDADDENTROPY = 0x40085203, RNDRESEEDCRNG = 0x5207, SIOCADDRT = 0x890b, SIOCGIFFLAGS = 0x8913,
  SIOCSIFFLAGS = 0x8914, SIOCSIFADDR = 0x8916, SIOCSIFNETMASK = 0x891c, SIOCSIFHWADDR = 0x8924,
};

/** struct statx, linux/stat.h: the same on both. */
struct statx_time {
  s64 seconds;
  u32 nanoseconds;
  u32 reserved;
};
struct statx {
  u32 mask, block_size;
  u64 attributes;
  u32 links, uid, gid;
  u16 mode, reserved;
  u64 inode, size, blocks, attributes_mask;
  struct statx_time accessed, born, changed, modified;
  u32 rdev_major, rdev_minor, dev_major, dev_minor;
  u64 spare[14];
};
enum { STATX_BASIC_STATS = 0x7ff };

/** struct linux_dirent64 */
struct dirent64 {
  u64 inode;
  s64 offset;
  u16 length;
  u8 type;
  char name[];
};

static inline int sys_open(const char *path, int flags, int mode) {
  return (int)SYS4(openat, AT_FDCWD, path, flags | O_CLOEXEC | O_LARGEFILE, mode);
}
static inline long sys_read(int fd, void *to, size_t count) { return SYS3(read, fd, to, count); }
static inline long sys_write(int fd, const void *from, size_t count) { return SYS3(write, fd, from, count); }
static inline void sys_close(int fd) { SYS1(close, fd); }
static inline int sys_mkdir(const char *path, int mode) { return (int)SYS3(mkdirat, AT_FDCWD, path, mode); }
static inline int sys_mount(const char *source, const char *target, const char *type, u32 flags, const char *data) {
  return (int)SYS5(mount, source, target, type, flags, data);
}
static inline __attribute__((noreturn)) void sys_exit(int code) {
  for (;;) SYS1(exit_group, code);
}

#endif
