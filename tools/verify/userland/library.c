#define _GNU_SOURCE
#include <complex.h>
#include <ctype.h>
#include <errno.h>
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define NOINLINE __attribute__((noinline))
typedef unsigned __int128 u128;
typedef __int128 i128;

static uint64_t seed = 88172645463325252ull;

static uint64_t any(void)
{
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

#define ROTATE(type) \
  static inline type rotate_##type(type value, unsigned by) \
  { \
    unsigned bits = 8 * sizeof value; \
    return by == 0 ? value : (type)((value << by) | (value >> (bits - by))); \
  }
ROTATE(uint8_t)
ROTATE(uint16_t)
ROTATE(uint32_t)
ROTATE(uint64_t)
ROTATE(u128)

/* Values where something begins or ends come first. */
#define RUN_INTEGER(type) \
  static void run_##type(const char *name, type (*function)(type, type, type)) \
  { \
    static const type ends[] = { 0, 1, (type)-1, (type)1 << (8 * sizeof(type) - 1), ((type)1 << (8 * sizeof(type) - 1)) - 1, 2 }; \
    u128 sum = 0; \
    for (int i = 0; i < 36; i++) \
      sum = sum * 31 + function(ends[i % 6], ends[i / 6], (type)i); \
    for (int i = 0; i < 60; i++) \
      sum = sum * 31 + function((type)any(), (type)((u128)any() << (any() & 63)), (type)any()); \
    printf("%s %016" PRIx64 "%016" PRIx64 "\n", name, (uint64_t)(sum >> 64), (uint64_t)sum); \
  }
RUN_INTEGER(uint8_t)
RUN_INTEGER(uint16_t)
RUN_INTEGER(uint32_t)
RUN_INTEGER(uint64_t)
RUN_INTEGER(u128)

/* What converts to an integer has to be a number. */
static float finite_f(float value) { return isfinite(value) ? value : 3; }
static double finite_(double value) { return isfinite(value) ? value : 3; }
static long double finite_l(long double value) { return isfinite(value) ? value : 3; }

/* The sign and payload of a NaN are no part of a result. */
#define RUN_FLOAT(type, letter, hex, decimal) \
  static void run_##letter(const char *name, type (*function)(type, type, type)) \
  { \
    static const type ends[] = { 0, -1, 1e-3, 7.5, 1e30, -2.5e-38, INFINITY, 1 / (type)3 }; \
    for (int i = 0; i < 8; i++) { \
      type r = function(ends[i], ends[(i * 3 + 1) & 7], ends[(i * 5 + 2) & 7]); \
      if (isnan(r)) \
        printf("%s nan\n", name); \
      else \
        printf("%s " hex " " decimal " %d\n", name, r, r, fpclassify(r)); \
    } \
    type sum = 0; \
    for (int i = 0; i < 50; i++) { \
      type r = function((type)(any() % 100000) / 7, (type)(any() % 1000) - 500, (type)i); \
      if (isfinite(r)) \
        sum = sum / 2 + r; \
    } \
    printf("%s sum " hex "\n", name, sum); \
  }
RUN_FLOAT(float, f, "%a", "%.9g")
RUN_FLOAT(double, d, "%a", "%.17g")
RUN_FLOAT(long double, l, "%La", "%.21Lg")

static NOINLINE void varied(const char *kinds, ...)
{
  va_list list, again;
  va_start(list, kinds);
  va_copy(again, list);
  for (const char *kind = kinds; *kind; kind++)
    switch (*kind) {
    case 'i': printf(" %d", va_arg(list, int)); break;
    case 'u': printf(" %" PRIu64, va_arg(list, uint64_t)); break;
    case 'd': printf(" %.6g", va_arg(list, double)); break;
    case 'l': printf(" %.12Lg", va_arg(list, long double)); break;
    case 's': printf(" [%s]", va_arg(list, char *)); break;
    case 'c': { double complex z = va_arg(list, double complex); printf(" %g%+gi", creal(z), cimag(z)); break; }
    }
  putchar('\n');
  char text[200];
  if (*kinds == 'i') {
    vsnprintf(text, sizeof text, "%08x %-8.3f| %+.2e %s", again);
    puts(text);
  }
  va_end(again);
  va_end(list);
}

static void test_printf(void)
{
  static const double values[] = { 0.0, -0.0, 1, 0.1, 1.0 / 3, 2.5, 1e22, 1e23, 123456789.123456789, 5e-324, 2.2250738585072014e-308,
    1.7976931348623157e308, 9007199254740993.0, 0.000001, 1e100, 4.35, 1e-7 };
  for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
    double v = values[i];
    printf("%g %e %.0f %.17g %a %.3f %12.4g|%-12.2e|%+010.1f %#.0f %G\n", v, v, v < 1e30 ? v : 0, v, v, v < 1e30 ? v : 1, v, v, v < 1e9 ? v : 2, v < 1e9 ? v : 3, v);
    printf("%Lg %.20Lg %La %.5Lf\n", (long double)v, (long double)v / 3, (long double)v / 7, v < 1e30 ? (long double)v / 11 : 0.5L);
    char text[64];
    for (int digits = 1; digits < 18; digits += 4) {
      snprintf(text, sizeof text, "%.*g", digits, v);
      printf("%s=%a=%a=%La ", text, strtod(text, NULL), strtof(text, NULL), strtold(text, NULL));
    }
    putchar('\n');
  }
  printf("%d %i %o %x %X %#x %#o %5d|%-5d|%05d|%+d|% d|%.3d|%c|%%|%5s|%-5s|%.2s|%hhd|%hu|%lld|%zu|%jx|%p\n", -1, 42, 42, 48879, 48879, 255,
    8, 42, 42, 42, 42, 42, 7, 'x', "ab", "ab", "abcdef", 300, 70000, -1ll, sizeof(int), (uintmax_t)-1, (void *)0x1234);
  varied("idlsudi", -5, 3.25, 1.5L / 7, "text", UINT64_MAX, -1e-9, 77);
  varied("dddddddddddd", 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.);
  varied("uuuuuuuuuu", 1ull, 2ull, 3ull, 4ull, 5ull, 6ull, 7ull, 8ull, 9ull, 10ull);
  varied("clcld", 1 + 2 * I, 3.5L, csqrt(-4.0), 1e300L, 2.0);
  varied("ldldl", 1.L, 2., 3.L, 4., 5.L);
}

