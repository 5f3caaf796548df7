/* The first process of a guest that measures its disks: one program without a library, so that little but disk is measured.
 * Each measurement waits for a line on the console, so that the host can empty its cache first, and ends with
 * "@NAME NANOSECONDS". Disks are opened with O_DIRECT: the guest's own cache has no part in it. */
typedef unsigned long u64;

enum { MIB = 1 << 20, PAGE = 4096 };
enum { O_RDONLY = 0, O_RDWR = 2, O_DIRECT = 040000 };
enum { SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_pread = 17, SYS_pwrite = 18, SYS_exit = 60, SYS_fdatasync = 75, SYS_clock_gettime = 228 };

static long call(long n, u64 a, u64 b, u64 c, u64 d) {
  long result;
  register u64 r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

static u64 length(const char *text) {
  u64 n = 0;
  while (text[n]) n++;
  return n;
}

static void print(const char *text) { call(SYS_write, 1, (u64)text, length(text), 0); }

static void number(u64 value) {
  char digits[24];
  int at = 23;
  digits[at] = 0;
  do digits[--at] = '0' + value % 10;
  while (value /= 10);
  print(digits + at);
}

static u64 nanoseconds(void) {
  long time[2];
  call(SYS_clock_gettime, 1, (u64)time, 0, 0);
  return (u64)time[0] * 1000000000 + (u64)time[1];
}

static void fail(const char *what) {
  print("@bad ");
  print(what);
  print("\n");
  call(SYS_exit, 1, 0, 0, 0);
}

static unsigned char buffer[MIB] __attribute__((aligned(PAGE)));
static u64 seed = 88172645463325252ul;

/* xorshift64: the same places in every run. */
static u64 next(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

struct measurement {
  const char *name;
  int writes;
  /* Bytes at once; how often; random places; a sync after each. */
  u64 size, count;
  int random, sync;
};

static const struct measurement measurements[] = {
    {"seq-read-cold", 0, MIB, 256, 0, 0},
    {"seq-read-cached", 0, MIB, 1024, 0, 0},
    {"4k-read-cold", 0, PAGE, 3000, 1, 0},
    {"4k-read-cached", 0, PAGE, 12000, 1, 0},
    {"seq-write", 1, MIB, 256, 0, 0},
    {"seq-rewrite", 1, MIB, 512, 0, 0},
    {"4k-write", 1, PAGE, 12000, 1, 0},
    {"4k-write-sync", 1, PAGE, 200, 1, 1},
};

static void measure(const struct measurement *m, int fd, u64 blocks) {
  char line[8];
  print("@ready ");
  print(m->name);
  print("\n");
  if (call(SYS_read, 0, (u64)line, sizeof line, 0) <= 0) fail("console");
  /* A repetition goes where the first one went. */
  seed = 88172645463325252ul;
  u64 before = nanoseconds();
  for (u64 i = 0; i < m->count; i++) {
    u64 offset = (m->random ? next() % (blocks * (MIB / PAGE)) * PAGE : i % blocks * MIB);
    if (call(m->writes ? SYS_pwrite : SYS_pread, fd, (u64)buffer, m->size, offset) != (long)m->size) fail(m->name);
    if (m->sync) call(SYS_fdatasync, fd, 0, 0, 0);
  }
  if (m->writes) call(SYS_fdatasync, fd, 0, 0, 0);
  u64 taken = nanoseconds() - before;
  print("@");
  print(m->name);
  print(" ");
  number(taken);
  print("\n");
}

/* argv: the disk, its size in MiB. */
__attribute__((used)) static void start(long *stack) {
  if (stack[0] < 3) fail("arguments");
  int fd = (int)call(SYS_open, (u64)stack[2], O_RDWR | O_DIRECT, 0, 0);
  if (fd < 0) fail("open");
  u64 blocks = 0;
  for (const char *digit = (const char *)stack[3]; *digit; digit++) blocks = blocks * 10 + (u64)(*digit - '0');
  for (u64 i = 0; i < MIB; i++) buffer[i] = (unsigned char)next();
  for (u64 i = 0; i < sizeof measurements / sizeof *measurements; i++) measure(&measurements[i], fd, blocks);
  print("@done\n");
  call(SYS_exit, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start\n");
