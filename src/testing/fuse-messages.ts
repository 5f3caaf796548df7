/** FUSE messages as a guest makes them, for tests. */

/** Little-endian fields one behind the other: numbers of 32 bits, bigints of 64, texts with a NUL, bytes as they are. */
export function fields(...values: (number | bigint | string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    values.map((value) => {
      if (value instanceof Uint8Array) return value;
      if (typeof value === 'string') return Buffer.from(`${value}\0`, 'latin1');
      const bytes = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
      if (typeof value === 'bigint') bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
      else bytes.writeUInt32LE(value >>> 0);
      return bytes;
    }),
  );
}

/** A request with its header. */
export function fuseRequest(opcode: number, node: bigint | number, body: Uint8Array, unique = 7n): Uint8Array {
  return fields(40 + body.length, opcode, unique, BigInt(node), 0, 0, 1, 0, body);
}

/** FUSE_INIT of a Linux 6.1. */
export const fuseInit = fuseRequest(26, 0, fields(7, 38, 0x2_0000, 0xffff_ffff, 0, new Uint8Array(44)));
