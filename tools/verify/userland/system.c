static jmp_buf back;
static sigjmp_buf from_signal;
static volatile int depth_reached;
static NOINLINE void deeper(int depth)
{
  volatile char room[64];
  room[depth & 63] = (char)depth;
  depth_reached = depth;
  if (depth == 40)
    longjmp(back, 7);
  deeper(depth + 1);
  room[0] = room[1];
}
static void on_signal(int number, siginfo_t *info, void *context)
{
  (void)context;
  printf("signal %d code %d\n", number, info->si_code);
  siglongjmp(from_signal, number);
}
static volatile int zero, one = 1;
static void test_jumps(void)
{
  double kept = 1.5;
  int code = setjmp(back);
  if (code == 0)
    deeper(0);
  printf("longjmp %d from %d, %g\n", code, depth_reached, kept);
  struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
  const int signals[] = { SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGUSR1, SIGTRAP };
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    sigaction(signals[i], &action, NULL);
  volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (volatile int kind = 0; kind < 6; kind++) {
    int got = sigsetjmp(from_signal, 1);
    if (got == 0)
      switch (kind) {
      case 0: one = one / zero; break;
      case 1: *(volatile int *)8 = 1; break;
      case 2: page[5] = 1; break;
      case 3: __asm__ volatile("ud2"); break;
      case 4: raise(SIGUSR1); break;
      case 5: __asm__ volatile("int3"); break;
      }
    printf("kind %d gave %d\n", kind, got);
  }
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    signal(signals[i], SIG_DFL);
}

