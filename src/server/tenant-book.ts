/** Tenants as the configuration has them. */
import path from 'node:path';
import type { StateFolder } from './folders.js';
import type { Grant } from './grant.js';
import { ImageShelf, REGISTRIES } from './image-shelf.js';
import type { Log } from './log.js';
import { Quota } from './quota.js';
import type { Service } from './service.js';
import { SnapshotShelf } from './snapshot-shelf.js';
import { Tenant } from './tenant.js';
import { hashOf, settingsOf, tenantOf, type ServeConfig } from './tenant-config.js';

export class TenantBook {
  private readonly tenants = new Map<string, Tenant>();

  constructor(
    private readonly service: Service,
    private readonly state: StateFolder,
    private readonly log: Log,
  ) {}

  /** Tenants come and change with their settings. Machines of those that are no longer there are stopped. */
  configure(config: ServeConfig): void {
    for (const name of Object.keys(config.tenants)) {
      const settings = settingsOf(config, name);
      const known = this.tenants.get(name);
      if (known) known.configure(settings);
      else this.tenants.set(name, this.make(name, settings));
    }
    for (const [name, tenant] of this.tenants) {
      if (Object.hasOwn(config.tenants, name)) continue;
      for (const machine of tenant.active)
        machine.stop().catch((error: unknown) => this.log.error('internal', { message: String(error) }));
    }
  }

  private make(name: string, settings: ReturnType<typeof settingsOf>): Tenant {
    const quota = new Quota(settings.limits ?? {});
    const folder = this.state.tenant(name);
    const tenant: Tenant = new Tenant({
      name,
      local: false,
      settings,
      quota,
      snapshots: new SnapshotShelf(path.join(folder, 'snapshots'), quota),
      images: new ImageShelf(
        folder,
        quota,
        () => tenant.policy.registries ?? REGISTRIES,
        () => tenant.imageUsers,
      ),
    });
    this.service.add(tenant);
    this.log.info('tenant', { tenant: name });
    return tenant;
  }

  /** Counts what is there of each. */
  async open(): Promise<void> {
    for (const { images } of this.tenants.values()) await images.open();
  }

  /** Whose token that is. */
  authenticate(config: ServeConfig, authorization: string | undefined): Grant | undefined {
    const token = /^Bearer +([A-Za-z0-9._~+/=-]{1,512})$/i.exec(authorization ?? '')?.[1];
    const name = token === undefined ? undefined : tenantOf(config, token);
    const tenant = name === undefined ? undefined : this.tenants.get(name);
    return tenant && { tenant, token: hashOf(token ?? '') };
  }

  /** Whether it is a token of that tenant's still. */
  holds(config: ServeConfig, { tenant, token }: Grant): boolean {
    const { name } = tenant;
    return Object.hasOwn(config.tenants, name) && (config.tenants[name].tokens ?? []).includes(token);
  }
}
