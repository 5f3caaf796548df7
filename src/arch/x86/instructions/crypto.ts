/** AES-NI, PCLMULQDQ, SHA. SDM vol. 2. */
import { ins } from './builder.js';
import type { Instruction } from './row.js';

export const CRYPTO: readonly Instruction[] = [
  ins('aesimc', '=Vx,Wx', '66 0F38 DB', { feature: 'aes' }),
  ins('aesenc', '+Vx,Wx', '66 0F38 DC', { feature: 'aes' }),
  ins('aesenclast', '+Vx,Wx', '66 0F38 DD', { feature: 'aes' }),
  ins('aesdec', '+Vx,Wx', '66 0F38 DE', { feature: 'aes' }),
  ins('aesdeclast', '+Vx,Wx', '66 0F38 DF', { feature: 'aes' }),
  ins('aeskeygenassist', '=Vx,Wx,Ib', '66 0F3A DF', { feature: 'aes' }),
  ins('pclmulqdq', '+Vx,Wx,Ib', '66 0F3A 44', { feature: 'pclmulqdq' }),
  ins('sha1rnds4', '+Vx,Wx,Ib', 'NP 0F3A CC', { feature: 'sha_ni' }),
  ins('sha1nexte', '+Vx,Wx', 'NP 0F38 C8', { feature: 'sha_ni' }),
  ins('sha1msg1', '+Vx,Wx', 'NP 0F38 C9', { feature: 'sha_ni' }),
  ins('sha1msg2', '+Vx,Wx', 'NP 0F38 CA', { feature: 'sha_ni' }),
  ins('sha256rnds2', '+Vx,Wx,XMM0', 'NP 0F38 CB', { feature: 'sha_ni' }),
  ins('sha256msg1', '+Vx,Wx', 'NP 0F38 CC', { feature: 'sha_ni' }),
  ins('sha256msg2', '+Vx,Wx', 'NP 0F38 CD', { feature: 'sha_ni' }),
];
