import { createCipheriv, randomBytes } from 'node:crypto';

/** Random bytes, and the DES of VNC's passwords. */
export const rfbCrypto = {
  random: (count: number): Uint8Array => new Uint8Array(randomBytes(count)),
  /** OpenSSL 3 has single DES in no default provider: triple DES with three times the same key is the same. */
  des: (key: Uint8Array, data: Uint8Array): Uint8Array => {
    const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null);
    cipher.setAutoPadding(false);
    return new Uint8Array(Buffer.concat([cipher.update(data), cipher.final()]));
  },
};
