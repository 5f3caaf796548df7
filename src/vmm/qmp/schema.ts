/** What `query-qmp-schema` answers: all commands, events and types, with numbers for names of types as QEMU gives them. */
import type { Json } from './json-text.js';
import type { QmpObject, QmpType } from './types.js';

export interface Described {
  readonly commands: ReadonlyMap<string, { readonly arguments: QmpObject; readonly returns: QmpType }>;
  readonly events: Readonly<Record<string, QmpObject>>;
}

const BUILT_IN = {
  str: { 'json-type': 'string' },
  int: { 'json-type': 'int' },
  bool: { 'json-type': 'boolean' },
  number: { 'json-type': 'number' },
} as const;

class Types {
  readonly entries: Json[] = [];
  private readonly names = new Map<string, string>();

  name(type: QmpType): string {
    // Types that look the same are the same.
    const key = JSON.stringify(type);
    const known = this.names.get(key);
    if (known !== undefined) return known;
    const name =
      type.kind in BUILT_IN ? type.kind : type.kind === 'array' ? `[${this.name(type.of)}]` : String(this.names.size);
    this.names.set(key, name);
    this.entries.push(this.describe(name, type));
    return name;
  }

  private describe(name: string, type: QmpType): Json {
    switch (type.kind) {
      case 'enum':
        return {
          name,
          'meta-type': 'enum',
          members: type.values.map((value) => ({ name: value })),
          values: type.values,
        };
      case 'array':
        return { name, 'meta-type': 'array', 'element-type': this.name(type.of) };
      case 'object': {
        const members = Object.entries(type.members).map(([member, { type: inner, optional }]) => ({
          name: member,
          type: this.name(inner),
          ...(optional && { default: null }),
        }));
        return { name, 'meta-type': 'object', members };
      }
      default:
        return { name, 'meta-type': 'builtin', ...BUILT_IN[type.kind] };
    }
  }
}

export function describeSchema({ commands, events }: Described): Json {
  const types = new Types();
  const named: Json[] = [];
  for (const [name, command] of commands)
    named.push({
      name,
      'meta-type': 'command',
      'arg-type': types.name(command.arguments),
      'ret-type': types.name(command.returns),
    });
  for (const [name, data] of Object.entries(events))
    named.push({ name, 'meta-type': 'event', 'arg-type': types.name(data) });
  return [...named, ...types.entries];
}
