/** The configuration file of `vitrine serve`: who may use it, and how much. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { Type, type Static } from '@sinclair/typebox';
import { HostError, UsageError } from '../base/errors.js';
import { Limits } from '../api/schemas.js';
import { reasonOf } from '../host/node/read-file.js';
import { writeFileSafely } from '../host/node/snapshot-file.js';
import { problemOf } from './validate.js';

const TENANT_PATTERN = '^[a-z0-9][a-z0-9_-]{0,31}$';
const HASH = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });

const Allow = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535 })),
  },
  { additionalProperties: false },
);

const TenantSettings = Type.Object(
  {
    tokens: Type.Optional(Type.Array(HASH)),
    limits: Type.Optional(Limits),
    /** What its machines, and those in pages, can reach: nothing, the internet, everything that the host can, or some names. */
    network: Type.Optional(
      Type.Union([
        Type.Literal('none'),
        Type.Literal('public'),
        Type.Literal('open'),
        Type.Object({ allow: Type.Array(Allow, { maxItems: 256 }) }, { additionalProperties: false }),
      ]),
    ),
    /** Registries that it may pull from; `*`: any. */
    registries: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
    /** Ports of the host that it may open. */
    ports: Type.Optional(
      Type.Object(
        {
          address: Type.String({ minLength: 1 }),
          from: Type.Integer({ minimum: 1024, maximum: 65535 }),
          to: Type.Integer({ minimum: 1024, maximum: 65535 }),
        },
        { additionalProperties: false },
      ),
    ),
    /** Sees the measurements of all tenants. */
    operator: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type TenantSettings = Static<typeof TenantSettings>;

const ServeConfig = Type.Object(
  {
    /** What tenants have that say nothing else, setting by setting. */
    defaults: Type.Optional(Type.Omit(TenantSettings, ['tokens', 'operator'])),
    tenants: Type.Record(Type.String({ pattern: TENANT_PATTERN }), TenantSettings, { additionalProperties: false }),
    /** Pages from elsewhere that may use it, with a token: https://example.org. */
    origins: Type.Optional(Type.Array(Type.String())),
  },
  { additionalProperties: false },
);
export type ServeConfig = Static<typeof ServeConfig>;

/** Where it is unless told otherwise, after the XDG Base Directory Specification 0.8. */
export function defaultConfigFile(): string {
  const xdg = process.env['XDG_CONFIG_HOME'];
  const folder = xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.config');
  return path.join(folder, 'vitrine', 'serve.json');
}

/** Throws a one-line error when it is not there or makes no sense. */
export function readConfig(file: string): ServeConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw new HostError(
      missing
        ? `there is no ${file}: vitrine serve token add TENANT makes it, with a token`
        : `cannot read ${file}: ${reasonOf(cause)}`,
      { cause },
    );
  }
  return parseConfig(text, file);
}

export function parseConfig(text: string, file: string): ServeConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${file} is no JSON: ${cause instanceof Error ? cause.message : ''}`, { cause });
  }
  const problem = problemOf(ServeConfig, value);
  if (problem !== undefined) throw new UsageError(`${file}: ${problem}`);
  return value as ServeConfig;
}

const PREFIX = 'vitrine_';

export const hashOf = (token: string): string => `sha256:${createHash('sha256').update(token).digest('hex')}`;

/** Makes a token for a tenant, which is new or not, and writes its hash into the file. The token is told once. */
export function addToken(file: string, tenant: string): string {
  if (!new RegExp(TENANT_PATTERN).test(tenant))
    throw new UsageError(
      `a tenant cannot be called "${tenant}": small letters, digits, and _ - behind the first, 32 at most`,
    );
  const config = existsSync(file) ? readConfig(file) : { tenants: {} };
  // 256 bits: nobody guesses one, so a fast hash keeps it.
  const token = PREFIX + randomBytes(32).toString('base64url');
  const before = config.tenants[tenant] ?? {};
  writeConfig(file, {
    ...config,
    tenants: { ...config.tenants, [tenant]: { ...before, tokens: [...(before.tokens ?? []), hashOf(token)] } },
  });
  return token;
}

/** Takes all tokens of a tenant away. How many there were. */
export function removeTokens(file: string, tenant: string): number {
  const config = readConfig(file);
  const before = Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant] : undefined;
  if (!before) throw new UsageError(`there is no tenant ${tenant} in ${file}`);
  writeConfig(file, { ...config, tenants: { ...config.tenants, [tenant]: { ...before, tokens: [] } } });
  return before.tokens?.length ?? 0;
}

function writeConfig(file: string, config: ServeConfig): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const bytes = Buffer.from(`${JSON.stringify(config, undefined, 2)}\n`);
  writeFileSafely(file, 'configuration', (target) => target.write(0, bytes));
}

/** What a tenant has, with the defaults. */
export function settingsOf(config: ServeConfig, tenant: string): TenantSettings {
  const { defaults = {}, tenants } = config;
  const own = tenants[tenant] ?? {};
  return { ...defaults, ...own, limits: { ...defaults.limits, ...own.limits } };
}

/** Whose token it is. Takes as long for a wrong one as for a right one. */
export function tenantOf(config: ServeConfig, token: string): string | undefined {
  const given = Buffer.from(hashOf(token));
  let found: string | undefined;
  for (const [tenant, { tokens = [] }] of Object.entries(config.tenants))
    for (const known of tokens) if (timingSafeEqual(given, Buffer.from(known))) found = tenant;
  return found;
}

/** Milliseconds between two looks whether the file has changed. */
const LOOK = 1000;

/** The file as it is: tokens that are added or taken away count from then on. */
export class LiveConfig {
  private looked: number;
  private seen: string;
  current: ServeConfig;

  /** Throws a one-line error when it makes no sense. `failed` is told when it does not later; then what was known stays. */
  constructor(
    private readonly file: string,
    private readonly changed: (config: ServeConfig) => void,
    private readonly failed: (error: Error) => void,
  ) {
    this.seen = this.identity();
    this.current = readConfig(file);
    this.looked = performance.now();
  }

  private identity(): string {
    const status = statSync(this.file, { throwIfNoEntry: false });
    return status ? `${status.ino}:${status.size}:${status.mtimeMs}` : '';
  }

  refresh(): ServeConfig {
    const now = performance.now();
    if (now - this.looked < LOOK) return this.current;
    this.looked = now;
    const identity = this.identity();
    if (identity === this.seen) return this.current;
    this.seen = identity;
    try {
      this.current = readConfig(this.file);
      this.changed(this.current);
    } catch (error) {
      this.failed(error instanceof Error ? error : new Error(String(error)));
    }
    return this.current;
  }
}
