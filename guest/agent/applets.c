/*
 * What the agent does itself, each in a process of its own: files, clocks, names, networks. Standard input and output carry
 * the contents; the exit code is 0 or the number of an error.
 */
#include "agent.h"

typedef const char *const *words;

/** A record of stat: 56 bytes, and in lists the length of a name (16 bits) and the name. */
enum { RECORD = 56 };

static void put_record(u8 *to, const struct statx *status) {
  put32(to, status->mode);
  put32(to + 4, status->uid);
  put32(to + 8, status->gid);
  put32(to + 12, status->links);
  put64(to + 16, status->size);
  put64(to + 24, status->inode);
  put64(to + 32, (u64)status->modified.seconds);
  put32(to + 40, status->modified.nanoseconds);
  put32(to + 44, status->rdev_major);
  put32(to + 48, status->rdev_minor);
  put32(to + 52, 0);
}

static int status_of(int folder, const char *path, int flags, struct statx *status) {
  return (int)SYS5(statx, folder, path, flags, STATX_BASIC_STATS, status);
}

/** stat PATH FOLLOW */
static int applet_stat(words w) {
  struct statx status;
  u8 record[RECORD];
  int result = status_of(AT_FDCWD, w[1], str_equal(w[2], "1") ? 0 : AT_SYMLINK_NOFOLLOW, &status);
  if (result < 0) return result;
  put_record(record, &status);
  return write_all(1, record, sizeof record);
}

static u8 block[65536];

/** Copies up to `most` bytes. */
static int copy(int from, int to, u64 most) {
  while (most > 0) {
    long count = sys_read(from, block, most < sizeof block ? (size_t)most : sizeof block);
    if (count == -EINTR) continue;
    if (count < 0) return (int)count;
    if (count == 0) break;
    int result = write_all(to, block, (size_t)count);
    if (result < 0) return result;
    most -= (u64)count;
  }
  return 0;
}

/** read PATH OFFSET LENGTH: the length may be empty, for all that is there. */
static int applet_read(words w) {
  s64 offset = parse_number(w[2]), length = *w[3] ? parse_number(w[3]) : (s64)1 << 62;
  if (offset < 0 || length < 0) return -EINVAL;
  int fd = sys_open(w[1], O_RDONLY, 0);
  if (fd < 0) return fd;
  struct statx status;
  int result = status_of(AT_FDCWD, w[1], 0, &status);
  if (result == 0 && (status.mode & S_IFMT) == S_IFDIR) return -EISDIR;
  if (offset == 0) return copy(fd, 1, (u64)length);
  while (length > 0) {
    size_t part = length < (s64)sizeof block ? (size_t)length : sizeof block;
#ifdef __x86_64__
    long count = SYS4(pread64, fd, block, part, offset);
#else
    long count = SYS5(pread64, fd, block, part, (u32)offset, (u32)((u64)offset >> 32));
#endif
    if (count == -EINTR) continue;
    if (count < 0) return (int)count;
    if (count == 0) break;
    result = write_all(1, block, (size_t)count);
    if (result < 0) return result;
    offset += count;
    length -= count;
  }
  return 0;
}

/** write PATH MODE HOW: standard input; `w` anew, `a` behind what is there, `x` only where nothing is. Empty mode: 0644. */
static int applet_write(words w) {
  s64 mode = *w[2] ? parse_number(w[2]) : 0644;
  if (mode < 0 || mode > 07777) return -EINVAL;
  int how = w[3][0] == 'a' ? O_APPEND : w[3][0] == 'x' ? O_EXCL : O_TRUNC;
  int fd = sys_open(w[1], O_WRONLY | O_CREAT | how, (int)mode);
  if (fd < 0) return fd;
  int result = copy(0, fd, (u64)1 << 62);
  if (result == 0 && *w[2]) result = (int)SYS3(fchmodat, AT_FDCWD, w[1], mode);
  return result;
}

static int is_dots(const char *name) { return str_equal(name, ".") || str_equal(name, ".."); }

