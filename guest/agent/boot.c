/*
 * The first process: loads drivers, mounts the root disk, and goes there. What is to be done stands in /vitrine.boot, one
 * step on a line, its words divided by tabs.
 */
#include "agent.h"

const char *boot_init;

static char script[65536];
static char release[65];
static int boot_port = -1;

/** The machine cannot start: its owner is told, and it ends. */
static void give_up(const char *what, const char *which, int error) __attribute__((noreturn));
static void give_up(const char *what, const char *which, int error) {
  char text[512], number[12];
  format_number(number, (u32)(error < 0 ? -error : error));
  join(text, sizeof text, what, " ", which);
  size_t length = str_length(text);
  join(text + length, sizeof text - length, ": error ", number, "");
  /* The owner has been there from the beginning, and is known to the driver a moment after the port. */
  for (int i = 0; i < 100 && boot_port >= 0; i++) {
    struct pollfd polled = {boot_port, POLLOUT, 0};
    SYS3(poll, &polled, 1, 0);
    if (polled.revents & POLLOUT) break;
    sleep_ms(10);
  }
  if (boot_port >= 0) tell_failure(boot_port, text);
  write_all(2, text, str_length(text));
  write_all(2, "\n", 1);
  sleep_ms(100);
  SYS4(reboot, 0xfee1dead, 672274793, 0x4321fedc, 0);
  for (;;) sleep_ms(1000);
}

/* ---- modules ---- */

static int load_file(const char *file, u32 length) {
  char folder[128], name[96], path[256];
  if (length >= sizeof name) return -ENAMETOOLONG;
  memcpy(name, file, length);
  name[length] = 0;
  join(folder, sizeof folder, "/lib/modules/", release, "");
  join(path, sizeof path, folder, "/", name);
  int fd = sys_open(path, O_RDONLY, 0);
  if (fd < 0) return fd;
  int result = (int)SYS3(finit_module, fd, "", 0);
  sys_close(fd);
  return result == -EEXIST ? 0 : result;
}

/** Loads a module behind all that it needs. One that is not there is part of the kernel, or missed later. */
static void load_module(const char *name) {
  static char index[65536];
  static int loaded;
  if (!loaded) {
    char folder[128], path[256];
    join(folder, sizeof folder, "/lib/modules/", release, "");
    join(path, sizeof path, folder, "/", "modules.dep");
    if (read_file(path, index, sizeof index) < 0) return;
    loaded = 1;
  }
  size_t length = str_length(name);
  for (char *line = index; *line;) {
    char *end = line;
    while (*end && *end != '\n') end++;
    if (str_starts(line, name) && str_starts(line + length, ".ko:")) {
      /* Names of files divided by spaces; what is to be loaded first comes last. */
      char *at = end;
      while (at > line + length + 4) {
        char *start = at;
        while (start > line && start[-1] != ' ' && start[-1] != ':') start--;
        if (at > start) load_file(start, (u32)(at - start));
        at = start - 1;
      }
      int result = load_file(line, (u32)(length + 3));
      if (result < 0) give_up("the kernel does not take the module", name, result);
      return;
    }
    line = *end ? end + 1 : end;
  }
}

/* ---- the port ---- */

int open_port(int milliseconds) {
  for (int left = milliseconds;; left -= 2) {
    int folder = sys_open("/sys/class/virtio-ports", O_RDONLY | O_DIRECTORY, 0);
    if (folder >= 0) {
      u8 entries[4096];
      long count;
      while ((count = SYS3(getdents64, folder, entries, sizeof entries)) > 0)
        for (long at = 0; at < count;) {
          struct dirent64 *entry = (struct dirent64 *)(entries + at);
          at += entry->length;
          char path[128], name[64], device[128];
          if (!str_starts(entry->name, "vport")) continue;
          if (join(path, sizeof path, "/sys/class/virtio-ports/", entry->name, "/name") < 0) continue;
          if (read_file(path, name, sizeof name) < 0 || !str_equal(name, PORT_NAME "\n")) continue;
          join(device, sizeof device, "/dev/", entry->name, "");
          int fd = sys_open(device, O_RDWR | O_NONBLOCK, 0);
          if (fd >= 0) {
            sys_close(folder);
            return fd;
          }
        }
      sys_close(folder);
    }
    if (left <= 0) return -ENXIO;
    sleep_ms(2);
  }
}

/* ---- networks ---- */

