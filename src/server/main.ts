/** What the command line loads of the server (src/api/programs.ts). */
import type { ServerProgram } from '../api/programs.js';
import { serve } from './serve.js';
import { supervise } from './supervise.js';
import { addToken, defaultConfigFile, readConfig, removeTokens } from './tenant-config.js';

export const program: ServerProgram = {
  serve,
  supervise: () => supervise(),
  addToken: (config = defaultConfigFile(), tenant) => addToken(config, tenant),
  removeTokens: (config = defaultConfigFile(), tenant) => removeTokens(config, tenant),
  listTenants: (config = defaultConfigFile()) =>
    Object.entries(readConfig(config).tenants).map(([tenant, { tokens = [] }]) => ({ tenant, tokens: tokens.length })),
};
