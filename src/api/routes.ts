/**
 * All that can be asked of a server, in one table: the server's routing and checks, its OpenAPI description and its tests are made of it.
 */
import { Type, TypeGuard, type TSchema } from '@sinclair/typebox';
import { maybe, oneOf } from './schema-parts.js';
import * as schemas from './schemas.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Route {
  readonly method: Method;
  /** Parts in braces are names. */
  readonly path: string;
  /** In one line. */
  readonly summary: string;
  /** What may stand behind the question mark; undefined: nothing. */
  readonly query?: TSchema;
  /** JSON of this kind; `bytes`: whatever they are. Undefined: nothing. */
  readonly body?: TSchema | 'bytes';
  /** Bytes of the body at most, where that is JSON; 4 MiB unless given. */
  readonly mostBody?: number;
  /** Nothing need be given where there could be a body. */
  readonly bodyOptional?: boolean;
  /** The status of a success, and what comes with it. */
  readonly status: number;
  readonly answer?: TSchema | 'bytes' | 'text' | 'png' | 'any';
  /** Messages go both ways behind an upgrade (RFC 6455). */
  readonly webSocket?: boolean;
  /** What the messages are, for people. */
  readonly messages?: string;
}

const query = <P extends Record<string, TSchema>>(properties: P) =>
  Type.Object(properties, { additionalProperties: false });
/** What is written behind a question mark is text. */
const number = (description: string) => Type.String({ pattern: '^[0-9]{1,15}$', description });
const flag = (description: string) => oneOf(['true', 'false'], description);
const path = Type.String({ pattern: '^/', maxLength: 4096, description: 'Of the guest, from its root.' });
const user = maybe(Type.String({ maxLength: 256, description: "Whose rights count; root's unless given." }));
const ticket = maybe(Type.String({ maxLength: 128, description: 'Of POST /v1/tickets, instead of a token.' }));

const MACHINE = '/v1/machines/{name}';

