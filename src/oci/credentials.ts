/**
 * Logins that Docker knows: ~/.docker/config.json (DOCKER_CONFIG names another folder) and the programs it names,
 * docker-credential-*. What they say is passed on to the registry it is for and to nobody else.
 */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import * as path from 'node:path';
import { OciError } from './errors.js';
import { JsonValue } from './json.js';
import { DEFAULT_REGISTRY } from './reference.js';

/** A user's name and password; or a token that is exchanged for others (OAuth 2.0's refresh token). */
export type Login =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string };

/** What Docker's own registry is called in that file. */
const DEFAULT_KEY = 'https://index.docker.io/v1/';
/** Bytes that a program may answer with, and milliseconds that it may take: some ask people. */
const MAX_ANSWER = 2 ** 20;
const PATIENCE = 60_000;
/** As such programs say that there is nothing: docker-credential-helpers, credentials/error.go. */
const NOTHING_KNOWN = /credentials not found/i;

/** The login for a registry; undefined when there is none. Throws a one-line error (OciError) when the file is damaged. */
export async function findLogin(registry: string, env: NodeJS.ProcessEnv = process.env): Promise<Login | undefined> {
  const named = env['DOCKER_CONFIG'] ?? '';
  // Empty is as good as not said, with Docker too: the current folder is not meant.
  const folder = named === '' ? path.join(homedir(), '.docker') : named;
  const file = path.join(folder, 'config.json');
  const bytes = await readFile(file).catch(() => undefined);
  if (bytes === undefined) return undefined;
  const config = JsonValue.parse(bytes, file);
  const isDefault = registry === DEFAULT_REGISTRY;
  const keys = isDefault ? [DEFAULT_KEY, DEFAULT_REGISTRY, 'index.docker.io'] : [registry];
  const helpers = new Map(config.get('credHelpers').entries());
  const own = keys.map((key) => helpers.get(key)?.string()).find((name) => name !== undefined);
  const helper = own ?? config.get('credsStore').optionalString();
  if (helper !== undefined && helper !== '') {
    const login = await askHelper(helper, keys[0]);
    if (login) return login;
  }
  for (const [key, value] of config.get('auths').entries())
    if (keys.some((one) => sameHost(key, one))) return read(value);
  return undefined;
}

/** Keys are hosts, or addresses on them. */
function sameHost(key: string, wanted: string): boolean {
  const host = (text: string): string => text.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return key === wanted || host(key) === host(wanted);
}

function read(auth: JsonValue): Login | undefined {
  const token = auth.get('identitytoken').optionalString();
  if (token) return { kind: 'token', token };
  const encoded = auth.get('auth').optionalString();
  if (encoded) {
    // Old versions of Docker padded it with NULs.
    const text = Buffer.from(encoded, 'base64').toString().replace(/\0+$/, '');
    const colon = text.indexOf(':');
    if (colon > 0) return { kind: 'password', user: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  const user = auth.get('username').optionalString();
  const password = auth.get('password').optionalString();
  return user && password !== undefined ? { kind: 'password', user, password } : undefined;
}

async function askHelper(name: string, server: string): Promise<Login | undefined> {
  // It becomes a part of a program's name.
  if (!/^[\w.-]+$/.test(name))
    throw new OciError('unauthorized', `Docker's configuration names no program: ${JSON.stringify(name)}`);
  const program = `docker-credential-${name}`;
  const { code, output } = await run(program, server);
  if (code !== 0) {
    // A program that is not installed holds nothing: images that anyone may have can still be had.
    if (code === undefined || NOTHING_KNOWN.test(output)) return undefined;
    throw new OciError(
      'unauthorized',
      `${program} gives no login for ${server}: ${output.trim().split('\n')[0].slice(0, 200)}`,
    );
  }
  const answer = JsonValue.parse(Buffer.from(output), `what ${program} answers`);
  const user = answer.get('Username').optionalString() ?? '';
  const secret = answer.get('Secret').optionalString() ?? '';
  if (secret === '') return undefined;
  // So it marks what is no password.
  return user === '<token>' ? { kind: 'token', token: secret } : { kind: 'password', user, password: secret };
}

/** `code`: undefined where there is no such program. */
function run(program: string, input: string): Promise<{ readonly code: number | undefined; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'inherit'], timeout: PATIENCE });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.length > MAX_ANSWER) child.kill();
    });
    child.stdin.on('error', () => {});
    child.stdin.end(`${server(input)}\n`);
    child.on('error', () => resolve({ code: undefined, output: '' }));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

const server = (text: string): string => text.replace(/[\r\n]/g, '');
