/** Registries that ask for tokens, redirect, break off, are busy, and lie. */
import * as fs from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { layer } from '../testing/oci-images.js';
import { describeImage } from './describe-image.js';
import { OciError } from './errors.js';
import { ImageStore } from './image-store.js';
import { digestOf, parseChallenge } from './registry.js';

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => boolean;

/** A registry of one image, in which a test changes what it likes. */
class MockRegistry {
  readonly archive = layer([{ path: 'file', content: Buffer.alloc(600_000, 'content ') }]);
  readonly packed = this.archive;
  readonly blobs = new Map<string, Uint8Array>();
  readonly requests: string[] = [];
  readonly digest: string;
  readonly layerDigest = digestOf(this.packed);
  /** Looked at first; true: it has answered. */
  before: Handler = () => false;
  private readonly server = http.createServer((request, response) => this.answer(request, response));

  constructor() {
    const { config, manifest } = describeImage(
      { digest: this.layerDigest, size: this.packed.length },
      { os: 'linux', architecture: 'amd64' },
      { Cmd: ['/file'] },
    );
    this.digest = manifest.digest;
    this.blobs.set(this.layerDigest, this.packed);
    this.blobs.set(config.digest, config.bytes);
    this.blobs.set(manifest.digest, manifest.bytes);
  }

