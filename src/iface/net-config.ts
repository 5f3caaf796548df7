/** What a network is: plain data, saved with the machine. */

export const NIC_MODELS = ['virtio-net', 'e1000'] as const;
export type NicModel = (typeof NIC_MODELS)[number];

/** A port of the host that leads into the guest. */
export interface ForwardConfig {
  readonly protocol: 'tcp' | 'udp';
  /** Address of the host to listen on. */
  readonly hostAddress: string;
  /** 0: any free one. */
  readonly hostPort: number;
  /** Empty: the address that the guest gets by DHCP. */
  readonly guestAddress: string;
  readonly guestPort: number;
}

/** What a guest may reach under `restrict`. */
export interface AllowConfig {
  /** A name or an address. `public:NAME`: of a name's addresses those of the internet alone; `public:*`: all of the internet. */
  readonly host: string;
  /** 0: every port. */
  readonly port: number;
}

/** A network that exists for one guest only, and what it can reach of the host's network. Addresses are text. */
export interface UserNetConfig {
  readonly kind: 'user';
  /** Network and length of its prefix, `10.0.2.0/24`. */
  readonly net: string;
  /** The gateway, which stands for the host. */
  readonly host: string;
  readonly dns: string;
  readonly dhcpStart: string;
  /** Empty: the guest is given no name. */
  readonly hostname: string;
  readonly domain: string;
  /** The IPv6 prefix, of 64 bits; empty: no IPv6. */
  readonly net6: string;
  /** Where questions of names go, `address` or `address:port`; empty: to the host's own servers. */
  readonly resolver: string;
  /** For network boot, DHCP option 67. */
  readonly bootFile: string;
  readonly forwards: readonly ForwardConfig[];
  readonly restrict: boolean;
  readonly allow: readonly AllowConfig[];
}

/** A Unix socket that machines meet at. */
export interface LinkNetConfig {
  readonly kind: 'link';
  readonly path: string;
}

/** A tap interface of the host (Linux). */
export interface TapNetConfig {
  readonly kind: 'tap';
  /** Of the interface; empty: one that the kernel chooses. */
  readonly ifname: string;
}

/** What is on the other end of a network card. */
export type NetworkConfig = UserNetConfig | LinkNetConfig | TapNetConfig;

/** A network card, and what it is connected to. */
export interface NetConfig {
  readonly network: NetworkConfig;
  readonly model: NicModel;
  /** `52:54:00:12:34:56`. */
  readonly mac: string;
  /** Pairs of queues, 1 … 8, of a virtio card. */
  readonly queues: number;
  /** Largest packet, bytes. */
  readonly mtu: number;
  /** A file that all frames are written to; empty: none. */
  readonly pcap: string;
}
