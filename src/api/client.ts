/** A client of a server, over whatever transport. All methods are rejected with an ApiError, one line, when the server refuses. */
import { ApiError } from './errors.js';
import { ExecSession, type ExecHandlers } from './exec-session.js';
import type {
  ErrorAnswer,
  EventMessage,
  ExecRequest,
  ExecResult,
  ExecStart,
  FileAnswer,
  FileEntry,
  FileStatus,
  ForkRequest,
  ImageInfo,
  MachineInfo,
  MachineMetrics,
  MachineRequest,
  Port,
  PortRequest,
  ServerInfo,
  SnapshotInfo,
  SnapshotRequest,
  Ticket,
} from './schemas.js';
import type { ClientSocket, SocketListener, Transport, TransportRequest, TransportResponse } from './transport.js';

/** Bytes of an answer that is kept as a whole, at most. */
const MOST_ANSWER = 512 * 2 ** 20;

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface FileCallOptions extends CallOptions {
  /** Whose rights count; root's unless given. */
  readonly user?: string;
}

type Body = NonNullable<TransportRequest['body']>;
type Query = Readonly<Record<string, string | number | boolean | undefined>>;

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body) {
    parts.push(part);
    length += part.length;
    if (length > MOST_ANSWER) throw new ApiError('too-large', 'the server sends more than can be kept');
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(key)}=${encodeURIComponent(value)}`],
  );
  return given.length === 0 ? path : `${path}?${given.join('&')}`;
}

/** What the server says is wrong. */
async function refusal(response: TransportResponse): Promise<ApiError> {
  const { status } = response;
  const text = new TextDecoder().decode(await collect(response.body));
  try {
    const { error } = JSON.parse(text) as Partial<ErrorAnswer>;
    if (typeof error?.code === 'string' && typeof error.message === 'string')
      return new ApiError(error.code, error.message, status);
  } catch {
    // Something else answers there.
  }
  return new ApiError('failed', `the server answers with status ${status}`, status);
}

export class ApiClient {
  constructor(private readonly transport: Transport) {}

  /** Lets go of connections that are kept for later. */
  close(): void {
    this.transport.close();
  }

  private async send(request: TransportRequest): Promise<TransportResponse> {
    const response = await this.transport.request(request);
    if (response.status >= 400) throw await refusal(response);
    return response;
  }

  private async call<T>(
    method: string,
    path: string,
    { body, signal, query }: { readonly body?: unknown; readonly query?: Query } & CallOptions = {},
  ): Promise<T> {
    const response = await this.send({
      method,
      path: withQuery(path, query),
      ...(body !== undefined && { body: JSON.stringify(body), contentType: 'application/json' }),
      ...(signal && { signal }),
    });
    const text = new TextDecoder().decode(await collect(response.body));
    // Whoever answers there speaks this protocol, or fails here.
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  private static machine(name: string, rest = ''): string {
    return `/v1/machines/${encodeURIComponent(name)}${rest}`;
  }

  info(options: CallOptions = {}): Promise<ServerInfo> {
    return this.call('GET', '/v1/info', options);
  }

  /** For a page's WebSockets. */
  ticket(options: CallOptions = {}): Promise<Ticket> {
    return this.call('POST', '/v1/tickets', options);
  }

  // ---- machines ----

  async list(options: CallOptions = {}): Promise<MachineInfo[]> {
    return (await this.call<{ machines: MachineInfo[] }>('GET', '/v1/machines', options)).machines;
  }

  /** Resolves when commands can be run, unless `wait` is false. An aborted signal takes it back. */
  create(request: MachineRequest, { signal }: CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', '/v1/machines', { body: request, ...(signal && { signal }) });
  }

  get(name: string, options: CallOptions = {}): Promise<MachineInfo> {
    return this.call('GET', ApiClient.machine(name), options);
  }

  /** Stops it and forgets it. */
  remove(name: string, options: CallOptions = {}): Promise<void> {
    return this.call('DELETE', ApiClient.machine(name), options);
  }

  /** Pulls its cord; it stays in the list, with its logs. */
  stop(name: string, options: CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', ApiClient.machine(name, '/stop'), options);
  }

  pause(name: string, options: CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', ApiClient.machine(name, '/pause'), options);
  }

  resume(name: string, options: CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', ApiClient.machine(name, '/resume'), options);
  }

  reset(name: string, options: CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', ApiClient.machine(name, '/reset'), options);
  }

  /** `grace`: milliseconds that processes have to end. */
  shutdown(name: string, { grace, ...rest }: { readonly grace?: number } & CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', ApiClient.machine(name, '/shutdown'), {
      body: grace === undefined ? {} : { grace },
      ...rest,
    });
  }

  fork(name: string, request: ForkRequest = {}, options: CallOptions = {}): Promise<MachineInfo> {
    return this.call('POST', ApiClient.machine(name, '/fork'), { body: request, ...options });
  }

  snapshot(name: string, request: SnapshotRequest, options: CallOptions = {}): Promise<SnapshotInfo> {
    return this.call('POST', ApiClient.machine(name, '/snapshot'), { body: request, ...options });
  }

  metrics(name: string, options: CallOptions = {}): Promise<MachineMetrics> {
    return this.call('GET', ApiClient.machine(name, '/metrics'), options);
  }

  // ---- commands ----

  /** Runs a command to its end. */
  exec(name: string, request: ExecRequest, options: CallOptions = {}): Promise<ExecResult> {
    return this.call('POST', ApiClient.machine(name, '/exec'), { body: request, ...options });
  }

  /** Starts a command, whose streams go along. */
  execStream(name: string, start: ExecStart, handlers: ExecHandlers): ExecSession {
    return new ExecSession(this.transport, ApiClient.machine(name, '/exec'), start, handlers);
  }

  // ---- files ----

  private file<T>(name: string, what: string, path: string, { user, signal }: FileCallOptions = {}): Promise<T> {
    return this.call('GET', ApiClient.machine(name, '/files'), {
      query: { path, what, user },
      ...(signal && { signal }),
    });
  }

  /** A file's contents as they come. */
  async readFile(
    name: string,
    path: string,
    { user, offset, length, signal }: FileCallOptions & { readonly offset?: number; readonly length?: number } = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const query = { path, user, offset, length };
    const response = await this.send({
      method: 'GET',
      path: withQuery(ApiClient.machine(name, '/files'), query),
      ...(signal && { signal }),
    });
    return response.body;
  }

  /** Where a file's contents are, for a link in a page: once, and soon (see `ticket`). */
  fileAddress(name: string, path: string, ticket: string): string {
    return withQuery(ApiClient.machine(name, '/files'), { path, ticket });
  }

  async listFolder(name: string, path: string, options: FileCallOptions = {}): Promise<FileEntry[]> {
    return (await this.file<FileAnswer>(name, 'list', path, options)).entries ?? [];
  }

  /** `follow`: false to look at a symbolic link itself. */
  async fileStatus(
    name: string,
    path: string,
    { follow = true, ...options }: FileCallOptions & { readonly follow?: boolean } = {},
  ): Promise<FileStatus> {
    const { status } = await this.file<FileAnswer>(name, follow ? 'status' : 'link-status', path, options);
    if (!status) throw new ApiError('failed', 'the server does not tell what the file is');
    return status;
  }

  async readLink(name: string, path: string, options: FileCallOptions = {}): Promise<string> {
    return (await this.file<FileAnswer>(name, 'link', path, options)).target ?? '';
  }

  /** Writes a file. `mode`: permissions, a number. */
  async writeFile(
    name: string,
    path: string,
    contents: Body,
    options: FileCallOptions & { readonly mode?: number; readonly how?: 'replace' | 'append' | 'create' } = {},
  ): Promise<void> {
    const { user, mode, how, signal } = options;
    const query = { path, user, how, mode: mode?.toString(8) };
    await this.put(name, query, contents, signal);
  }

  /** `parents`: those above it too, and none need be new. */
  async makeFolder(
    name: string,
    path: string,
    options: FileCallOptions & { readonly mode?: number; readonly parents?: boolean } = {},
  ): Promise<void> {
    const { user, mode, parents, signal } = options;
    await this.put(name, { path, user, as: 'folder', mode: mode?.toString(8), parents }, '', signal);
  }

  /** Makes a symbolic link that leads to `target`. */
  async makeLink(name: string, target: string, path: string, { user, signal }: FileCallOptions = {}): Promise<void> {
    await this.put(name, { path, user, as: 'link' }, target, signal);
  }

  private async put(name: string, query: Query, body: Body, signal: AbortSignal | undefined): Promise<void> {
    const response = await this.send({
      method: 'PUT',
      path: withQuery(ApiClient.machine(name, '/files'), query),
      contentType: 'application/octet-stream',
      body,
      ...(signal && { signal }),
    });
    await collect(response.body);
  }

  removeFile(
    name: string,
    path: string,
    { user, recursive, signal }: FileCallOptions & { readonly recursive?: boolean } = {},
  ): Promise<void> {
    return this.call('DELETE', ApiClient.machine(name, '/files'), {
      query: { path, user, recursive },
      ...(signal && { signal }),
    });
  }

  // ---- what it writes and shows ----

  /** What it has written, as it comes; `follow`: until it ends. `source`: the command it was started for, unless given. */
  async logs(
    name: string,
    options: {
      readonly source?: 'serial' | 'command';
      readonly follow?: boolean;
      /** Bytes of the end at most. */
      readonly tail?: number;
    } & CallOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const { signal, ...query } = options;
    const path = withQuery(ApiClient.machine(name, '/logs'), query);
    return (await this.send({ method: 'GET', path, ...(signal && { signal }) })).body;
  }

  /** The first serial port: bytes both ways. */
  serial(name: string, listener: SocketListener): ClientSocket {
    return this.transport.webSocket(ApiClient.machine(name, '/serial'), listener);
  }

  /** The screen: bytes of RFB both ways. */
  display(name: string, listener: SocketListener): ClientSocket {
    return this.transport.webSocket(ApiClient.machine(name, '/display'), listener);
  }

  /** A PNG. */
  async screenshot(name: string, { signal }: CallOptions = {}): Promise<Uint8Array> {
    const path = ApiClient.machine(name, '/screenshot');
    return collect((await this.send({ method: 'GET', path, ...(signal && { signal }) })).body);
  }

  // ---- ports ----

  openPort(name: string, request: PortRequest, options: CallOptions = {}): Promise<Port> {
    return this.call('POST', ApiClient.machine(name, '/ports'), { body: request, ...options });
  }

  closePort(name: string, id: number, options: CallOptions = {}): Promise<void> {
    return this.call('DELETE', ApiClient.machine(name, `/ports/${id}`), options);
  }

  // ---- snapshots and images ----

  async snapshots(options: CallOptions = {}): Promise<SnapshotInfo[]> {
    return (await this.call<{ snapshots: SnapshotInfo[] }>('GET', '/v1/snapshots', options)).snapshots;
  }

  removeSnapshot(name: string, options: CallOptions = {}): Promise<void> {
    return this.call('DELETE', `/v1/snapshots/${encodeURIComponent(name)}`, options);
  }

  async images(options: CallOptions = {}): Promise<ImageInfo[]> {
    return (await this.call<{ images: ImageInfo[] }>('GET', '/v1/images', options)).images;
  }

  pullImage(name: string, options: CallOptions = {}): Promise<ImageInfo> {
    return this.call('POST', '/v1/images', { body: { name }, ...options });
  }

  /** `force`: one that is needed loses its name. */
  removeImage(name: string, options: CallOptions & { readonly force?: boolean } = {}): Promise<void> {
    const { force, ...rest } = options;
    return this.call('DELETE', '/v1/images', { query: { name, ...(force && { force: 'true' }) }, ...rest });
  }

  // ---- events ----

  /** Tells what changes; begins with all machines. */
  events(take: (event: EventMessage) => void, closed: (error?: Error) => void = () => {}): ClientSocket {
    return this.transport.webSocket('/v1/events', {
      open: () => {},
      text: (message) => take(JSON.parse(message) as EventMessage),
      binary: () => {},
      closed,
    });
  }
}
