/**
 * Whether a page may open WebSockets here, by where it was loaded from (RFC 6454, RFC 6455 §10.2): from here, or from what the
 * configuration names. A browser says that of each; programs do not.
 */
export function allowsOrigin(
  origin: string,
  host: string | undefined,
  secure: boolean,
  others: readonly string[],
): boolean {
  if (others.includes(origin)) return true;
  if (host === undefined || !URL.canParse(origin)) return false;
  // By the same rules for what is left out: `https://example.org` is `https://example.org:443`.
  const own = `${secure ? 'https' : 'http'}://${host}`;
  return URL.canParse(own) && new URL(own).origin === new URL(origin).origin;
}
