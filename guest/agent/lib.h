/* Memory and strings. */
#ifndef LIB_H
#define LIB_H

#include "sys.h"

/* The compiler calls the first four by itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);
int memcmp(const void *a, const void *b, size_t count);

size_t str_length(const char *text);
int str_equal(const char *a, const char *b);
int str_starts(const char *text, const char *start);

/** A decimal number that is the whole of a text; -1 when it is none, or above 2^62. */
s64 parse_number(const char *text);
/** Likewise up to a byte or the end; `end` is where it stopped. */
s64 parse_until(const char *text, char stop, const char **end);

/** Joins two parts of a path. 0, or -ENAMETOOLONG. */
int join(char *to, size_t room, const char *a, const char *separator, const char *b);

/** A number in decimal digits and a NUL; at least 11 bytes of room. */
void format_number(char *to, u32 value);

/** Reads a small file, of which at most `room - 1` bytes count, and ends it with a NUL. Its length, or a negative error. */
long read_file(const char *path, char *to, size_t room);
/** Writes all of it. 0 or a negative error. */
int write_all(int fd, const void *from, size_t count);
/** Writes a file anew. */
int write_file(const char *path, const char *text, int mode);

void *map_memory(size_t bytes, int shared);
void unmap_memory(void *at, size_t bytes);

/** Waits so many milliseconds. */
void sleep_ms(int milliseconds);

static inline u16 get16(const u8 *at) { return (u16)(at[0] | at[1] << 8); }
static inline u32 get32(const u8 *at) { return get16(at) | (u32)get16(at + 2) << 16; }
static inline u64 get64(const u8 *at) { return get32(at) | (u64)get32(at + 4) << 32; }
static inline void put16(u8 *at, u16 value) { at[0] = (u8)value, at[1] = (u8)(value >> 8); }
static inline void put32(u8 *at, u32 value) { put16(at, (u16)value), put16(at + 2, (u16)(value >> 16)); }
static inline void put64(u8 *at, u64 value) { put32(at, (u32)value), put32(at + 4, (u32)(value >> 32)); }

#endif