export const routes = {
  openapi: { method: 'GET', path: '/openapi.json', summary: 'This description', status: 200, answer: 'any' },
  prometheus: {
    method: 'GET',
    path: '/metrics',
    summary: 'Measurements for Prometheus, text format 0.0.4; those of all tenants for an operator',
    status: 200,
    answer: 'text',
  },
  info: {
    method: 'GET',
    path: '/v1/info',
    summary: 'The server, and what one may have',
    status: 200,
    answer: schemas.ServerInfo,
  },
  ticket: {
    method: 'POST',
    path: '/v1/tickets',
    summary: 'A ticket for one WebSocket, or one file that is read, within 30 seconds: pages cannot send a token there',
    status: 201,
    answer: schemas.Ticket,
  },

  listMachines: {
    method: 'GET',
    path: '/v1/machines',
    summary: 'All machines',
    status: 200,
    answer: schemas.MachineList,
  },
  createMachine: {
    method: 'POST',
    path: '/v1/machines',
    summary: 'Makes a machine, or goes on with a snapshot',
    body: schemas.MachineRequest,
    bodyOptional: true,
    status: 201,
    answer: schemas.MachineInfo,
  },
  getMachine: { method: 'GET', path: MACHINE, summary: 'A machine', status: 200, answer: schemas.MachineInfo },
  deleteMachine: { method: 'DELETE', path: MACHINE, summary: 'Stops a machine and forgets it', status: 204 },
  pauseMachine: {
    method: 'POST',
    path: `${MACHINE}/pause`,
    summary: 'Makes it stand still, and its time with it',
    status: 200,
    answer: schemas.MachineInfo,
  },
  resumeMachine: {
    method: 'POST',
    path: `${MACHINE}/resume`,
    summary: 'Lets it go on',
    status: 200,
    answer: schemas.MachineInfo,
  },
  resetMachine: {
    method: 'POST',
    path: `${MACHINE}/reset`,
    summary: 'Presses the reset button; answers when commands can be run again',
    status: 200,
    answer: schemas.MachineInfo,
  },
  shutdownMachine: {
    method: 'POST',
    path: `${MACHINE}/shutdown`,
    summary: 'Ends its processes, writes its disks, switches it off',
    body: schemas.ShutdownRequest,
    bodyOptional: true,
    status: 200,
    answer: schemas.MachineInfo,
  },
  stopMachine: {
    method: 'POST',
    path: `${MACHINE}/stop`,
    summary: 'Pulls its cord; it stays in the list, with its logs',
    status: 200,
    answer: schemas.MachineInfo,
  },
  forkMachine: {
    method: 'POST',
    path: `${MACHINE}/fork`,
    summary: 'A second machine that is as this one is now',
    body: schemas.ForkRequest,
    bodyOptional: true,
    status: 201,
    answer: schemas.MachineInfo,
  },
  snapshotMachine: {
    method: 'POST',
    path: `${MACHINE}/snapshot`,
    summary: 'Saves it; it goes on',
    body: schemas.SnapshotRequest,
    status: 201,
    answer: schemas.SnapshotInfo,
  },
  exec: {
    method: 'POST',
    path: `${MACHINE}/exec`,
    summary: 'Runs a command to its end',
    body: schemas.ExecRequest,
    // What it gets as its standard input is the most of it.
    mostBody: 64 * 2 ** 20,
    status: 200,
    answer: schemas.ExecResult,
  },
  execStream: {
    method: 'GET',
    path: `${MACHINE}/exec`,
    summary: 'Runs a command, whose streams go along',
    query: query({ ticket }),
    webSocket: true,
    messages:
      'The client begins with a text message, ExecStart; then binary messages are standard input, text messages ExecControl. ' +
      'The server sends binary messages of one byte, 1 standard output (and the terminal), 2 standard error, with bytes of it; and text ' +
      'messages ExecNews: {"type":"started","pid"}, then {"type":"exit","exitCode","signal"} or {"type":"error","error"}, and closes.',
    status: 101,
  },
  readFile: {
    method: 'GET',
    path: `${MACHINE}/files`,
    summary: 'Reads a file, lists a folder, tells what something is',
    query: query({
      path,
      user,
      what: maybe(
        oneOf(
          ['content', 'list', 'status', 'link-status', 'link'],
          'content unless given; link-status: of a symbolic link itself; link: where it leads',
        ),
      ),
      offset: maybe(number('Of contents, bytes.')),
      length: maybe(number('Of contents, bytes.')),
      ticket,
    }),
    status: 200,
    answer: 'any',
  },
  writeFile: {
    method: 'PUT',
    path: `${MACHINE}/files`,
    summary: 'Writes a file; makes a folder or a symbolic link',
    query: query({
      path,
      user,
      as: maybe(oneOf(['file', 'folder', 'link'], 'file unless given; link: the body is where it leads')),
      mode: maybe(Type.String({ pattern: '^[0-7]{1,4}$', description: 'Permissions, octal.' })),
      how: maybe(oneOf(['replace', 'append', 'create'], 'replace unless given; create: only where nothing is')),
      parents: maybe(flag('Of a folder: those above it too, and none need be new.')),
    }),
    body: 'bytes',
    status: 204,
  },
  deleteFile: {
    method: 'DELETE',
    path: `${MACHINE}/files`,
    summary: 'Removes a file or a folder',
    query: query({ path, user, recursive: maybe(flag('With all that is in it.')) }),
    status: 204,
  },
  logs: {
    method: 'GET',
    path: `${MACHINE}/logs`,
    summary: 'What it has written',
    query: query({
      source: maybe(
        oneOf(
          ['serial', 'command'],
          'serial: the first serial port; command: what it was started for, if anything, which is meant unless given',
        ),
      ),
      follow: maybe(flag('And what it writes until it ends.')),
      tail: maybe(number('Bytes of the end at most.')),
    }),
    status: 200,
    answer: 'bytes',
  },
  serial: {
    method: 'GET',
    path: `${MACHINE}/serial`,
    summary: 'The first serial port, both ways',
    query: query({ ticket }),
    webSocket: true,
    messages: 'Binary messages, bytes of the port. What was written before comes first.',
    status: 101,
  },
  display: {
    method: 'GET',
    path: `${MACHINE}/display`,
    summary: 'The screen, keyboard and mouse: RFB, RFC 6143',
    query: query({ ticket }),
    webSocket: true,
    messages: 'Binary messages, bytes of the protocol, without a password. The subprotocol may be "binary".',
    status: 101,
  },
  screenshot: { method: 'GET', path: `${MACHINE}/screenshot`, summary: 'The screen', status: 200, answer: 'png' },
  machineMetrics: {
    method: 'GET',
    path: `${MACHINE}/metrics`,
    summary: 'What it has done',
    status: 200,
    answer: schemas.MachineMetrics,
  },
  openPort: {
    method: 'POST',
    path: `${MACHINE}/ports`,
    summary: "Opens a port of the server's host that leads into the guest",
    body: schemas.PortRequest,
    status: 201,
    answer: schemas.PortInfo,
  },
  closePort: { method: 'DELETE', path: `${MACHINE}/ports/{port}`, summary: 'Closes it', status: 204 },

  listSnapshots: {
    method: 'GET',
    path: '/v1/snapshots',
    summary: 'All snapshots',
    status: 200,
    answer: schemas.SnapshotList,
  },
  getSnapshot: {
    method: 'GET',
    path: '/v1/snapshots/{name}',
    summary: 'A snapshot',
    status: 200,
    answer: schemas.SnapshotInfo,
  },
  deleteSnapshot: { method: 'DELETE', path: '/v1/snapshots/{name}', summary: 'Removes a snapshot', status: 204 },

  listImages: {
    method: 'GET',
    path: '/v1/images',
    summary: 'Container images that are here',
    status: 200,
    answer: schemas.ImageList,
  },
  pullImage: {
    method: 'POST',
    path: '/v1/images',
    summary: 'Pulls an image',
    body: schemas.ImageRequest,
    status: 201,
    answer: schemas.ImageInfo,
  },
  deleteImage: {
    method: 'DELETE',
    path: '/v1/images',
    summary: 'Removes an image',
    query: query({
      name: Type.String({ minLength: 1, maxLength: 512, description: 'Its name, or the beginning of its digest.' }),
      force: maybe(flag('Also one that is needed, which loses its name and goes when nothing needs it any more.')),
    }),
    status: 204,
  },

  events: {
    method: 'GET',
    path: '/v1/events',
    summary: 'What changes, as it does',
    query: query({ ticket }),
    webSocket: true,
    messages: 'Text messages of the server, EventMessage. It begins with one for each machine.',
    status: 101,
  },
  relay: {
    method: 'GET',
    path: '/v1/relay',
    summary: 'A network for a machine that runs in a page: it reaches out through the server',
    query: query({
      ticket,
      mac: maybe(
        Type.String({
          pattern: '^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$',
          description: "Of the machine's card; 52:54:00:12:34:56 unless given.",
        }),
      ),
    }),
    webSocket: true,
    messages:
      'Each binary message is one Ethernet frame, 14 to 1514 bytes, without its checksum (FCS) and with all checksums inside it finished. There is DHCP; ' +
      'the addresses are those of vitrine run: 10.0.2.15, gateway 10.0.2.2, name server 10.0.2.3.',
    status: 101,
  },
} as const satisfies Record<string, Route>;

