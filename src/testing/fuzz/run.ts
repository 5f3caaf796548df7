/**
 * Fuzzes everything that reads what guests, clients and images say:
 * `npm run fuzz -- --help`.
 *
 * The inputs are shared out among the targets. Each session follows from its seed, which is printed with whatever escapes, takes
 * longer than --limit (10 s; a busy machine may need more) or ends the process; `--targets NAME --seed SEED --inputs 1` shows it
 * again. Exits with 1 when there was anything.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { FuzzFailure, runSession, type FuzzTarget, type SessionReport } from './target.js';
import { TARGETS } from './targets/index.js';

/** Words that a worker shares with the main thread: what it is doing. */
const AT = { INPUT: 0, TURN: 1, LENGTH: 2 } as const;

interface Job {
  readonly target: string;
  readonly seed: number;
}

interface Outcome extends SessionReport {
  readonly failure?: string;
}

interface Sum {
  inputs: number;
  slowest: number;
  /** Where that was. */
  place: string;
}

const targetOf = (name: string): FuzzTarget => {
  const target = TARGETS.find((one) => one.name === name);
  if (!target) throw new Error(`there is no target ${name}; there are ${TARGETS.map((one) => one.name).join(', ')}`);
  return target;
};

// ---- a worker: one session after the other ----

async function work(shared: Int32Array, { target, seed }: Job): Promise<Outcome> {
  try {
    return await runSession(targetOf(target), seed, (input) => {
      shared[AT.INPUT] = input;
      shared[AT.TURN]++;
    });
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    return { inputs: error.input, slowest: 0, slowestInput: 0, failure: error.message };
  }
}

async function workerMain(): Promise<void> {
  const shared = new Int32Array(workerData as SharedArrayBuffer);
  for (const { prepare } of TARGETS) await prepare?.();
  parentPort?.on('message', (job: Job) => {
    void work(shared, job).then((outcome) => parentPort?.postMessage(outcome));
  });
  parentPort?.postMessage('ready');
}

// ---- the main thread ----

/** Whose turn it is: targets in proportion to their shares, each as soon as it is behind. */
class Schedule {
  private readonly sums = new Map<FuzzTarget, Sum>();
  private readonly seeds = new Map<FuzzTarget, number>();

  constructor(
    targets: readonly FuzzTarget[],
    readonly inputs: number,
    seed: number,
  ) {
    for (const target of targets) {
      this.sums.set(target, { inputs: 0, slowest: 0, place: '' });
      this.seeds.set(target, seed);
    }
  }

  /** Inputs that were given out; a session counts as a whole. */
  private planned = 0;
  private readonly given = new Map<FuzzTarget, number>();

  next(): Job | undefined {
    if (this.planned >= this.inputs) return undefined;
    let chosen: FuzzTarget | undefined;
    const lag = (target: FuzzTarget): number => (this.given.get(target) ?? 0) / target.share;
    for (const target of this.sums.keys()) if (!chosen || lag(target) < lag(chosen)) chosen = target;
    if (!chosen) return undefined;
    this.given.set(chosen, (this.given.get(chosen) ?? 0) + chosen.length);
    this.planned += chosen.length;
    const seed = this.seeds.get(chosen) ?? 1;
    this.seeds.set(chosen, seed + 1);
    return { target: chosen.name, seed };
  }

  done({ target, seed }: Job, { inputs, slowest, slowestInput }: Outcome): void {
    const sum = this.sums.get(targetOf(target));
    if (!sum) return;
    sum.inputs += inputs;
    if (slowest > sum.slowest) [sum.slowest, sum.place] = [slowest, `seed ${seed}, input ${slowestInput}`];
  }

  get total(): number {
    return [...this.sums.values()].reduce((total, { inputs }) => total + inputs, 0);
  }

  lines(): string[] {
    return Array.from(
      this.sums,
      ([{ name }, { inputs, slowest, place }]) =>
        `${name.padEnd(12)} ${String(inputs).padStart(9)} inputs, the slowest ${slowest.toFixed(0)} ms (${place})`,
    );
  }
}

interface Limits {
  /** Milliseconds that one input may take. */
  readonly input: number;
  readonly failed: (line: string) => void;
}

