/** What is written into a machine's description, to be found again when it is restored. */
import type { CommandDefaults } from './exec.js';

/** The card that the agent has set up. */
export interface NotedNetwork {
  readonly interface: string;
  readonly gateway: string;
}

export interface Note {
  readonly defaults: CommandDefaults;
  /** What the guest was called when it was made. */
  readonly hostname: string;
  /** Absent: the guest has no network, or its own init sees to it. */
  readonly network?: NotedNetwork;
  /** It has a screen. */
  readonly display: boolean;
}

interface Loose {
  readonly [key: string]: unknown;
}

const isRecord = (value: unknown): value is Loose => typeof value === 'object' && value !== null;
const text = (value: unknown, otherwise = ''): string => (typeof value === 'string' ? value : otherwise);

export const writeNote = (note: Note): string => JSON.stringify(note);

/** Reads what `writeNote` wrote. Whatever is not as it should be is absent: a snapshot comes from anywhere. */
export function readNote(note: string | undefined): Note {
  const found = parse(note);
  const defaults = isRecord(found['defaults']) ? found['defaults'] : {};
  const env = isRecord(defaults['env']) ? defaults['env'] : {};
  const network = found['network'];
  return {
    defaults: {
      env: Object.fromEntries(
        Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      ),
      cwd: text(defaults['cwd']),
      user: text(defaults['user']),
    },
    hostname: text(found['hostname'], DEFAULT_HOSTNAME),
    ...(isRecord(network) && {
      network: { interface: text(network['interface']), gateway: text(network['gateway']) },
    }),
    display: found['display'] === true,
  };
}

function parse(note: string | undefined): Loose {
  try {
    const found: unknown = JSON.parse(note ?? '');
    return isRecord(found) ? found : {};
  } catch {
    return {};
  }
}

export const DEFAULT_HOSTNAME = 'vitrine';