export type RouteId = keyof typeof routes;

export const routeIds = Object.keys(routes) as RouteId[];

/** A route with all that it might have. */
export const routeOf = (id: RouteId): Route => routes[id];

/** Whether a ticket will do instead of a token. */
export const takesTicket = ({ query }: Route): boolean =>
  query !== undefined && TypeGuard.IsObject(query) && Object.hasOwn(query.properties, 'ticket');

export interface RouteMatch {
  readonly id: RouteId;
  readonly route: Route;
  /** What stands in the place of parts in braces, decoded. */
  readonly names: Readonly<Record<string, string>>;
}

const compiled = routeIds.map((id) => ({ id, route: routeOf(id), parts: routeOf(id).path.split('/') }));

/** What a decoded part is; undefined: it is none. */
function decode(part: string): string | undefined {
  try {
    const text = decodeURIComponent(part);
    return text === '' ? undefined : text;
  } catch {
    return undefined;
  }
}

function namesOf(parts: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined;
  const names: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    if (!part.startsWith('{')) {
      if (part !== given[i]) return undefined;
      continue;
    }
    const text = decode(given[i]);
    if (text === undefined) return undefined;
    names[part.slice(1, -1)] = text;
  }
  return names;
}

/**
 * Finds the route of a request by its path, without what stands behind the question mark. Otherwise the methods that there are of this
 * path: none, and there is no such path.
 */
export function matchRoute(
  method: string,
  path: string,
  webSocket: boolean,
): RouteMatch | { readonly allowed: readonly Method[] } {
  const given = path.split('/');
  const allowed = new Set<Method>();
  for (const { id, route, parts } of compiled) {
    const names = namesOf(parts, given);
    if (!names) continue;
    if (route.method === method && (route.webSocket ?? false) === webSocket) return { id, route, names };
    allowed.add(route.method);
  }
  return { allowed: [...allowed] };
}