/** list PATH */
static int applet_list(words w) {
  int fd = sys_open(w[1], O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return fd;
  static u8 entries[32768];
  for (;;) {
    long count = SYS3(getdents64, fd, entries, sizeof entries);
    if (count <= 0) return (int)count;
    u32 filled = 0;
    for (long at = 0; at < count;) {
      struct dirent64 *entry = (struct dirent64 *)(entries + at);
      at += entry->length;
      if (is_dots(entry->name)) continue;
      struct statx status;
      /* Gone meanwhile. */
      if (status_of(fd, entry->name, AT_SYMLINK_NOFOLLOW, &status) < 0) continue;
      u32 length = (u32)str_length(entry->name);
      if (filled + RECORD + 2 + length > sizeof block) {
        int result = write_all(1, block, filled);
        if (result < 0) return result;
        filled = 0;
      }
      put_record(block + filled, &status);
      put16(block + filled + RECORD, (u16)length);
      memcpy(block + filled + RECORD + 2, entry->name, length);
      filled += RECORD + 2 + length;
    }
    int result = write_all(1, block, filled);
    if (result < 0) return result;
  }
}

/** mkdir PATH MODE PARENTS */
static int applet_mkdir(words w) {
  s64 mode = parse_number(w[2]);
  if (mode < 0 || mode > 07777) return -EINVAL;
  if (!str_equal(w[3], "1")) return sys_mkdir(w[1], (int)mode);
  char path[4096];
  if (join(path, sizeof path, w[1], "", "") < 0) return -ENAMETOOLONG;
  for (char *at = path + 1; *path && *at; at++) {
    if (*at != '/') continue;
    *at = 0;
    int result = sys_mkdir(path, 0755);
    if (result < 0 && result != -EEXIST) return result;
    *at = '/';
  }
  int result = sys_mkdir(path, (int)mode);
  struct statx status;
  if (result == -EEXIST && status_of(AT_FDCWD, path, 0, &status) == 0)
    return (status.mode & S_IFMT) == S_IFDIR ? 0 : -ENOTDIR;
  return result;
}

/** Removes what is in a folder, and it as well. Each level is one open folder. */
static int remove_tree(int parent, const char *name, int depth) {
  if (depth > 512) return -ENAMETOOLONG;
  int fd = (int)SYS4(openat, parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  for (int more = 1; more;) {
    u8 entries[2048];
    more = 0;
    for (;;) {
      long count = SYS3(getdents64, fd, entries, sizeof entries);
      if (count <= 0) break;
      for (long at = 0; at < count;) {
        struct dirent64 *entry = (struct dirent64 *)(entries + at);
        at += entry->length;
        if (is_dots(entry->name)) continue;
        int result = (int)SYS3(unlinkat, fd, entry->name, 0);
        if (result == -EISDIR) result = remove_tree(fd, entry->name, depth + 1);
        if (result < 0 && result != -ENOENT) {
          sys_close(fd);
          return result;
        }
      }
    }
  }
  sys_close(fd);
  return (int)SYS3(unlinkat, parent, name, AT_REMOVEDIR);
}

/** remove PATH RECURSIVE */
static int applet_remove(words w) {
  int result = (int)SYS3(unlinkat, AT_FDCWD, w[1], 0);
  if (result != -EISDIR) return result;
  return str_equal(w[2], "1") ? remove_tree(AT_FDCWD, w[1], 0)
                              : (int)SYS3(unlinkat, AT_FDCWD, w[1], AT_REMOVEDIR);
}

static int applet_rename(words w) { return (int)SYS4(renameat, AT_FDCWD, w[1], AT_FDCWD, w[2]); }

/** symlink TARGET PATH */
static int applet_symlink(words w) { return (int)SYS3(symlinkat, w[1], AT_FDCWD, w[2]); }

static int applet_readlink(words w) {
  char target[4096];
  long length = SYS4(readlinkat, AT_FDCWD, w[1], target, sizeof target);
  return length < 0 ? (int)length : write_all(1, target, (size_t)length);
}

/** chmod PATH MODE */
static int applet_chmod(words w) {
  s64 mode = parse_number(w[2]);
  return mode < 0 || mode > 07777 ? -EINVAL : (int)SYS3(fchmodat, AT_FDCWD, w[1], mode);
}

/** chown PATH UID GID */
static int applet_chown(words w) {
  s64 uid = parse_number(w[2]), gid = parse_number(w[3]);
  if (uid < 0 || gid < 0) return -EINVAL;
  return (int)SYS5(fchownat, AT_FDCWD, w[1], uid, gid, AT_SYMLINK_NOFOLLOW);
}

/** watch PATH MASK: struct inotify_event as the kernel writes them, until standard input ends; first an empty one. */
static int applet_watch(words w) {
  s64 mask = parse_number(w[2]);
  int fd = (int)SYS1(inotify_init1, O_CLOEXEC);
  if (mask <= 0 || fd < 0) return mask <= 0 ? -EINVAL : fd;
  int result = (int)SYS3(inotify_add_watch, fd, w[1], mask);
  if (result < 0) return result;
  memset(block, 0, 16);
  result = write_all(1, block, 16);
  while (result == 0) {
    struct pollfd polled[2] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};
    SYS3(poll, polled, 2, -1);
    if (polled[1].revents && sys_read(0, block, sizeof block) <= 0) return 0;
    if (!polled[0].revents) continue;
    long count = sys_read(fd, block, sizeof block);
    if (count < 0) return (int)count;
    result = write_all(1, block, (size_t)count);
  }
  return result;
}

/** connect ADDRESS PORT: carries bytes between a TCP port of the guest and standard input and output. */
static int applet_connect(words w) {
  u8 to[16];
  memset(to, 0, sizeof to);
  const char *at = w[1];
  s64 number = parse_number(w[2]);
  if (number < 1 || number > 65535) return -EINVAL;
  put16(to, 2 /* AF_INET */);
  to[2] = (u8)(number >> 8), to[3] = (u8)number;
  for (int i = 0; i < 4; i++) {
    s64 part = parse_until(at, '.', &at);
    if (part < 0 || part > 255) return -EINVAL;
    to[4 + i] = (u8)part;
  }
  int fd = (int)SYS3(socket, 2, 1 | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  int result = (int)SYS3(connect, fd, to, sizeof to);
  if (result < 0) return result;
  int open = 1;
  for (;;) {
    struct pollfd polled[2] = {{fd, POLLIN, 0}, {open ? 0 : -1, POLLIN, 0}};
    SYS3(poll, polled, 2, -1);
    if (polled[1].revents) {
      long count = sys_read(0, block, sizeof block);
      if (count <= 0) {
        open = 0;
        SYS2(shutdown, fd, 1 /* SHUT_WR */);
      } else if (write_all(fd, block, (size_t)count) < 0) return 0;
    }
    if (polled[0].revents) {
      long count = sys_read(fd, block, sizeof block);
      if (count <= 0 || write_all(1, block, (size_t)count) < 0) return 0;
    }
  }
}

/** clock SECONDS NANOSECONDS */
static int applet_clock(words w) {
  s64 time[2] = {parse_number(w[1]), parse_number(w[2])};
  return time[0] < 0 || time[1] < 0 ? -EINVAL : (int)SYS2(clock_settime, 0, time);
}

static int applet_hostname(words w) { return (int)SYS2(sethostname, w[1], str_length(w[1])); }

/** machine-id ID: as machine-id(5) has it, without the newline. */
static int applet_machine_id(words w) {
  char line[64];
  if (join(line, sizeof line, w[1], "\n", "") < 0) return -EINVAL;
  int result = write_file("/etc/machine-id", line, 0444);
  /* The old name, where it is a file of its own. */
  struct statx status;
  if (status_of(AT_FDCWD, "/var/lib/dbus/machine-id", AT_SYMLINK_NOFOLLOW, &status) == 0 &&
      (status.mode & S_IFMT) != S_IFLNK)
    write_file("/var/lib/dbus/machine-id", line, 0444);
  return result;
}

static int applet_sync(words w) {
  (void)w;
  SYS0(sync);
  return 0;
}

/** Whether there are processes besides the first, this one, and the kernel's threads, which have no words. */
static int others_live(void) {
  int found = 0, folder = sys_open("/proc", O_RDONLY | O_DIRECTORY, 0);
  static u8 entries[8192];
  long count, self = SYS0(getpid);
  while (folder >= 0 && !found && (count = SYS3(getdents64, folder, entries, sizeof entries)) > 0)
    for (long at = 0; at < count;) {
      struct dirent64 *entry = (struct dirent64 *)(entries + at);
      at += entry->length;
      s64 pid = parse_number(entry->name);
      char path[64], words[4];
      if (pid <= 1 || pid == self || join(path, sizeof path, "/proc/", entry->name, "/cmdline") < 0) continue;
      if (read_file(path, words, sizeof words) > 0) found = 1;
    }
  if (folder >= 0) sys_close(folder);
  return found;
}

/**
 * power-off GRACE: asks all processes to end, waits that long (milliseconds), kills them, and switches the machine off.
 * EINVAL beside an init of the image's, whose affair it is.
 */
static int applet_power_off(words w) {
  s64 grace = parse_number(w[1]);
  if (grace < 0 || grace > 3600000) return -EINVAL;
  if (boot_init) return -EINVAL;
  u64 all = ~(u64)0;
  SYS4(rt_sigprocmask, SIG_BLOCK, &all, 0, sizeof all);
  /* -1: all but the first process and this one. */
  SYS2(kill, -1, SIGTERM);
  for (long left = (long)grace; left > 0 && others_live(); left -= 10) sleep_ms(10);
  SYS2(kill, -1, SIGKILL);
  SYS0(sync);
  sys_mount("none", "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
  return (int)SYS4(reboot, 0xfee1dead, 672274793, 0x4321fedc, 0);
}

struct applet {
  const char *name;
  int (*run)(words w);
  /** With its name. */
  u32 words;
};

static int applet_network(words w) { return set_network(w, 6); }

/**
 * identity HOSTNAME MACHINE-ID INTERFACE HARDWARE-ADDRESS ADDRESS/BITS GATEWAY: of a machine that was one with another. What is empty
 * stays; an id that the guest has none of, or cannot change, and a card that it has not, are no errors.
 */
int set_identity(words w) {
  int result = *w[1] ? applet_hostname(w) : 0;
  struct statx status;
  if (result == 0 && *w[2] && status_of(AT_FDCWD, "/etc/machine-id", 0, &status) == 0) {
    const char *id[] = {w[0], w[2]};
    result = applet_machine_id(id);
    if (result == -EROFS) result = 0;
  }
  if (result == 0 && *w[3]) {
    const char *network[] = {w[0], w[3], w[4], w[5], w[6], ""};
    result = set_network(network, 6);
    if (result == -ENODEV) result = 0;
  }
  return result;
}

static const struct applet applets[] = {
  {"stat", applet_stat, 3},
  {"read", applet_read, 4},
  {"write", applet_write, 4},
  {"list", applet_list, 2},
  {"mkdir", applet_mkdir, 4},
  {"rename", applet_rename, 3},
  {"remove", applet_remove, 3},
  {"symlink", applet_symlink, 3},
  {"readlink", applet_readlink, 2},
  {"chmod", applet_chmod, 3},
  {"chown", applet_chown, 4},
  {"watch", applet_watch, 3},
  {"connect", applet_connect, 3},
  {"clock", applet_clock, 3},
  {"hostname", applet_hostname, 2},
  {"machine-id", applet_machine_id, 2},
  {"network", applet_network, 6},
  {"identity", set_identity, 7},
  {"sync", applet_sync, 1},
  {"power-off", applet_power_off, 2},
};

int run_applet(words arguments, u32 count) {
  for (u32 i = 0; i < sizeof applets / sizeof *applets; i++) {
    if (!str_equal(applets[i].name, arguments[0])) continue;
    if (count != applets[i].words) return EINVAL;
    return -applets[i].run(arguments);
  }
  return ENOSYS;
}
