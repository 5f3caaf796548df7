/** SSE to SSE4.1 floating point: everything that the interpreter calls. */
export * from './sse-float-arithmetic';
export * from './sse-float-compare';
export * from './sse-float-convert';
export * from './sse-float-more';
export { x_ldmxcsr, x_stmxcsr } from './sse-float-state';
