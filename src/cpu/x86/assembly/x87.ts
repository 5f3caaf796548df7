/** The x87: everything that the interpreter calls. */
export * from './x87-arithmetic';
export * from './x87-compare';
export * from './x87-control';
export * from './x87-inner';
export * from './x87-transfer';
export * from './x87-store';
export * from './x87-transcendental';
export { x87_product, x87_quotient, x87_root, x87_sum } from './x87-fast';
