/** What the translator of a CPU has done. */
import { grouped } from '../interp/statistics.js';

export interface TranslatorStatistics {
  /** Regions that can be entered now, and the modules and bytes of WebAssembly that they are in. */
  readonly live: number;
  readonly modules: number;
  readonly liveBytes: number;
  /** Regions made since the beginning, the guest instructions in them, and bytes of WebAssembly. */
  readonly regions: number;
  readonly instructions: number;
  readonly bytes: number;
  /** Regions that were made for other CPUs and used here, and those that did not fit. */
  readonly shared: number;
  readonly misfits: number;
  /** Regions given up for others, or because all decoded code was thrown away. */
  readonly evicted: number;
  /** Hot places for which nothing was made. */
  readonly dropped: {
    /** Nothing there that can be translated. */
    readonly nothing: number;
    /** The compiler had too much to do, or there was no room. */
    readonly busy: number;
    /** The code was overwritten or thrown away before it was compiled. */
    readonly overwritten: number;
    /** A defect: the interpreter goes on with them. */
    readonly failed: number;
  };
  /** Milliseconds; the first and the last on the CPU's thread. */
  readonly times: { readonly scan: number; readonly emit: number; readonly compile: number; readonly install: number };
}

/** As lines of text. */
export function describeStatistics(statistics: TranslatorStatistics): readonly string[] {
  const { live, modules, liveBytes, regions, instructions, bytes, evicted, dropped, times, shared, misfits } =
    statistics;
  const [scan, emit, compile, install] = [times.scan, times.emit, times.compile, times.install].map(
    (time) => `${(time / 1000).toFixed(2)} s`,
  );
  return [
    `translated              ${grouped(regions)} regions of ${grouped(instructions)} instructions, ${grouped(bytes)} bytes`,
    `  of these kept         ${grouped(live)} in ${grouped(modules)} modules, ${grouped(liveBytes)} bytes; ${grouped(evicted)} gone`,
    ...(shared + misfits > 0
      ? [`  made for other CPUs   ${grouped(shared)} regions, besides ${grouped(misfits)} that did not fit`]
      : []),
    `  not translated        ${grouped(dropped.nothing)} not translatable, ${grouped(dropped.busy)} too many at a time, ${grouped(dropped.overwritten)} overwritten meanwhile, ${grouped(dropped.failed)} failed`,
    `  time                  ${scan} to choose, ${emit} to write, ${compile} to compile, ${install} to install`,
  ];
}
