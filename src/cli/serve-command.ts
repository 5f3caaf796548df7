/** `vitrine serve`: machines over HTTP; and, hidden, the supervisor of machines in the background. */
import { Command } from 'commander';
import type { ServeOptions, ServerProgram } from '../api/programs.js';
import { UsageError } from '../base/errors.js';

/** Loaded when it is wanted, by its place: the command line knows nothing of it but what it can be asked for. */
async function loadServer(): Promise<ServerProgram> {
  const { program } = (await import(new URL('../server/main.js', import.meta.url).href)) as {
    readonly program: ServerProgram;
  };
  return program;
}

interface RawServeOptions extends Omit<ServeOptions, 'port'> {
  readonly port: string;
}

/** `serve` has the option, too, and takes it wherever it stands. */
interface TokenOptions {
  readonly config?: string;
}

const CONFIG = ['--config <file>', 'the configuration file; ~/.config/vitrine/serve.json unless given'] as const;

function parsePort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65535) throw new UsageError(`--port ${text} is no port: 0 to 65535`);
  return Number(text);
}

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('offer machines over HTTP, to whoever has a token')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <n>', 'the port; 0: one that is free', '8080')
    .option('--cert <file>', 'a certificate (PEM), for TLS; with --key')
    .option('--key <file>', 'its private key (PEM)')
    .option(...CONFIG)
    .option('--state <folder>', "where tenants' images and snapshots are; ~/.local/state/vitrine/serve unless given")
    .option('--log <file>', 'where events are written, a line of JSON for each; standard error unless given')
    .addHelpText(
      'after',
      `
  vitrine serve token add alice    makes a token, and tells it once
  vitrine serve                    prints where it listens, and serves until SIGTERM:
                                   a console for browsers, and the API

Everything else is said in the configuration file: see docs/server.md. The API describes
itself at /openapi.json.`,
    )
    .action(async ({ port, ...rest }: RawServeOptions) => {
      const server = await loadServer();
      process.exitCode = await server.serve({ ...rest, port: parsePort(port) });
    });
  return command.addCommand(tokenCommand());
}

function tokenCommand(): Command {
  const token = new Command('token').description('make tokens and take them away');
  token
    .command('add')
    .description('make a token for a tenant, who is new or not; it is told once')
    .argument('<tenant>')
    .option(...CONFIG)
    .action(async (tenant: string, _options: unknown, command: Command) => {
      const { config } = command.optsWithGlobals<TokenOptions>();
      process.stdout.write(`${(await loadServer()).addToken(config, tenant)}\n`);
    });
  token
    .command('revoke')
    .description("take all of a tenant's tokens away")
    .argument('<tenant>')
    .option(...CONFIG)
    .action(async (tenant: string, _options: unknown, command: Command) => {
      const { config } = command.optsWithGlobals<TokenOptions>();
      const count = (await loadServer()).removeTokens(config, tenant);
      process.stdout.write(`${String(count)} ${count === 1 ? 'token' : 'tokens'} taken away\n`);
    });
  token
    .command('ls')
    .description('tenants, and how many tokens each has')
    .option(...CONFIG)
    .option('--json', 'for programs')
    .action(async (_options: unknown, command: Command) => {
      const { config, json } = command.optsWithGlobals<TokenOptions & { readonly json?: boolean }>();
      const all = (await loadServer()).listTenants(config);
      if (json) process.stdout.write(`${JSON.stringify(all)}\n`);
      else for (const { tenant, tokens } of all) process.stdout.write(`${tenant}\t${String(tokens)}\n`);
    });
  return token;
}

/** Started by `vitrine run -d`. */
export function superviseCommand(): Command {
  return new Command('supervise')
    .description('keep the machines that were started in the background')
    .action(async () => {
      process.exitCode = await (await loadServer()).supervise();
    });
}