/** A sockaddr_in of `a.b.c.d`, ended by `stop` or the end. */
static const char *put_address(u8 *to, const char *text, char stop) {
  memset(to, 0, 16);
  put16(to, 2 /* AF_INET */);
  for (int i = 0; i < 4; i++) {
    s64 part = parse_until(text, i < 3 ? '.' : stop, &text);
    if (part < 0 || part > 255) return NULL;
    to[4 + i] = (u8)part;
  }
  return text;
}

/** struct ifreq: a name, and 24 bytes on amd64, 16 on i386. */
struct interface {
  char name[16];
  u8 value[24];
};

static int set_flag_up(int socket, struct interface *interface, int up) {
  int result = (int)SYS3(ioctl, socket, SIOCGIFFLAGS, interface);
  if (result < 0) return result;
  u16 flags = get16(interface->value);
  put16(interface->value, up ? flags | 1 : flags & ~1u);
  return (int)SYS3(ioctl, socket, SIOCSIFFLAGS, interface);
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/** Six bytes, `xx:xx:…`, small letters. */
static int set_hardware_address(int socket, struct interface *interface, const char *text) {
  u8 address[24];
  memset(address, 0, sizeof address);
  put16(address, 1 /* ARPHRD_ETHER */);
  for (int i = 0; i < 6; i++, text += 3) {
    int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);
    if (low < 0 || text[2] != (i < 5 ? ':' : 0)) return -EINVAL;
    address[2 + i] = (u8)(high << 4 | low);
  }
  memcpy(interface->value, address, sizeof address);
  int result = (int)SYS3(ioctl, socket, SIOCSIFHWADDR, interface);
  if (result != -EBUSY) return result;
  /* Some cards do not change it while they are up, and lose their routes. */
  set_flag_up(socket, interface, 0);
  memcpy(interface->value, address, sizeof address);
  return (int)SYS3(ioctl, socket, SIOCSIFHWADDR, interface);
}

/** struct rtentry, linux/route.h. */
struct route {
  unsigned long reserved;
  u8 destination[16], gateway[16], mask[16];
  u16 flags;
  short reserved2;
  unsigned long reserved3;
  void *reserved4;
  short metric;
  char *device;
  unsigned long mtu, window;
  u16 initial;
};

/** network INTERFACE HARDWARE-ADDRESS ADDRESS/BITS GATEWAY NAMESERVER: what is empty stays as it is. */
int set_network(const char *const *w, u32 count) {
  if (count < 6 || str_length(w[1]) > 15) return -EINVAL;
  struct interface interface;
  memset(&interface, 0, sizeof interface);
  memcpy(interface.name, w[1], str_length(w[1]));
  int socket = (int)SYS3(socket, 2, 2 /* SOCK_DGRAM */ | O_CLOEXEC, 0);
  if (socket < 0) return socket;
  int result = *w[2] ? set_hardware_address(socket, &interface, w[2]) : 0;
  if (result == 0 && *w[3]) {
    u8 address[16], mask[16];
    const char *rest = put_address(address, w[3], '/');
    s64 bits = rest ? parse_number(rest) : -1;
    if (bits < 0 || bits > 32) return -EINVAL;
    memset(interface.value, 0, sizeof interface.value);
    memcpy(interface.value, address, 16);
    result = (int)SYS3(ioctl, socket, SIOCSIFADDR, &interface);
    memset(mask, 0, 16);
    put16(mask, 2);
    for (int i = 0; i < bits; i++) mask[4 + i / 8] |= (u8)(0x80 >> i % 8);
    memcpy(interface.value, mask, 16);
    if (result == 0) result = (int)SYS3(ioctl, socket, SIOCSIFNETMASK, &interface);
  }
  if (result == 0) result = set_flag_up(socket, &interface, 1);
  if (result == 0 && *w[4]) {
    struct route route;
    memset(&route, 0, sizeof route);
    put16(route.destination, 2);
    put16(route.mask, 2);
    if (!put_address(route.gateway, w[4], 0)) return -EINVAL;
    route.flags = 3; /* RTF_UP | RTF_GATEWAY */
    result = (int)SYS3(ioctl, socket, SIOCADDRT, &route);
    if (result == -EEXIST) result = 0;
  }
  if (result == 0 && *w[5]) {
    char line[128];
    if (join(line, sizeof line, "nameserver ", w[5], "\n") == 0) write_file("/etc/resolv.conf", line, 0644);
  }
  sys_close(socket);
  return result;
}

