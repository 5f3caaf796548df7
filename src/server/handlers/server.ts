/** Answers to what concerns the server, and what tenants keep there. */
import { openApi } from '../../api/openapi.js';
import type { ImageRequest, ServerInfo } from '../../api/schemas.js';
import { accelerators } from '../accelerators.js';
import type { HttpHandlers } from '../call.js';
import type { Tenant } from '../tenant.js';

function infoOf(tenant: Tenant, version: string): ServerInfo {
  return {
    version,
    api: 'v1',
    tenant: tenant.name,
    local: tenant.local,
    accelerators: [...accelerators()],
    limits: tenant.quota.limits,
    usage: tenant.quota.used,
  };
}

export const serverHandlers: HttpHandlers = {
  openapi: ({ parts }) => ({ json: openApi(parts.version) }),
  prometheus: ({ parts, service, tenant }) => {
    const whole = tenant.local || tenant.policy.operator === true;
    return {
      text: parts.measurements.page(service, whole ? service.all : [tenant], whole),
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
    };
  },
  info: ({ tenant, parts }) => ({ json: infoOf(tenant, parts.version) }),
  ticket: ({ grant, parts }) => ({ json: parts.tickets.issue(grant) }),

  listSnapshots: ({ tenant }) => ({ json: { snapshots: tenant.snapshots.list() } }),
  getSnapshot: ({ tenant, names }) => ({ json: tenant.snapshots.get(names['name']) }),
  deleteSnapshot: async ({ parts, tenant, names }) => {
    await tenant.snapshots.remove(names['name']);
    // Whoever removes a snapshot does not wait for pulls.
    tenant.images
      .unused()
      .catch((error: unknown) => parts.log.error('internal', { tenant: tenant.name, message: String(error) }));
    tenant.tell({ type: 'snapshot-removed', name: names['name'] });
    return undefined;
  },

  listImages: async ({ tenant }) => ({ json: { images: await tenant.images.list() } }),
  pullImage: async ({ tenant, body, signal }) => {
    const { name } = body as ImageRequest;
    let told = '';
    const onProgress = (progress: string): void => {
      if (progress !== told) tenant.tell({ type: 'image-progress', name, progress });
      told = progress;
    };
    const { info } = await tenant.images.pull(name, { signal, onProgress });
    tenant.tell({ type: 'image', name: info.name });
    return { json: info };
  },
  deleteImage: async ({ tenant, query }) => {
    await tenant.images.remove(query['name'], query['force'] === 'true');
    tenant.tell({ type: 'image-removed', name: query['name'] });
    return undefined;
  },
};
