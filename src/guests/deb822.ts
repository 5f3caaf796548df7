/** A stanza of Debian's control format, deb822(5): field names in lower case, continuation lines kept. */
export type Stanza = ReadonlyMap<string, string>;

/** Parses control data: stanzas between blank lines, `Field: value`, lines that begin with a space continue a value. */
export function parseStanzas(text: string): Stanza[] {
  const stanzas: Stanza[] = [];
  let current = new Map<string, string>();
  let field: string | undefined;
  const finish = (): void => {
    if (current.size > 0) stanzas.push(current);
    current = new Map();
    field = undefined;
  };
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    if (line.trim() === '') {
      finish();
    } else if (/^\s/.test(line)) {
      if (field !== undefined) current.set(field, `${current.get(field) ?? ''}\n${line}`);
    } else {
      const colon = line.indexOf(':');
      if (colon < 0) continue;
      field = line.slice(0, colon).trim().toLowerCase();
      current.set(field, line.slice(colon + 1).trim());
    }
  }
  finish();
  return stanzas;
}

/** The words of a field that is a list, such as `Suites`; none where the field is missing. */
export function words(stanza: Stanza, field: string): string[] {
  return (stanza.get(field) ?? '').split(/\s+/).filter((word) => word !== '');
}

export function formatStanzas(stanzas: readonly Stanza[]): string {
  return stanzas.map((stanza) => [...stanza].map(([field, value]) => `${field}: ${value}\n`).join('')).join('\n');
}