struct node { struct node *left, *right; uint32_t key; unsigned count; };
static struct node *insert(struct node *tree, uint32_t key)
{
  if (!tree) {
    tree = calloc(1, sizeof *tree);
    tree->key = key;
  }
  if (key < tree->key) tree->left = insert(tree->left, key);
  else if (key > tree->key) tree->right = insert(tree->right, key);
  else tree->count++;
  return tree;
}
static unsigned height(const struct node *tree)
{
  if (!tree) return 0;
  unsigned l = height(tree->left), r = height(tree->right);
  return 1 + (l > r ? l : r);
}
static uint64_t digest(const struct node *tree) { return tree ? (digest(tree->left) * 31 + tree->key + tree->count) * 17 + digest(tree->right) : 1; }
static void drop(struct node *tree) { if (tree) { drop(tree->left); drop(tree->right); free(tree); } }
static unsigned queens(unsigned row, unsigned columns, unsigned left, unsigned right)
{
  if (row == 0) return 1;
  unsigned count = 0;
  for (unsigned free_ = 255 & ~(columns | left | right); free_; free_ &= free_ - 1) {
    unsigned bit = free_ & -free_;
    count += queens(row - 1, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return count;
}
static void test_memory(void)
{
  struct node *tree = NULL;
  for (int i = 0; i < 3000; i++)
    tree = insert(tree, (uint32_t)(any() % 2000));
  printf("tree %u %" PRIx64 "\n", height(tree), digest(tree));
  drop(tree);
  char *blocks[64] = { 0 };
  size_t sizes[64] = { 0 }, wrong = 0;
  for (int i = 0; i < 3000; i++) {
    unsigned at = any() & 63;
    for (size_t j = 0; j < sizes[at]; j += 97) wrong += blocks[at][j] != (char)at;
    sizes[at] = any() % (i % 10 ? 3000 : 300000);
    blocks[at] = realloc(blocks[at], sizes[at] + 1);
    memset(blocks[at], (char)at, sizes[at]);
  }
  for (int i = 0; i < 64; i++) free(blocks[i]);
  printf("heap %zu queens %u\n", wrong, queens(8, 0, 0, 0));
}

static void test_builtins(void)
{
  uint64_t sum = 0;
  for (int i = 0; i < 200; i++) {
    uint64_t v = any() >> (any() & 63), w = any();
    sum = sum * 33 + __builtin_popcountll(v) + (v ? __builtin_clzll(v) * 3 + __builtin_ctzll(v) * 5 : 1) + __builtin_bswap64(w) + __builtin_parityll(w) + __builtin_ffsll((long long)v);
    sum += __builtin_bswap32((uint32_t)w) ^ __builtin_bswap16((uint16_t)w);
    int32_t s;
    int64_t t;
    uint64_t u;
    sum += (uint64_t)__builtin_add_overflow((int32_t)v, (int32_t)w, &s) + (uint32_t)s;
    sum += (uint64_t)__builtin_mul_overflow((int64_t)v, (int64_t)w, &t) * 3 + (uint64_t)t;
    sum += (uint64_t)__builtin_sub_overflow(v, w, &u) * 5 + u;
    u128 product = (u128)v * w;
    sum ^= (uint64_t)(product >> 64) + (uint64_t)(product / (w | 1)) + (uint64_t)(product % (v | 1));
    i128 negative = -(i128)product;
    sum += (uint64_t)(negative / (i128)(int64_t)(w | 1)) + (uint64_t)(negative >> 9);
  }
  printf("builtins %" PRIx64 "\n", sum);
  struct { unsigned a : 3; int b : 5; uint64_t c : 37; unsigned d : 1; int64_t e : 19; } bits = { 5, -3, 0x123456789ull, 1, -1000 };
  for (int i = 0; i < 20; i++) {
    bits.a += 3; bits.b = (int)(bits.c % 29) - 14; bits.c = bits.c * 3 + bits.a; bits.d ^= bits.c & 1; bits.e = (bits.e + i) / 2;
    printf("%u.%d.%" PRIx64 ".%u.%d ", bits.a, bits.b, (uint64_t)bits.c, bits.d, (int)bits.e);
  }
  putchar('\n');
}

/* Loops that compilers turn into vector instructions. */
static NOINLINE void loops(float *f, double *d, int32_t *i, uint8_t *b, int16_t *s, int n)
{
  for (int k = 0; k < n; k++) f[k] = f[k] * 1.5f + (float)i[k];
  for (int k = 0; k < n; k++) d[k] = d[k] / (f[k] + 1000.25f) + s[k];
  for (int k = 0; k < n; k++) i[k] = i[k] * 7 + (b[k] > 100 ? s[k] : -s[k]);
  for (int k = 0; k < n; k++) b[k] = (uint8_t)((b[k] + b[n - 1 - k] + 1) >> 1);
  for (int k = 0; k < n; k++) s[k] = (int16_t)(s[k] * 3 > 32767 ? 32767 : s[k] * 3 < -32768 ? -32768 : s[k] * 3);
  for (int k = 0; k < n; k++) i[k] ^= (int32_t)d[k] + (int32_t)f[k];
  for (int k = 0; k < n; k++) d[k] = sqrt(fabs(d[k])) + (double)i[k];
  for (int k = 0; k < n; k++) i[k] = i[k] < 0 ? -(i[k] / 2) : i[k] >> 3;
}
static void test_loops(void)
{
  enum { N = 333 };
  static float f[N]; static double d[N]; static int32_t i[N]; static uint8_t b[N]; static int16_t s[N];
  for (int k = 0; k < N; k++) { f[k] = (float)(any() % 1000) / 8; d[k] = (double)(any() % 1000) / 3; i[k] = (int32_t)(any() % 100000); b[k] = (uint8_t)any(); s[k] = (int16_t)any(); }
  for (int round = 0; round < 6; round++) {
    for (int k = 0; k < N; k++) i[k] %= 100000;
    for (int k = 0; k < N; k++) f[k] = fmodf(f[k], 1e5f);
    loops(f, d, i, b, s, N);
  }
  double total = 0;
  uint64_t hash = 0;
  for (int k = 0; k < N; k++) { total += d[k] + f[k]; hash = hash * 31 + (uint32_t)i[k] + b[k] + (uint16_t)s[k]; }
  printf("loops %a %" PRIx64 "\n", total, hash);
}

/* The library's functions are not exact to the last bit, nor is a processor's x87; the first digits are. */
static void test_math(void)
{
  static const double values[] = { 0.1, 0.5, 1, 1.7, 2.25, 3.999, 10.5, 0.0078125, 25.3 };
  double (*const functions[])(double) = { sin, cos, tan, atan, exp, expm1, exp2, log, log2, log10, log1p, sinh, cosh, tanh, asinh, cbrt, erf, erfc, lgamma, tgamma, sqrt };
  long double (*const long_functions[])(long double) = { sinl, cosl, tanl, atanl, expl, expm1l, exp2l, logl, log2l, log10l, log1pl, sinhl, coshl, tanhl, asinhl, cbrtl, erfl, erfcl, lgammal, tgammal, sqrtl };
  for (unsigned f = 0; f < sizeof functions / sizeof *functions; f++)
    for (unsigned v = 0; v < sizeof values / sizeof *values; v++)
      printf("%.13g %.13g %.16Lg%c", functions[f](values[v]), functions[f](values[v] * 0.5), long_functions[f](values[v]), v == 8 ? '\n' : ' ');
  for (unsigned v = 0; v < 8; v++) {
    double x = values[v], y = values[v + 1];
    int exponent, quotient;
    double fraction = frexp(x, &exponent);
    long double rest = remquol(x, y, &quotient);
    printf("%.13g %.13g %.13g %a %a %a %d %a %.16Lg %.16Lg %La %La %La ", pow(x, y), atan2(x, -y), hypot(x, y), fmod(x, y), remainder(x, y), fraction, exponent, ldexp(y, -7),
      powl(x, y), atan2l(x, y), fmodl(x * 1e6L, y), remainderl(x * 1e9L, y), rest);
    printf("%d %a %a %d %d %ld %lld %La\n", quotient & 7, logb(x), nextafter(x, y), ilogb(x), ilogbl(y), lrint(x * 100), llrintl(y * 1e10L), scalbnl(x, 100));
  }
  const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };
  for (int mode = 0; mode < 4; mode++) {
    fesetround(modes[mode]);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double a = 1, b = 3, c = -7.5;
    volatile float d = 0.1f;
    volatile long double e = 1, g = 3;
    double q = a / b, r = c / b, t = a + d * 1e-9;
    float u = d * d;
    long double w = e / g;
    volatile long x = lrint(c), y = lrintl(e / 2 + g);
    volatile double z = rint(2.5 + d);
    int flags = fetestexcept(FE_ALL_EXCEPT);
    printf("%a %a %a %a %La %ld %ld %a %x\n", q, r, t, u, w, x, y, z, flags);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double zero_ = 0, huge = 1e308, tiny = 1e-308;
    a = a / zero_; printf("%x ", fetestexcept(FE_ALL_EXCEPT)); feclearexcept(FE_ALL_EXCEPT);
    b = huge * 10; printf("%x ", fetestexcept(FE_ALL_EXCEPT)); feclearexcept(FE_ALL_EXCEPT);
    c = tiny / 3e5; printf("%x ", fetestexcept(FE_ALL_EXCEPT)); feclearexcept(FE_ALL_EXCEPT);
    b = zero_ / zero_; printf("%x ", fetestexcept(FE_ALL_EXCEPT)); feclearexcept(FE_ALL_EXCEPT);
    e = (long double)huge * huge * huge; printf("%x %La\n", fetestexcept(FE_ALL_EXCEPT), e);
  }
  fesetround(FE_TONEAREST);
}

static atomic_long counter;
static long guarded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static __thread long mine;
static void *worker(void *argument)
{
  pthread_barrier_wait(&barrier);
  for (long i = 0; i < 2000; i++) {
    atomic_fetch_add(&counter, i);
    mine += i;
    pthread_mutex_lock(&mutex);
    guarded += (long)argument;
    pthread_mutex_unlock(&mutex);
    long expected = atomic_load(&counter);
    while (!atomic_compare_exchange_weak(&counter, &expected, expected ^ 0x100000000));
  }
  return (void *)mine;
}
static void test_system(void)
{
  pthread_t threads[6];
  long total = 0;
  pthread_barrier_init(&barrier, NULL, 6);
  for (long i = 0; i < 6; i++) pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
  for (int i = 0; i < 6; i++) { void *result; pthread_join(threads[i], &result); total += (long)result; }
  printf("threads %ld %ld %ld\n", (long)atomic_load(&counter), guarded, total);
  int ends[2], status;
  uint64_t sum = 0, word;
  if (pipe(ends)) return;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    for (uint64_t i = 0; i < 20000; i++) { word = any(); if (write(ends[1], &word, 8) != 8) _exit(1); }
    _exit(42);
  }
  close(ends[1]);
  while (read(ends[0], &word, 8) == 8) sum = sum * 3 + word;
  waitpid(child, &status, 0);
  printf("fork %" PRIx64 " %d\n", sum, WEXITSTATUS(status));
  FILE *file = tmpfile();
  for (int i = 0; i < 3000; i++) fprintf(file, "%d %.3f %s\n", i, i / 7.0, i & 1 ? "odd" : "even");
  rewind(file);
  int number; double real; char name[8]; double reals = 0;
  while (fscanf(file, "%d %lf %7s", &number, &real, name) == 3) reals += real + number + name[0];
  printf("file %.3f %ld\n", reals, ftell(file));
  fclose(file);
  struct tm when = { .tm_year = 126, .tm_mon = 10, .tm_mday = 21, .tm_hour = 5 };
  char text[80];
  time_t at = timegm(&when);
  strftime(text, sizeof text, "%A %d %B %Y %H:%M:%S %j", gmtime(&at));
  printf("%s %ld\n", text, (long)at);
  double complex z = cexp(0.5 + 1.25 * I) * (2 - 3 * I) / (1 + I);
  printf("%.12f %.12f %.12f\n", creal(z), cimag(z), cabs(z));
}

static void fixed_tests(void)
{
  test_printf();
  test_strings();
  test_sorting();
  test_jumps();
  test_memory();
  test_builtins();
  test_loops();
  test_math();
  test_system();
}