/* ---- the root ---- */

static u32 parse_flags(const char *text) {
  u32 flags = 0;
  for (; *text; text++) flags |= *text == 'r' ? MS_RDONLY : *text == 's' ? MS_NOSUID : *text == 'd' ? MS_NODEV : 0;
  return flags;
}

static void wait_for(const char *path) {
  struct statx status;
  for (int left = 10000; left > 0; left -= 2) {
    if (SYS5(statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &status) == 0) return;
    sleep_ms(2);
  }
}

/** Removes what is in a folder of the first file system, which memory would hold for ever; not what is mounted there. */
static void clear(int folder, u32 major, u32 minor) {
  u8 entries[2048];
  long count;
  while ((count = SYS3(getdents64, folder, entries, sizeof entries)) > 0)
    for (long at = 0; at < count;) {
      struct dirent64 *entry = (struct dirent64 *)(entries + at);
      at += entry->length;
      if (str_equal(entry->name, ".") || str_equal(entry->name, "..")) continue;
      struct statx status;
      if (SYS5(statx, folder, entry->name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &status) < 0) continue;
      if (status.dev_major != major || status.dev_minor != minor) continue;
      if ((status.mode & S_IFMT) != S_IFDIR) {
        SYS3(unlinkat, folder, entry->name, 0);
        continue;
      }
      int inner = (int)SYS4(openat, folder, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
      if (inner < 0) continue;
      clear(inner, major, minor);
      sys_close(inner);
      SYS3(unlinkat, folder, entry->name, AT_REMOVEDIR);
    }
}

/** Makes a mounted folder the root. */
static void enter(const char *root) {
  static const char *const moved[] = {"/dev", "/proc", "/sys"};
  struct statx status;
  memset(&status, 0, sizeof status);
  int old = sys_open("/", O_RDONLY | O_DIRECTORY, 0);
  SYS5(statx, AT_FDCWD, "/", 0, STATX_BASIC_STATS, &status);
  for (int i = 0; i < 3; i++) {
    char to[128];
    join(to, sizeof to, root, moved[i], "");
    sys_mkdir(to, 0755);
    int result = sys_mount(moved[i], to, NULL, MS_MOVE, NULL);
    if (result < 0) give_up("the image has no folder for", moved[i], result);
  }
  int result = (int)SYS1(chdir, root);
  if (result == 0) result = sys_mount(".", "/", NULL, MS_MOVE, NULL);
  if (result == 0) result = (int)SYS1(chroot, ".");
  if (result == 0) result = (int)SYS1(chdir, "/");
  if (result < 0) give_up("the root cannot be entered", root, result);
  if (old >= 0) clear(old, status.dev_major, status.dev_minor);
  sys_close(old);
}

static void mount_or_give_up(const char *source, const char *target, const char *type, u32 flags, const char *data) {
  sys_mkdir(target, 0755);
  int result = sys_mount(source, target, type, flags, data);
  if (result < 0) give_up("cannot mount", target, result);
}

/** What is mounted where there is nothing yet; an image may lack the folder, and a kernel the file system. */
static void mount_basics(void) {
  static const struct { const char *type, *at, *data; u32 flags; } all[] = {
    {"devpts", "/dev/pts", "ptmxmode=0666,mode=0620,gid=5", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV},
    {"cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
  };
  for (u32 i = 0; i < sizeof all / sizeof *all; i++) {
    sys_mkdir(all[i].at, 0755);
    sys_mount(all[i].type, all[i].at, all[i].type, all[i].flags, all[i].data);
  }
  sys_mkdir("/tmp", 01777);
  SYS3(fchmodat, AT_FDCWD, "/tmp", 01777);
  /* What programs expect in /dev and the kernel does not make. */
  SYS3(symlinkat, "/proc/self/fd", AT_FDCWD, "/dev/fd");
  SYS3(symlinkat, "/proc/self/fd/0", AT_FDCWD, "/dev/stdin");
  SYS3(symlinkat, "/proc/self/fd/1", AT_FDCWD, "/dev/stdout");
  SYS3(symlinkat, "/proc/self/fd/2", AT_FDCWD, "/dev/stderr");
}

/**
 * Linux maps 16 pages of a file for each fault, and unmaps them when the process ends, which is worth it where faults are expensive. An emulated
 * processor pays for each page: with 4 of them /bin/true takes a fifth fewer instructions, and none of the larger programs that were measured takes
 * more (docs/performance.md). Kernels that have no debugfs, or close it, stay as they are.
 */
static void map_less_around_faults(void) {
  const char *debug = "/sys/kernel/debug";
  if (sys_mount("debugfs", debug, "debugfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return;
  int fd = sys_open("/sys/kernel/debug/fault_around_bytes", O_WRONLY, 0);
  if (fd >= 0) {
    write_all(fd, "16384", 5);
    sys_close(fd);
  }
  SYS2(umount2, debug, MNT_DETACH);
}

/** mkdir -p */
static void make_folders(const char *path) {
  char part[1024];
  if (join(part, sizeof part, path, "", "") < 0) return;
  for (char *at = part + 1; *part && *at; at++)
    if (*at == '/') {
      *at = 0;
      sys_mkdir(part, 0755);
      *at = '/';
    }
  sys_mkdir(part, 0755);
}

/** Runs a program to its end. */
static void run_program(char *const *words) {
  static const char *const variables[] = {"PATH=/bin", NULL};
  long pid = SYS0(fork);
  if (pid == 0) {
    SYS3(execve, words[0], words, variables);
    sys_exit(127);
  }
  int status = 0;
  while (pid > 0 && SYS4(wait4, pid, &status, 0, 0) == -EINTR) continue;
  if (pid < 0 || status != 0) give_up("the guest cannot run", words[0], pid < 0 ? (int)pid : status >> 8);
}

enum { MOST_WORDS = 6 };

static void step(char *const *w, u32 count) {
  if (str_equal(w[0], "module") && count == 2) load_module(w[1]);
  else if (str_equal(w[0], "port")) {
    boot_port = open_port(10000);
    if (boot_port < 0) give_up("there is no port", PORT_NAME, boot_port);
  } else if (str_equal(w[0], "root") && count == 4) {
    /* root DEVICE TYPE FLAGS */
    wait_for(w[1]);
    sys_mkdir("/vitrine.root", 0755);
    mount_or_give_up(w[1], "/vitrine.root", w[2], parse_flags(w[3]), NULL);
  } else if (str_equal(w[0], "enter")) enter("/vitrine.root");
  else if (str_equal(w[0], "basics")) mount_basics();
  else if (str_equal(w[0], "run") && count >= 2) run_program(w + 1);
  else if (str_equal(w[0], "hostname") && count == 2) SYS2(sethostname, w[1], str_length(w[1]));
  else if (str_equal(w[0], "network") && count == 6) {
    int result = set_network((const char *const *)w, count);
    if (result < 0) give_up("cannot set up the network card", w[1], result);
  } else if (str_equal(w[0], "mount") && count == 5) {
    /* mount SOURCE TARGET TYPE FLAGS */
    make_folders(w[2]);
    mount_or_give_up(w[1], w[2], w[3], parse_flags(w[4]), NULL);
  } else if (str_equal(w[0], "init") && count == 2) boot_init = w[1];
  else give_up("the agent does not know the step", w[0], EINVAL);
}

int boot(void) {
  sys_mkdir("/proc", 0755);
  sys_mkdir("/sys", 0755);
  sys_mkdir("/dev", 0755);
  sys_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  sys_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  sys_mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
  map_less_around_faults();
  /* 0, 1 and 2 are there whatever becomes of the console. */
  int fd = sys_open("/dev/null", O_RDWR, 0);
  while (fd >= 0 && fd < 3) fd = sys_open("/dev/null", O_RDWR, 0);
  if (fd >= 3) sys_close(fd);
  char name[6 * 65];
  memset(name, 0, sizeof name);
  SYS1(uname, name);
  memcpy(release, name + 2 * 65, 64);
  long length = read_file("/vitrine.boot", script, sizeof script);
  if (length < 0) give_up("there is no", "/vitrine.boot", (int)length);
  for (char *at = script; *at;) {
    char *words[MOST_WORDS + 1];
    u32 count = 0;
    words[count++] = at;
    for (; *at && *at != '\n'; at++)
      if (*at == '\t') {
        *at = 0;
        if (count < MOST_WORDS) words[count++] = at + 1;
      }
    if (*at) *at++ = 0;
    words[count] = NULL;
    if (*words[0]) step(words, count);
  }
  return boot_port;
}
