/** What can be written down of a guest's doings (trace.ts). */
export const TRACE_KINDS = ['exec', 'int', 'mmio', 'pio', 'translate'] as const;
export type TraceKind = (typeof TRACE_KINDS)[number];
