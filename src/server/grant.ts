import type { Tenant } from './tenant.js';

/** Who asks, and by which token: what it opened ends with it. */
export interface Grant {
  readonly tenant: Tenant;
  /** Its hash. */
  readonly token: string;
}
