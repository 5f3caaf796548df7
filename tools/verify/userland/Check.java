import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Prints the same on every machine. */
public final class Check {
  record Point(int x, double y) {}

  static long mix(long seed, int rounds) {
    for (int i = 0; i < rounds; i++) {
      seed = seed * 6364136223846793005L + 1442695040888963407L;
      seed ^= seed >>> 29;
      seed += Long.rotateLeft(seed, i & 63) / ((seed & 1023) + 1);
    }
    return seed;
  }

  static double series(int terms) {
    double sum = 0;
    for (int i = 1; i <= terms; i++) sum += Math.sqrt(i) / (i * (double) i + 0.5) - (float) i % 3 / 1e6;
    return sum;
  }

  static int caught(int kind) {
    long[] none = null;
    try {
      switch (kind % 5) {
        case 0: return 1 / (kind - kind);
        case 1: return (int) none[kind];
        case 2: return new int[3].length + new long[2].clone()[kind] > 0 ? 1 : 0;
        case 3: throw new IllegalStateException("kind " + kind);
        default: return caught(kind - 3) + (Integer) (Object) "text";
      }
    } catch (ArithmeticException | NullPointerException | IndexOutOfBoundsException e) {
      return e.getClass().getSimpleName().length();
    } catch (RuntimeException e) {
      return -e.getClass().getSimpleName().length();
    }
  }

  static int deep(int depth) {
    return deep(depth + 1) + 1;
  }

  public static void main(String[] arguments) throws Exception {
    System.out.printf("mix %016x series %.12f%n", mix(42, 3_000_000), series(1_000_000));
    System.out.println("conversions " + (int) Double.NaN + ' ' + (long) 1e30 + ' ' + (int) -1e10f + ' ' + (byte) 300.7 + ' ' + 0.1f + ' ' + 1e23 + ' ' + 5e-324 + ' ' + -7 % 3 + ' ' + -7.5 % 2 + ' ' + Integer.MIN_VALUE / -1 + ' ' + (Long.MIN_VALUE >> 63));
    BigInteger factorial = BigInteger.ONE;
    for (int i = 2; i <= 600; i++) factorial = factorial.multiply(BigInteger.valueOf(i));
    System.out.println("factorial " + factorial.mod(BigInteger.TWO.pow(521).subtract(BigInteger.ONE)) + ' ' + factorial.bitLength());
    System.out.println("root " + new BigDecimal(2).sqrt(new MathContext(120)));
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (int i = 0; i < 20_000; i++) digest.update(Integer.toString(i * 7919).getBytes("UTF-8"));
    System.out.println("digest " + HexFormat.of().formatHex(digest.digest()));
    TreeMap<String, Point> map = new TreeMap<>();
    for (int i = 0; i < 20_000; i++) map.put(Long.toHexString(mix(i, 3)), new Point(i, i / 3.0));
    System.out.println("map " + map.firstEntry() + ' ' + map.lastEntry() + ' ' + map.size());
    System.out.println("streams " + IntStream.range(0, 200_000).parallel().mapToLong(i -> mix(i, 2) & 0xffff).sum() + ' ' + IntStream.range(0, 50).boxed().collect(Collectors.groupingBy(i -> i % 7, TreeMap::new, Collectors.summingInt(i -> i))));
    int sum = 0;
    for (int i = 0; i < 20_000; i++) sum += caught(i);
    System.out.println("caught " + sum);
    try {
      System.out.println(deep(0));
    } catch (StackOverflowError e) {
      System.out.println("stack overflow");
    }
    AtomicLong counter = new AtomicLong();
    Object lock = new Object();
    long[] guarded = new long[1];
    ExecutorService threads = Executors.newFixedThreadPool(6);
    List<Callable<Long>> tasks = new ArrayList<>();
    for (int t = 0; t < 6; t++) {
      final int number = t;
      tasks.add(() -> {
        for (int i = 0; i < 20_000; i++) {
          counter.addAndGet(i);
          synchronized (lock) {
            guarded[0] += number;
          }
        }
        return mix(number, 1000);
      });
    }
    long total = 0;
    for (Future<Long> result : threads.invokeAll(tasks)) total += result.get();
    threads.shutdown();
    System.out.println("threads " + counter + ' ' + guarded[0] + ' ' + total);
    List<byte[]> garbage = new ArrayList<>();
    long bytes = 0;
    for (int i = 0; i < 4_000; i++) {
      garbage.add(new byte[20_000 + i]);
      if (garbage.size() > 200) bytes += garbage.remove((int) (mix(i, 1) & 127)).length;
    }
    System.gc();
    System.out.println("garbage " + bytes);
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 1000; i++) text.append(String.format("%d:%.3f;", i, Math.sin(i)));
    System.out.println("text " + text.toString().hashCode() + ' ' + text.toString().split(";").length + ' ' + text.toString().replaceAll("\\d+:", "#").length());
  }
}