  private answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { url = '' } = request;
    this.requests.push(`${request.method ?? ''} ${url}`);
    if (url === '/v2/') response.end('{}');
    else if (!this.before(request, response)) this.serve(request, response);
  }

  serve({ url = '', headers }: http.IncomingMessage, response: http.ServerResponse): void {
    const name = url.split('/').at(-1) ?? '';
    const bytes = this.blobs.get(name === 'latest' ? this.digest : name);
    if (bytes === undefined) {
      response.writeHead(404).end('{"errors":[{"code":"X","message":"unknown\\u001b[31m thing"}]}');
      return;
    }
    if (url.includes('/manifests/')) response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    if (from > 0) response.writeHead(206, { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` });
    response.end(bytes.subarray(from));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get name(): string {
    return `${this.host}/app`;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

let registry: MockRegistry;
let store: ImageStore;
let root = '';
const config = process.env['DOCKER_CONFIG'];
beforeEach(async () => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-registry-'));
  process.env['DOCKER_CONFIG'] = root;
  store = new ImageStore({ cache: path.join(root, 'cache') });
  registry = new MockRegistry();
  await registry.listen();
});
afterEach(() => {
  registry.close();
  fs.rmSync(root, { recursive: true });
  if (config === undefined) delete process.env['DOCKER_CONFIG'];
  else process.env['DOCKER_CONFIG'] = config;
});

const login = (auth: object): void =>
  fs.writeFileSync(path.join(root, 'config.json'), JSON.stringify({ auths: { [registry.host]: auth } }));

async function failure(work: Promise<unknown>): Promise<OciError> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OciError);
  expect((error as OciError).message).toMatch(/^\P{Cc}+$/u);
  expect(await store.list()).toEqual([]);
  return error as OciError;
}

describe('a registry', () => {
  it('is asked for what it has, and once only', async () => {
    expect((await store.pull(registry.name)).digest).toBe(registry.digest);
    const count = registry.requests.length;
    await store.ensure(registry.name);
    expect(registry.requests.length).toBe(count);
    // A pull looks for news, but fetches nothing that is there.
    await store.pull(registry.name);
    expect(registry.requests.slice(count).filter((one) => one.includes('/blobs/'))).toEqual([]);
  });

  it.each([
    ['a password', { auth: Buffer.from('anna:geheim').toString('base64') }, 'GET', 'Basic YW5uYTpnZWhlaW0='],
    ['nothing', {}, 'GET', undefined],
    ['a token of its own', { identitytoken: 'refresh' }, 'POST', undefined],
  ])('that wants a token gets one, by %s', async (_, auth, method, sent) => {
    login(auth);
    let asked = 0;
    registry.before = (request, response) => {
      const url = new URL(request.url ?? '', `http://${registry.host}`);
      if (url.pathname === '/token') {
        asked++;
        expect(request.method).toBe(method);
        expect(request.headers.authorization).toBe(sent);
        if (method === 'GET') expect(url.searchParams.get('scope')).toBe('repository:app:pull');
        response.end(JSON.stringify(method === 'GET' ? { token: 'opaque' } : { access_token: 'opaque' }));
        return true;
      }
      if (request.headers.authorization === 'Bearer opaque') return false;
      const challenge = `Bearer realm="http://${registry.host}/token",service="re\\"g",scope="repository:app:pull"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
      return true;
    };
    await store.pull(registry.name);
    expect(asked).toBe(1);
  });

  it('does not get a password over HTTP that is meant for another place', async () => {
    login({ auth: Buffer.from('anna:geheim').toString('base64') });
    registry.before = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="ftp://elsewhere.example/token"' }).end();
      return true;
    };
    expect((await failure(store.pull(registry.name))).message).toMatch(/a login without TLS, at elsewhere\.example/);
  });

  it('that refuses a login is named', async () => {
    registry.before = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    };
    expect(await failure(store.pull(registry.name))).toMatchObject({ code: 'unauthorized' });
    login({ auth: Buffer.from('anna:geheim').toString('base64') });
    expect((await failure(store.pull(registry.name))).message).toMatch(/refuses the login/);
    registry.before = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end();
      return true;
    };
    expect((await failure(store.pull(registry.name))).message).toMatch(/a kind that is not known/);
  });

  it('may have its blobs elsewhere, where its passwords do not go', async () => {
    const storage = new MockRegistry();
    await storage.listen();
    try {
      login({ auth: Buffer.from('anna:geheim').toString('base64') });
      const seen: (string | undefined)[] = [];
      storage.before = ({ headers }) => {
        seen.push(headers.authorization);
        return false;
      };
      registry.before = (request, response) => {
        if (request.headers.authorization === undefined) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
          return true;
        }
        if (!request.url?.includes('/blobs/')) return false;
        response.writeHead(307, { location: `http://${storage.host}${request.url}` }).end();
        return true;
      };
      await store.pull(registry.name);
      expect(seen).toEqual([undefined, undefined]);
    } finally {
      storage.close();
    }
  });

  it('must not lead a login elsewhere, nor have others ask for one', async () => {
    const elsewhere = new MockRegistry();
    await elsewhere.listen();
    try {
      login({ identitytoken: 'refresh' });
      const away = { location: `http://${elsewhere.host}/token` };
      registry.before = ({ url = '' }, response) => {
        if (url.startsWith('/token')) response.writeHead(307, away).end();
        else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${registry.host}/token"` }).end();
        return true;
      };
      expect((await failure(store.pull(registry.name))).message).toMatch(/leads a login to another place/);
      elsewhere.before = (_, response) => {
        response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${elsewhere.host}/token"` }).end();
        return true;
      };
      registry.before = ({ url = '' }, response) => {
        response.writeHead(307, { location: `http://${elsewhere.host}${url}` }).end();
        return true;
      };
      expect((await failure(store.pull(registry.name))).code).toBe('unauthorized');
      expect(elsewhere.requests.filter((one) => one.includes('/token'))).toEqual([]);
    } finally {
      elsewhere.close();
    }
  });

  it.each([
    ['round and round', '/v2/app/manifests/latest', /too many redirections/],
    ['to nowhere', 'http://[nowhere', /leads to no address/],
    ['to a file', 'file:///etc/passwd', /not secure/],
  ])('must not lead %s', async (_, location, message) => {
    registry.before = (__, response) => {
      response.writeHead(302, { location }).end();
      return true;
    };
    expect((await failure(store.pull(registry.name))).message).toMatch(message);
  });

  it.each([true, false])('that breaks off is gone on with (ranges: %s)', async (ranges) => {
    let broken = 0;
    const offsets: (string | undefined)[] = [];
    registry.before = (request, response) => {
      if (!request.url?.endsWith(registry.layerDigest)) return false;
      offsets.push(request.headers.range);
      if (broken++ < 2) {
        const from = ranges ? Number(/\d+/.exec(request.headers.range ?? '0')?.[0]) : 0;
        const total = registry.packed.length;
        if (from > 0) response.writeHead(206, { 'content-range': `bytes ${from}-${total - 1}/${total}` });
        else response.writeHead(200, { 'content-length': total });
        response.write(registry.packed.subarray(from, from + 200_000), () => setTimeout(() => response.destroy(), 50));
        return true;
      }
      if (ranges) return false;
      response.end(registry.packed);
      return true;
    };
    expect((await store.pull(registry.name)).digest).toBe(registry.digest);
    expect(offsets[0]).toBeUndefined();
    expect(offsets[1]).toMatch(/^bytes=\d+-$/);
    expect(offsets).toHaveLength(3);
  });

  it('that is busy is asked again', async () => {
    let times = 0;
    registry.before = (request, response) => {
      if (!request.url?.includes('/blobs/') || times++ >= 2) return false;
      response.writeHead(times === 1 ? 429 : 503, { 'retry-after': '0' }).end();
      return true;
    };
    await store.pull(registry.name);
    registry.before = (_, response) => {
      response.writeHead(500).end();
      return true;
    };
    await store.remove(registry.name);
    expect((await failure(store.pull(registry.name))).message).toMatch(/it answers with 500/);
  });

  it('goes on with what an earlier pull has left, whatever that is', async () => {
    const partial = path.join(root, 'cache/oci/partial', registry.layerDigest.replace(':', '-'));
    fs.mkdirSync(path.dirname(partial), { recursive: true });
    fs.writeFileSync(partial, registry.packed.subarray(0, 1000));
    await store.pull(registry.name);
    await store.remove(registry.name);
    // Nonsense from another registry, too long, or just as long as it should be.
    for (const length of [1000, registry.packed.length, registry.packed.length + 5]) {
      fs.mkdirSync(path.dirname(partial), { recursive: true });
      fs.writeFileSync(partial, Buffer.alloc(length, 'x'));
      await store.pull(registry.name);
      await store.remove(registry.name);
    }
  });

  it('that lies is found out', async () => {
    const lie = (part: string, answer: (response: http.ServerResponse) => void): void => {
      registry.before = ({ url = '' }, response) => {
        if (!url.includes(part)) return false;
        answer(response);
        return true;
      };
    };
    const other = registry.packed.map((byte, i) => (i === 700 ? byte ^ 1 : byte));
    lie(registry.layerDigest, (response) => response.end(other));
    expect((await failure(store.pull(registry.name))).message).toMatch(/not what its digest says/);
    lie(registry.layerDigest, (response) => response.end(Buffer.concat([registry.packed, Buffer.alloc(1)])));
    expect((await failure(store.pull(registry.name))).message).toMatch(/longer than/);
    lie(registry.layerDigest, (response) => response.end(registry.packed.subarray(0, 100)));
    expect((await failure(store.pull(registry.name))).message).toMatch(/has 100 bytes instead of/);
    lie('/manifests/', (response) => response.end(Buffer.alloc(5 * 2 ** 20, ' ')));
    expect((await failure(store.pull(registry.name))).code).toBe('too-large');
    lie('/manifests/', (response) => response.end('<html>'));
    expect((await failure(store.pull(registry.name))).message).toMatch(/the manifest is no JSON/);
    lie('/manifests/', (response) => response.end('{"schemaVersion":1}'));
    expect((await failure(store.pull(registry.name))).message).toMatch(/gave up in 2017/);
    const named = `${registry.name}@${registry.digest}`;
    lie('/manifests/', (response) => response.end('{}'));
    expect((await failure(store.pull(named))).message).toMatch(/sends another manifest/);
    registry.before = () => false;
    expect((await failure(store.pull(`${registry.host}/app:none`))).message).toMatch(
      /there is no .*unknown\\u001b\[31m thing/,
    );
  });

  it('whose layers are bombs or no archives', async () => {
    const put = (bytes: Uint8Array): string => {
      const diff = digestOf(bytes);
      const { config: settings, manifest } = describeImage(
        { digest: diff, size: bytes.length },
        { os: 'linux', architecture: 'amd64' },
        {},
      );
      for (const one of [settings, manifest]) registry.blobs.set(one.digest, one.bytes);
      registry.blobs.set(diff, bytes);
      return `${registry.name}@${manifest.digest}`;
    };
    // 200 MiB in 200 KiB.
    const small = new ImageStore({ cache: path.join(root, 'cache'), limits: { unpacked: 50 * 2 ** 20 } });
    expect((await failure(small.pull(put(gzipSync(Buffer.alloc(200 * 2 ** 20)))))).message).toMatch(
      /unpacks to more than 52428800 bytes/,
    );
    expect((await failure(store.pull(put(Buffer.from('no archive at all'.repeat(100)))))).message).toMatch(
      /the archive is damaged/,
    );
    expect((await failure(store.pull(put(gzipSync(registry.archive).subarray(0, 300))))).message).toMatch(
      /cannot be unpacked: gzip/,
    );
    const zstd = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    expect((await failure(store.pull(put(zstd)))).message).toMatch(/cannot be unpacked: zstd/);
    // What unpacks to something else than the configuration says.
    expect((await failure(store.pull(put(gzipSync(registry.archive))))).message).toMatch(
      /something else than the image says/,
    );
    const large = layer([{ path: 'x', content: '' }]);
    large.write('77777777777', 124, 'latin1');
    large.fill(' ', 148, 156);
    large.write(
      large
        .subarray(0, 512)
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0'),
      148,
      'latin1',
    );
    expect((await failure(store.pull(put(large)))).message).toMatch(/ends in the middle/);
  });
});

describe('a challenge', () => {
  it.each([
    ['Bearer realm="a,b",service=x , scope="c d"', 'bearer', { realm: 'a,b', service: 'x', scope: 'c d' }],
    ['basic REALM="say \\"hi\\""', 'basic', { realm: 'say "hi"' }],
    ['', '', {}],
    ['Negotiate', 'negotiate', {}],
    ['Bearer realm="unfinished', 'bearer', {}],
  ])('%j', (text, scheme, parameters) => {
    expect(parseChallenge(text)).toEqual({ scheme, parameters });
  });
});
