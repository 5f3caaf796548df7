/** One step of a longer piece of work, for whoever waits for it. */
export interface ProgressEvent {
  /** What is being done, as words for the user; the same text comes again as its fraction grows. */
  readonly text: string;
  /** From 0 to 1, where it is known. */
  readonly fraction?: number | undefined;
}

/** Told of each step. */
export type Progress = (event: ProgressEvent) => void;
