/** A registry: OCI distribution specification 1.1, and the token authentication that Docker's registry describes. */
import { createHash } from 'node:crypto';
import { findLogin, type Login } from './credentials.js';
import { OciError } from './errors.js';
import { HttpClient, isLoopback, NetworkFailure, readBody, unlessBusy, withRetries, type HttpAnswer } from './http.js';
import { ACCEPTED, type Digest } from './image.js';
import { JsonValue } from './json.js';
import { DEFAULT_REGISTRY, type RegistryReference } from './reference.js';

/** Bytes of a manifest: what registries take at least, and Docker's at most (spec.md, "Pushing Manifests"). */
export const MAX_MANIFEST = 4 * 2 ** 20;
/** Milliseconds before further attempts to get a manifest. */
const MANIFEST_PAUSES = [300];
/** Bytes of a token and of a message about an error. */
const MAX_ANSWER = 2 ** 20;

/** Where Docker's registry really is. */
const DEFAULT_HOST = 'registry-1.docker.io';

export interface RegistryOptions {
  /** Certificates are not checked, and HTTP without TLS will do. */
  readonly insecure?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Without the logins that Docker knows. */
  readonly anonymous?: boolean | undefined;
  /** For tests: otherwise as Docker knows it. */
  readonly login?: Login | undefined;
}

export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string | undefined;
  readonly digest: Digest;
}

