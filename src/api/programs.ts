/**
 * The server as the command line starts it. The two stand side by side (ARCHITECTURE.md, "Layers"): the command line loads the server by
 * its place, when it is wanted, and knows no more of it than this.
 */

export interface ServeOptions {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  /** Files, PEM; both or none. */
  readonly cert?: string;
  readonly key?: string;
  /** The configuration file; the user's own unless given. */
  readonly config?: string;
  /** The folder of what is kept; the user's own unless given. */
  readonly state?: string;
  /** A file that events are written to; standard error unless given. */
  readonly log?: string;
}

/** What dist/server/main.js exports. All throw one-line errors. */
export interface ServerProgram {
  /** Serves until a signal ends it. The exit code. */
  serve(options: ServeOptions): Promise<number>;
  /** Keeps the machines of this user until the last one has ended for a while. */
  supervise(): Promise<number>;
  /** Makes a token for a tenant, and gives it. */
  addToken(config: string | undefined, tenant: string): string;
  /** Takes a tenant's tokens away; how many there were. */
  removeTokens(config: string | undefined, tenant: string): number;
  /** Tenants, and how many tokens each has. */
  listTenants(config: string | undefined): readonly { readonly tenant: string; readonly tokens: number }[];
}
