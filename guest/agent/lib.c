#include "lib.h"

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
  void *start = to;
#ifdef __x86_64__
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
#else
  size_t words = count >> 2;
  count &= 3;
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
#endif
  return start;
}

void *memmove(void *to, const void *from, size_t count) {
  u8 *t = to;
  const u8 *f = from;
  if (t <= f || t >= f + count) {
    /* Upwards: what is overwritten has been read. */
    while (count-- > 0) *t++ = *f++;
    return to;
  }
  while (count-- > 0) t[count] = f[count];
  return to;
}

void *memset(void *to, int byte, size_t count) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
  return start;
}

int memcmp(const void *a, const void *b, size_t count) {
  const u8 *x = a, *y = b;
  for (; count > 0; count--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

size_t str_length(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

int str_equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

int str_starts(const char *text, const char *start) {
  while (*start && *text == *start) text++, start++;
  return *start == 0;
}

s64 parse_until(const char *text, char stop, const char **end) {
  u64 value = 0;
  const char *at = text;
  for (; *at && *at != stop; at++) {
    if (*at < '0' || *at > '9' || value > ((u64)1 << 58)) return -1;
    value = value * 10 + (u64)(*at - '0');
  }
  if (end) *end = *at ? at + 1 : at;
  return at == text ? -1 : (s64)value;
}

s64 parse_number(const char *text) { return parse_until(text, 0, NULL); }

int join(char *to, size_t room, const char *a, const char *separator, const char *b) {
  const char *parts[3] = {a, separator, b};
  size_t at = 0;
  for (int i = 0; i < 3; i++) {
    size_t length = str_length(parts[i]);
    if (at + length >= room) return -ENAMETOOLONG;
    memcpy(to + at, parts[i], length);
    at += length;
  }
  to[at] = 0;
  return 0;
}

void format_number(char *to, u32 value) {
  char digits[11];
  int count = 0;
  do digits[count++] = (char)('0' + value % 10);
  while ((value /= 10) > 0);
  while (count > 0) *to++ = digits[--count];
  *to = 0;
}

long read_file(const char *path, char *to, size_t room) {
  int fd = sys_open(path, O_RDONLY, 0);
  if (fd < 0) return fd;
  size_t length = 0;
  while (length < room - 1) {
    long count = sys_read(fd, to + length, room - 1 - length);
    if (count == -EINTR) continue;
    if (count <= 0) break;
    length += (size_t)count;
  }
  sys_close(fd);
  to[length] = 0;
  return (long)length;
}

int write_all(int fd, const void *from, size_t count) {
  const u8 *at = from;
  while (count > 0) {
    long done = sys_write(fd, at, count);
    if (done == -EINTR) continue;
    if (done < 0) return (int)done;
    at += done;
    count -= (size_t)done;
  }
  return 0;
}

int write_file(const char *path, const char *text, int mode) {
  int fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (fd < 0) return fd;
  int result = write_all(fd, text, str_length(text));
  sys_close(fd);
  return result;
}

void *map_memory(size_t bytes, int shared) {
  /* PROT_READ | PROT_WRITE; MAP_ANONYMOUS and MAP_SHARED or MAP_PRIVATE. */
  long at = SYS6(mmap, 0, bytes, 3, 0x20 | (shared ? 1 : 2), -1, 0);
  return at < 0 && at > -4096 ? NULL : (void *)at;
}

void unmap_memory(void *at, size_t bytes) { SYS2(munmap, at, bytes); }

void sleep_ms(int milliseconds) { SYS3(poll, 0, 0, milliseconds); }