export function digestOf(bytes: Uint8Array, algorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export class Registry {
  private readonly client: HttpClient;
  private readonly signal: AbortSignal | undefined;
  private readonly host: string;
  private base: URL | undefined;
  /** What is sent with each request, once the registry has said what it wants. */
  private authorization: string | undefined;
  private login: Promise<Login | undefined> | undefined;

  constructor(
    private readonly reference: RegistryReference,
    private readonly options: RegistryOptions = {},
  ) {
    this.client = new HttpClient(options.insecure ?? false);
    this.signal = options.signal;
    this.host = reference.registry === DEFAULT_REGISTRY ? DEFAULT_HOST : reference.registry;
    if (options.login) this.login = Promise.resolve(options.login);
  }

  close(): void {
    this.client.close();
  }

  /**
   * The manifest or index of a tag or digest; what has a digest is checked against it. Throws a one-line error (OciError).
   */
  async manifest(tagOrDigest: string): Promise<FetchedManifest> {
    return withRetries(
      this.signal,
      async () => {
        const answer = await this.get(`manifests/${tagOrDigest}`, { accept: ACCEPTED.join(', ') });
        if (answer.status !== 200) throw await this.failure(answer, `${this.name}:${tagOrDigest}`);
        const bytes = await readBody(answer, MAX_MANIFEST, this.signal);
        const wanted = tagOrDigest.includes(':') ? tagOrDigest : undefined;
        const digest = digestOf(bytes, wanted?.split(':')[0]);
        if (wanted !== undefined && digest !== wanted)
          throw new OciError('damaged', `${this.host} sends another manifest than ${wanted}`);
        return { bytes, mediaType: answer.headers['content-type'], digest };
        // Somebody is waiting for the first answer: a wrong name should not take long.
      },
      MANIFEST_PAUSES,
    );
  }

  /**
   * Bytes of a blob from an offset on, if the registry can do that: `from` says where they begin. One attempt: what breaks off is a
   * NetworkFailure, behind which whoever reads can go on.
   */
  async blob(
    digest: Digest,
    offset: number,
  ): Promise<{ readonly from: number; readonly body: AsyncIterable<Uint8Array> }> {
    const answer = await this.get(`blobs/${digest}`, offset > 0 ? { range: `bytes=${offset}-` } : {});
    if (answer.status === 200) return { from: 0, body: this.bodyOf(answer) };
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.headers['content-range'] ?? '');
    if (answer.status === 206 && Number(range?.[1]) === offset) return { from: offset, body: this.bodyOf(answer) };
    // It cannot go on there: from the beginning, then.
    if (answer.status === 416 || answer.status === 206) {
      answer.body.destroy();
      if (offset > 0) return this.blob(digest, 0);
    }
    throw await this.failure(answer, `${this.name}@${digest}`);
  }

  private async *bodyOf(answer: HttpAnswer): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) yield chunk;
    } catch (error) {
      this.signal?.throwIfAborted();
      throw new NetworkFailure(this.host, error);
    } finally {
      answer.body.destroy();
    }
  }

  private get name(): string {
    return `${this.reference.registry}/${this.reference.repository}`;
  }

  /** Asks, and once more with a login when the registry wants one. */
  private async get(what: string, headers: Readonly<Record<string, string>>): Promise<HttpAnswer> {
    const base = await this.findBase();
    const url = new URL(`v2/${this.reference.repository}/${what}`, base);
    const ask = (): Promise<HttpAnswer> => {
      const { authorization } = this;
      return this.client.request(url, {
        headers: { ...headers, ...(authorization !== undefined && { authorization }) },
        signal: this.signal,
      });
    };
    const answer = unlessBusy(await ask());
    // Where to log in is for the registry to say, not for wherever it leads.
    if (answer.status !== 401 || answer.url.host !== url.host) return answer;
    answer.body.destroy();
    await this.authorize(answer.headers['www-authenticate'] ?? '', base);
    const second = unlessBusy(await ask());
    // Docker's own registry answers a wrong password with 400.
    if (![400, 401, 403].includes(second.status)) return second;
    second.body.destroy();
    throw this.refused(await this.findLogin());
  }

  /** HTTPS; on this machine, or where it need not be secure, HTTP when that does not work. */
  private async findBase(): Promise<URL> {
    if (this.base) return this.base;
    const { insecure = false } = this.options;
    const secure = new URL(`https://${this.host}/`);
    if (!insecure && !isLoopback(secure.hostname)) return (this.base = secure);
    try {
      const answer = await this.client.request(new URL('v2/', secure), { signal: this.signal });
      answer.body.destroy();
      this.base = secure;
    } catch (error) {
      if (!(error instanceof NetworkFailure)) throw error;
      this.base = new URL(`http://${this.host}/`);
    }
    return this.base;
  }

  private findLogin(): Promise<Login | undefined> {
    this.login ??= this.options.anonymous ? Promise.resolve(undefined) : findLogin(this.reference.registry);
    return this.login;
  }

  /** Does what a 401 asks for: RFC 7235, and Docker's registry specification, "Token Authentication". */
  private async authorize(challenge: string, base: URL): Promise<void> {
    const { scheme, parameters } = parseChallenge(challenge);
    const login = await this.findLogin();
    if (scheme === 'basic') {
      if (login?.kind !== 'password') throw this.refused(login);
      this.authorization = basic(login);
      return;
    }
    if (scheme !== 'bearer' || !parameters['realm'])
      throw new OciError('unauthorized', `${this.host} wants a login of a kind that is not known here`);
    const token = await this.fetchToken(parameters, login, base);
    this.authorization = `Bearer ${token}`;
  }

  private async fetchToken(
    parameters: Readonly<Record<string, string>>,
    login: Login | undefined,
    base: URL,
  ): Promise<string> {
    const { realm, service, scope = `repository:${this.reference.repository}:pull` } = parameters;
    if (!URL.canParse(realm)) throw new OciError('network', `${this.host} names no place to log in at`);
    const url = new URL(realm);
    const plain = url.protocol === 'http:' && (base.protocol === 'http:' || isLoopback(url.hostname));
    // A password goes over the network as safely as what it is for.
    if (url.protocol !== 'https:' && !plain)
      throw new OciError('network', `${this.host} wants a login without TLS, at ${url.host}`);
    const answer = await withRetries(this.signal, async () =>
      unlessBusy(await this.askToken(url, { service, scope }, login)),
    );
    const bytes = await readBody(answer, MAX_ANSWER, this.signal);
    if (answer.status === 401 || answer.status === 403) throw this.refused(login);
    if (answer.status !== 200) throw new OciError('network', `${url.host} answers with ${answer.status} to a login`);
    const json = JsonValue.parse(bytes, `what ${url.host} answers to a login`);
    const token = json.get('token').optionalString() ?? json.get('access_token').optionalString();
    if (!token || !/^[\x21-\x7e]+$/.test(token)) throw new OciError('network', `${url.host} gives no token`);
    return token;
  }

  private askToken(
    url: URL,
    { service, scope }: { readonly service: string | undefined; readonly scope: string },
    login: Login | undefined,
  ): Promise<HttpAnswer> {
    const { signal } = this;
    if (login?.kind === 'token') {
      // distribution's docs/spec/auth/oauth.md
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: login.token,
        service: service ?? '',
        scope,
        client_id: 'vitrine',
      });
      return this.client.request(url, { form, signal });
    }
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', scope);
    const headers: Record<string, string> = login ? { authorization: basic(login) } : {};
    return this.client.request(url, { headers, signal });
  }

  private refused(login: Login | undefined): OciError {
    const { registry } = this.reference;
    const where = registry === DEFAULT_REGISTRY ? '' : ` ${registry}`;
    return new OciError(
      'unauthorized',
      login
        ? `${registry} refuses the login that Docker's configuration has for it`
        : this.options.anonymous
          ? `${registry} wants a login for ${this.reference.repository}, or the image does not exist`
          : `${registry} wants a login for ${this.reference.repository}: docker login${where} makes one, or the image does not exist`,
    );
  }

  /** Why there is no image, as far as the registry says it. */
  private async failure(answer: HttpAnswer, what: string): Promise<OciError> {
    const told = await readBody(answer, MAX_ANSWER, this.signal).then(firstMessage, () => undefined);
    const detail = told === undefined ? '' : ` (${told})`;
    switch (answer.status) {
      case 404:
        return new OciError('not-found', `there is no ${what}${detail}`);
      case 401:
      case 403:
        return this.refused(await this.findLogin());
      default:
        return new OciError('network', `${this.host} answers with ${answer.status} for ${what}${detail}`);
    }
  }
}

function basic({ user, password }: Login & { readonly kind: 'password' }): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** spec.md, "Error Codes": a list of codes with messages. */
function firstMessage(bytes: Uint8Array): string | undefined {
  try {
    const [first] = JsonValue.parse(bytes, 'the answer').get('errors').list();
    const text = first?.get('message').optionalString();
    return text === undefined ? undefined : JSON.stringify(text.slice(0, 200)).slice(1, -1);
  } catch {
    return undefined;
  }
}

/** `Bearer realm="…",service="…"`: the scheme in small letters, and what is said with it. */
export function parseChallenge(challenge: string): {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
} {
  const [, scheme = '', rest = ''] = /^\s*([\w-]+)\s*(.*)$/s.exec(challenge) ?? [];
  const parameters: Record<string, string> = {};
  for (const [, key, quoted, bare] of rest.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g))
    parameters[key.toLowerCase()] = quoted === undefined ? bare : quoted.replace(/\\(.)/g, '$1');
  return { scheme: scheme.toLowerCase(), parameters };
}
