import type { AllowConfig } from '../../iface/net-config.js';
import type { HostSockets } from '../../iface/host-sockets.js';
import { addressText, isLocalOnly, isPublic, parseAddress, type Address } from '../addresses.js';
import { isInside, type Plan } from './plan.js';

/** Milliseconds between two looks at the addresses of names. */
const REFRESH = 60_000;
/** Addresses that a name may have been known to have. */
const MAX_ADDRESSES = 256;

const PUBLIC = 'public:';
/** In the place of a name: every address of the internet. */
export const ANY_PUBLIC = `${PUBLIC}*`;
/** A name, of whose addresses those of the internet count alone. */
export const publicName = (name: string): string => `${PUBLIC}${name}`;

interface NameRule {
  readonly name: string;
  readonly publicOnly: boolean;
  readonly port: number;
  readonly addresses: Set<string>;
}

/** Where the guest's connections go on the host, and which may go anywhere (`restrict`). */
export class Policy {
  private readonly addressRules: { readonly address: string; readonly port: number }[] = [];
  private readonly nameRules: NameRule[] = [];
  /** Of the internet. */
  private readonly publicPorts: number[] = [];

  constructor(
    private readonly plan: Plan,
    readonly restricted: boolean,
    allow: readonly AllowConfig[],
    private readonly sockets: HostSockets,
  ) {
    for (const { host, port } of allow) {
      const address = parseAddress(host);
      if (address) this.addressRules.push({ address: addressText(address), port });
      else if (host === ANY_PUBLIC) this.publicPorts.push(port);
      else {
        const publicOnly = host.startsWith(PUBLIC);
        const name = canonical(publicOnly ? host.slice(PUBLIC.length) : host);
        this.nameRules.push({ name, publicOnly, port, addresses: new Set() });
      }
    }
    if (this.nameRules.length === 0) return;
    this.refresh();
    sockets.every(REFRESH, () => this.refresh());
  }

  private refresh(): void {
    for (const { name } of this.nameRules)
      void this.sockets.resolve(name).then(
        (addresses) => this.learn(name, addresses.map(parseAddress)),
        () => {},
      );
  }

  /** A name was seen to have addresses. */
  learn(name: string, addresses: readonly (Address | undefined)[]): void {
    for (const rule of this.nameRules) {
      if (rule.name !== canonical(name)) continue;
      for (const address of addresses)
        // A name must not lead to the host itself, whatever its owner says.
        if (
          address &&
          !isInside(this.plan, address) &&
          (rule.publicOnly ? isPublic(address) : !isLocalOnly(address)) &&
          rule.addresses.size < MAX_ADDRESSES
        )
          rule.addresses.add(addressText(address));
    }
  }

  /** Whether the guest may ask for the addresses of a name. */
  allowsName(name: string): boolean {
    if (!this.restricted || this.publicPorts.length > 0) return true;
    return this.nameRules.some((rule) => rule.name === canonical(name));
  }

  /**
   * The host's address for a destination of the guest; undefined: it may not go there, or nothing is there. Port 0 is for what has no
   * ports: rules that name one do not let it through.
   */
  route(destination: Address, port: number): string | undefined {
    const { gateway, six } = this.plan;
    const text = addressText(destination);
    if (this.restricted && !this.isAllowed(destination, text, port)) return undefined;
    if (text === addressText(gateway)) return '127.0.0.1';
    if (six && text === addressText(six.gateway)) return '::1';
    if (isInside(this.plan, destination) || isLocalOnly(destination)) return undefined;
    return text;
  }

  private isAllowed(destination: Address, address: string, port: number): boolean {
    const matches = (rule: number): boolean => rule === 0 || rule === port;
    return (
      (this.publicPorts.some(matches) && isPublic(destination)) ||
      this.addressRules.some((rule) => rule.address === address && matches(rule.port)) ||
      this.nameRules.some((rule) => rule.addresses.has(address) && matches(rule.port))
    );
  }
}

/** Names differ neither by case nor by a final dot. */
const canonical = (name: string): string => name.toLowerCase().replace(/\.$/, '');
