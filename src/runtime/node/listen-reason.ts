/** Why a server cannot listen, in a few words. */
export function listenReason(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return 'it is in use';
    case 'EACCES':
    case 'EPERM':
      return 'not permitted';
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'this host has no such address';
    case 'EINVAL':
      return 'the name is too long';
    default:
      return code ?? 'unknown error';
  }
}