static void test_strings(void)
{
  char text[256] = "the quick brown fox jumps over the lazy dog", copy[256], wide[64];
  strcpy(copy, text);
  for (char *rest = copy, *word; (word = strsep(&rest, " "));)
    printf("%s:%zu:%zu:%s ", word, strlen(word), strcspn(word, "aeiou"), strpbrk(word, "ox") ? "ox" : "-");
  printf("\n%ld %ld %lu %lld %ld\n", strtol("-123abc", NULL, 10), strtol("0x7fff", NULL, 0), strtoul("777", NULL, 8), strtoll("-9223372036854775808", NULL, 10), strtol("zz", NULL, 36));
  for (int from = 0; from < 20; from += 3)
    for (int to = 0; to < 20; to += 4) {
      memset(copy, '.', sizeof copy);
      memcpy(copy, text, 44);
      memmove(copy + to, copy + from, 20);
      printf("%.44s %d\n", copy, memcmp(copy, text, 44) > 0);
    }
  int n, a;
  float f;
  double d;
  n = sscanf("12 3.5 word 1e-3 ff", "%d %f %15s %lf %x", &a, &f, wide, &d, (unsigned *)&n);
  printf("%d %d %g %s %g\n", n, a, f, wide, d);
  wchar_t letters[32];
  printf("%zu %ls\n", mbstowcs(letters, "plain", 32), letters);
  for (int i = 1; i < 256; i += 5)
    printf("%d%d%d%d", !!isalpha(i), !!isdigit(i), !!ispunct(i), toupper(i) - i);
  putchar('\n');
  for (int length = 0; length < 130; length += 7) {
    memset(text, 'a', length);
    text[length] = 0;
    char *end = memchr(text, 0, sizeof text);
    text[length / 2] = 'b';
    char *found = length ? strchr(text, 'b') : NULL;
    char *last = strrchr(text, 'a');
    printf("%td %td %td %zu %d ", end - text, found ? found - text : -1, last ? last - text : -1, strnlen(text, 100), strncmp(text, "aaaaaaaaab", length));
  }
  putchar('\n');
}

struct item { int key; double weight; char name[12]; };
static int by_key(const void *a, const void *b) { int x = ((const struct item *)a)->key, y = ((const struct item *)b)->key; return (x > y) - (x < y); }
static int by_weight(const void *a, const void *b) { double x = ((const struct item *)a)->weight, y = ((const struct item *)b)->weight; return (x > y) - (x < y); }
static int by_name(const void *a, const void *b) { return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name); }

static void test_sorting(void)
{
  enum { COUNT = 500 };
  struct item *items = calloc(COUNT, sizeof *items);
  for (int i = 0; i < COUNT; i++) {
    items[i].key = i * 7919 % 1009;
    items[i].weight = (double)(any() % 100000) / 3 - 9999;
    snprintf(items[i].name, sizeof items[i].name, "n%" PRIx64, any() >> 40);
  }
  int (*const orders[])(const void *, const void *) = { by_key, by_weight, by_name };
  for (int order = 0; order < 3; order++) {
    qsort(items, COUNT, sizeof *items, orders[order]);
    for (int i = 0; i < COUNT; i += 50)
      printf("%d/%.3f/%s ", items[i].key, items[i].weight, items[i].name);
    struct item *found = bsearch(&items[123], items, COUNT, sizeof *items, orders[order]);
    printf("%s\n", found && orders[order](found, &items[123]) == 0 ? "found" : "lost");
  }
  free(items);
}