/** Keeps one worker busy until nothing is left; starts another where one hangs or dies. */
async function supervise(schedule: Schedule, { input: limit, failed }: Limits): Promise<void> {
  for (let job = schedule.next(); job;) {
    const shared = new Int32Array(new SharedArrayBuffer(4 * AT.LENGTH));
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: shared.buffer });
    job = await new Promise<Job | undefined>((resolve) => {
      let current: Job | undefined;
      let turn = -1;
      let since = performance.now();
      const stop = (why: string): void => {
        clearInterval(watch);
        if (current) failed(`${current.target}, seed ${current.seed}, input ${shared[AT.INPUT]}: ${why}`);
        else failed(why);
        void worker.terminate().then(() => resolve(schedule.next()));
      };
      const give = (next: Job | undefined): void => {
        current = next;
        since = performance.now();
        if (next) worker.postMessage(next);
        else {
          clearInterval(watch);
          void worker.terminate().then(() => resolve(undefined));
        }
      };
      const watch = setInterval(() => {
        const now = performance.now();
        const seen = Atomics.load(shared, AT.TURN);
        if (seen !== turn) [turn, since] = [seen, now];
        else if (current && now - since > limit) stop(`hangs: nothing came of it for ${limit / 1000} s`);
      }, 500);
      worker.on('error', (error) => stop(`escaped: ${error instanceof Error ? (error.stack ?? '') : String(error)}`));
      worker.on('message', (message: Outcome | 'ready') => {
        if (message === 'ready') {
          give(job);
          return;
        }
        if (!current) return;
        schedule.done(current, message);
        if (message.failure !== undefined) failed(message.failure);
        give(schedule.next());
      });
    });
  }
}

const OPTIONS = {
  inputs: { type: 'string', default: '1000000' },
  seed: { type: 'string', default: '1' },
  targets: { type: 'string' },
  jobs: { type: 'string', default: '1' },
  limit: { type: 'string', default: '10' },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const USAGE = `usage: npm run fuzz -- [options]
  --inputs N       of all targets together (${OPTIONS.inputs.default})
  --seed N         of the first session (${OPTIONS.seed.default})
  --targets A,B    those alone
  --jobs N         threads (${OPTIONS.jobs.default})
  --limit SECONDS  longest time for one input (${OPTIONS.limit.default})
  --list           the targets, and the share of the inputs that each has
`;

/** A number from an option. Throws an error of one line. */
function positive(name: 'inputs' | 'seed' | 'jobs' | 'limit', text: string): number {
  const value = Number(text);
  if (!(value > 0 && (name === 'limit' || Number.isSafeInteger(value))))
    throw new Error(`--${name} expects a number greater than 0, and not "${text}"`);
  return value;
}

interface Order {
  readonly schedule: Schedule;
  readonly jobs: number;
  readonly limit: number;
}

/** What is to be done; undefined: nothing more. Throws an error of one line. */
function readOrder(): Order | undefined {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(USAGE);
    return undefined;
  }
  if (values.list) {
    for (const { name, share } of TARGETS) console.log(`${name.padEnd(12)} share ${share}`);
    return undefined;
  }
  const targets = values.targets === undefined ? TARGETS : values.targets.split(',').map(targetOf);
  const schedule = new Schedule(targets, positive('inputs', values.inputs), positive('seed', values.seed));
  return { schedule, jobs: positive('jobs', values.jobs), limit: positive('limit', values.limit) };
}

async function main({ schedule, jobs, limit }: Order): Promise<void> {
  const started = performance.now();
  let failures = 0;
  const failed = (line: string): void => {
    failures++;
    console.log(`FAILED ${line}`);
  };
  const report = setInterval(() => {
    const minutes = (performance.now() - started) / 60_000;
    console.log(`${schedule.total} inputs after ${minutes.toFixed(0)} min, ${failures} failures`);
  }, 60_000);
  const limits = { input: limit * 1000, failed };
  await Promise.all(Array.from({ length: jobs }, () => supervise(schedule, limits)));
  clearInterval(report);
  for (const line of schedule.lines()) console.log(line);
  const memory = Math.ceil(process.resourceUsage().maxRSS / 1024);
  const seconds = Math.ceil((performance.now() - started) / 1000);
  console.log(`${schedule.total} inputs in ${seconds} s, ${memory} MiB at most: ${failures} failures`);
  process.exitCode = failures === 0 ? 0 : 1;
}

function orderOrWhy(): Order | undefined {
  try {
    return readOrder();
  } catch (error) {
    console.error(`fuzz: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 2;
    return undefined;
  }
}

if (isMainThread) {
  const order = orderOrWhy();
  if (order) await main(order);
} else await workerMain();
