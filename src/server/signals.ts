/** Signals that end a server. */
const ENDING = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** `came` resolves with the first one; a second one ends the process as it would without us. */
export function awaitSignal(): { readonly came: Promise<NodeJS.Signals>; forget(): void } {
  let resolveCame: (signal: NodeJS.Signals) => void = () => {};
  const came = new Promise<NodeJS.Signals>((resolve) => (resolveCame = resolve));
  const take = (signal: NodeJS.Signals): void => {
    forget();
    resolveCame(signal);
  };
  const forget = (): void => {
    for (const signal of ENDING) process.off(signal, take);
  };
  for (const signal of ENDING) process.on(signal, take);
  return { came, forget };
}
