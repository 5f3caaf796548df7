/** The npm packages whose text is in what users install (tools/build.mjs), under licences that let it be (tools/licences.mjs). */
export const bundledPackages = ['@sinclair/typebox', '@xterm/xterm', 'commander', 'fflate', 'ws', 'zstddec'];
