import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * Threads for the claim java-thread: waits for one command a line on standard input and answers each with one line.
 *
 * <p>Commands, with KIND one of platform, virtual, pool. start KIND N: N tasks wait; answers when all run. stop: they
 * end. pass KIND MILLIS: two threads hand a token to each other; answers the nanoseconds of a hand-over. create KIND
 * MILLIS: threads are started and joined one after the other; answers the nanoseconds of one. An empty line of input or
 * its end ends the program. An answer that begins with "no" says why there is none. Runs on Java 11 and newer; virtual
 * threads are looked up at run time.
 */
public class Threads {
    private static final int POOL = 4;

    /** Threads of that kind, or null where this Java has none. */
    static ThreadFactory factory(String kind) {
        if (!kind.equals("virtual")) {
            return task -> {
                Thread thread = new Thread(task);
                thread.setDaemon(true);
                return thread;
            };
        }
        try {
            Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
            Method make = Class.forName("java.lang.Thread$Builder").getMethod("factory");
            return (ThreadFactory) make.invoke(builder);
        } catch (ReflectiveOperationException | UnsupportedOperationException error) {
            return null;
        }
    }

    /** Tasks that wait for a latch, as many as asked for; a pool runs them on fewer threads. */
    static void start(ThreadFactory factory, String kind, int number, CountDownLatch end) throws InterruptedException {
        boolean pool = kind.equals("pool");
        CountDownLatch running = new CountDownLatch(pool ? Math.min(POOL, number) : number);
        Runnable task = () -> {
            running.countDown();
            try {
                end.await();
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
            }
        };
        if (pool) {
            ExecutorService service = Executors.newFixedThreadPool(POOL, factory);
            for (int i = 0; i < number; i++) service.execute(task);
            service.shutdown();
        } else {
            for (int i = 0; i < number; i++) factory.newThread(task).start();
        }
        running.await();
    }

    /** One of two that wait for their turn; the other is known once both exist. */
    static void play(AtomicLong turn, long mine, Thread[] players, long end) {
        while (true) {
            while (turn.get() % 2 != mine) {
                if (System.nanoTime() >= end) return;
                LockSupport.parkNanos(5_000_000);
            }
            turn.incrementAndGet();
            LockSupport.unpark(players[(int) (1 - mine)]);
            if (System.nanoTime() >= end) return;
        }
    }

    static double pass(ThreadFactory factory, long millis) throws InterruptedException {
        AtomicLong turn = new AtomicLong();
        Thread[] players = new Thread[2];
        long start = System.nanoTime();
        long end = start + millis * 1_000_000;
        for (int i = 0; i < 2; i++) {
            long mine = i;
            players[i] = factory.newThread(() -> play(turn, mine, players, end));
        }
        for (Thread player : players) player.start();
        for (Thread player : players) player.join();
        return (double) (System.nanoTime() - start) / Math.max(1, turn.get());
    }

    static double create(ThreadFactory factory, long millis) throws InterruptedException {
        long start = System.nanoTime();
        long end = start + millis * 1_000_000;
        long number = 0;
        do {
            Thread thread = factory.newThread(() -> {});
            thread.start();
            thread.join();
            number++;
        } while (System.nanoTime() < end);
        return (double) (System.nanoTime() - start) / number;
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        CountDownLatch end = new CountDownLatch(1);
        System.out.println("ready " + System.getProperty("java.version"));
        String line;
        while ((line = commands.readLine()) != null && !line.isEmpty()) {
            String[] words = line.split(" ");
            ThreadFactory factory = words.length > 1 ? factory(words[1]) : null;
            if (words[0].equals("stop")) {
                end.countDown();
                end = new CountDownLatch(1);
                System.out.println("stopped");
            } else if (factory == null) {
                System.out.println("no " + words[1] + " threads in Java " + System.getProperty("java.version"));
            } else if (words[0].equals("start")) {
                start(factory, words[1], Integer.parseInt(words[2]), end);
                System.out.println("started");
            } else {
                long millis = Long.parseLong(words[2]);
                System.out.println(words[0].equals("pass") ? pass(factory, millis) : create(factory, millis));
            }
        }
        System.exit(0);
    }
}
