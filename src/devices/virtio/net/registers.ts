/** Network device, VIRTIO 1.2 §5.1. */

/** §5.1.3. */
export const FEATURE = {
  CSUM: 1n << 0n,
  GUEST_CSUM: 1n << 1n,
  CTRL_GUEST_OFFLOADS: 1n << 2n,
  MTU: 1n << 3n,
  MAC: 1n << 5n,
  GUEST_TSO4: 1n << 7n,
  GUEST_TSO6: 1n << 8n,
  HOST_TSO4: 1n << 11n,
  HOST_TSO6: 1n << 12n,
  MRG_RXBUF: 1n << 15n,
  STATUS: 1n << 16n,
  CTRL_VQ: 1n << 17n,
  CTRL_RX: 1n << 18n,
  CTRL_VLAN: 1n << 19n,
  CTRL_RX_EXTRA: 1n << 20n,
  MQ: 1n << 22n,
  CTRL_MAC_ADDR: 1n << 23n,
} as const;

/** struct virtio_net_config, §5.1.4: offsets. */
export const CONFIG = { MAC: 0, STATUS: 6, MAX_PAIRS: 8, MTU: 10, SIZE: 12 } as const;
export const STATUS_LINK_UP = 1;

/** struct virtio_net_hdr, §5.1.6: offsets. */
export const HEADER = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HEADER_LENGTH: 2,
  GSO_SIZE: 4,
  CHECKSUM_START: 6,
  CHECKSUM_OFFSET: 8,
  BUFFERS: 10,
  SIZE: 12,
} as const;
export const HEADER_FLAG = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const;
/** Added to the type of segmentation for explicit congestion notification. */
export const GSO_ECN = 0x80;

/** §5.1.6.5: classes and commands. */
export const CONTROL = { RX: 0, MAC: 1, VLAN: 2, MQ: 4, GUEST_OFFLOADS: 5 } as const;
export const RX_COMMAND = { PROMISC: 0, ALLMULTI: 1, ALLUNI: 2, NOMULTI: 3, NOUNI: 4, NOBCAST: 5 } as const;
export const MAC_COMMAND = { TABLE_SET: 0, ADDR_SET: 1 } as const;
export const VLAN_COMMAND = { ADD: 0, DEL: 1 } as const;
export const ACK = { OK: 0, ERROR: 1 } as const;
