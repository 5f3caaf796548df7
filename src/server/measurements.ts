/** What a server measures of itself, for Prometheus (text format 0.0.4). */
import type { CpuUsage } from '../sdk/index.js';
import { MACHINE_STATES } from '../api/schemas.js';
import type { Service } from './service.js';
import type { Tenant } from './tenant.js';

/** Upper bounds of request times, seconds. */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60] as const;

interface RequestCount {
  readonly route: string;
  readonly status: number;
  count: number;
}

const quote = (text: string): string =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

type Labels = Readonly<Record<string, string>>;

class Page {
  private text = '';

  metric(name: string, type: 'counter' | 'gauge' | 'histogram', help: string): void {
    this.text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  value(name: string, labels: Labels, value: number): void {
    const list = Object.entries(labels).map(([key, label]) => `${key}=${quote(label)}`);
    this.text += `${name}${list.length > 0 ? `{${list.join(',')}}` : ''} ${value}\n`;
  }

  get all(): string {
    return this.text;
  }
}

const seconds = (usage: readonly CpuUsage[]): number => usage.reduce((sum, { time = 0 }) => sum + time, 0) / 1e9;

export class Measurements {
  webSockets = 0;
  private readonly requests = new Map<string, RequestCount>();
  private readonly times = BUCKETS.map(() => 0);
  private timeSum = 0;
  private timeCount = 0;

  /** A request was answered. */
  request(route: string, status: number, time: number): void {
    const key = `${route} ${status}`;
    const known = this.requests.get(key);
    if (known) known.count++;
    else this.requests.set(key, { route, status, count: 1 });
    for (const [i, bound] of BUCKETS.entries()) if (time <= bound) this.times[i]++;
    this.timeSum += time;
    this.timeCount++;
  }

  /** What a tenant may see; `tenants`: whose machines. `whole`: what concerns the server as well. */
  page(service: Service, tenants: readonly Tenant[], whole: boolean): string {
    const page = new Page();
    this.addTenants(page, tenants);
    this.addMachines(page, tenants);
    if (whole) this.addServer(page, service);
    return page.all;
  }

  private addTenants(page: Page, tenants: readonly Tenant[]): void {
    page.metric('vitrine_machines', 'gauge', 'Machines by what they do.');
    for (const { name, machines } of tenants)
      for (const state of MACHINE_STATES)
        page.value(
          'vitrine_machines',
          { tenant: name, state },
          [...machines.values()].filter((machine) => machine.state === state).length,
        );
    for (const [what, unit, help] of [
      ['cpus', '', 'Virtual CPUs of a tenant'],
      ['memory', '_bytes', 'Memory of a tenant'],
      ['disk', '_bytes', 'Disk of a tenant'],
    ] as const) {
      const factor = unit === '' ? 1 : 2 ** 20;
      page.metric(`vitrine_tenant_${what}${unit}`, 'gauge', `${help}: in use.`);
      for (const { name, quota } of tenants)
        page.value(`vitrine_tenant_${what}${unit}`, { tenant: name }, quota.used[what] * factor);
      page.metric(`vitrine_tenant_${what}_limit${unit}`, 'gauge', `${help}: what it may have, where that is limited.`);
      for (const { name, quota } of tenants) {
        const limit = quota.limits[what];
        if (limit !== undefined) page.value(`vitrine_tenant_${what}_limit${unit}`, { tenant: name }, limit * factor);
      }
    }
  }

  private addMachines(page: Page, tenants: readonly Tenant[]): void {
    const running = tenants.flatMap((tenant) =>
      tenant.active.flatMap((machine) => {
        const handle = machine.current?.machine;
        const labels = { tenant: tenant.name, machine: machine.name };
        return handle ? [{ labels, usage: handle.usage, memory: handle.facts?.memory ?? 0 }] : [];
      }),
    );
    page.metric('vitrine_machine_cpu_seconds_total', 'counter', 'Processor time of its CPUs.');
    for (const { labels, usage } of running) page.value('vitrine_machine_cpu_seconds_total', labels, seconds(usage));
    page.metric('vitrine_machine_instructions_total', 'counter', 'Instructions, where the accelerator counts them.');
    for (const { labels, usage } of running)
      page.value(
        'vitrine_machine_instructions_total',
        labels,
        usage.reduce((sum, { retired = 0n }) => sum + Number(retired), 0),
      );
    page.metric('vitrine_machine_exits_total', 'counter', 'How often its CPUs were left.');
    for (const { labels, usage } of running)
      page.value(
        'vitrine_machine_exits_total',
        labels,
        usage.reduce((sum, { exits }) => sum + exits, 0),
      );
    page.metric('vitrine_machine_memory_bytes', 'gauge', 'RAM of a machine.');
    for (const { labels, memory } of running) page.value('vitrine_machine_memory_bytes', labels, memory);
  }

  private addServer(page: Page, { counts }: Service): void {
    for (const [what, help] of [
      ['created', 'Machines whose guest has answered.'],
      ['failed', 'Machines that did not come up.'],
      ['ended', 'Machines that have ended.'],
    ] as const) {
      page.metric(`vitrine_machines_${what}_total`, 'counter', help);
      page.value(`vitrine_machines_${what}_total`, {}, counts[what]);
    }
    page.metric('vitrine_http_requests_total', 'counter', 'Requests by route and status.');
    for (const { route, status, count } of this.requests.values())
      page.value('vitrine_http_requests_total', { route, status: String(status) }, count);
    page.metric('vitrine_http_request_seconds', 'histogram', 'What requests took.');
    for (const [i, bound] of BUCKETS.entries())
      page.value('vitrine_http_request_seconds_bucket', { le: String(bound) }, this.times[i]);
    page.value('vitrine_http_request_seconds_bucket', { le: '+Inf' }, this.timeCount);
    page.value('vitrine_http_request_seconds_sum', {}, this.timeSum);
    page.value('vitrine_http_request_seconds_count', {}, this.timeCount);
    page.metric('vitrine_web_sockets', 'gauge', 'WebSockets that are open.');
    page.value('vitrine_web_sockets', {}, this.webSockets);
    const { rss, heapUsed } = process.memoryUsage();
    page.metric('process_resident_memory_bytes', 'gauge', 'Of the server.');
    page.value('process_resident_memory_bytes', {}, rss);
    page.metric('vitrine_heap_bytes', 'gauge', "Of the server's main thread.");
    page.value('vitrine_heap_bytes', {}, heapUsed);
    page.metric('process_cpu_seconds_total', 'counter', 'Of the server and its machines.');
    const { user, system } = process.cpuUsage();
    page.value('process_cpu_seconds_total', {}, (user + system) / 1e6);
  }
}
