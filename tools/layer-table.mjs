// The layers of src/ and what each may import: the table of ARCHITECTURE.md ("Layers"), as data for the lint.

const base = ['base'];
const arch = ['base', 'memory', 'snapshot', 'iface', 'arch', 'ir'];
const cpu = [...arch, 'cpu'];
const machine = ['bus', 'block', 'net', 'display', 'devices', 'firmware', 'paravirt'];
const everything = [...cpu, 'accel', ...machine, 'machine', 'vmm', 'host', 'guests', 'oci', 'runtime'];

/** From the lowest layer to the highest. A layer may always import itself. */
export const layers = {
  base: [],
  memory: base,
  snapshot: base,
  iface: ['base', 'memory', 'snapshot'],
  arch: ['base', 'snapshot'],
  ir: ['base', 'memory'],
  cpu: arch,
  accel: cpu,
  bus: ['base', 'iface', 'snapshot'],
  block: ['base', 'iface', 'snapshot'],
  net: ['base', 'iface', 'snapshot'],
  display: ['base', 'iface', 'snapshot'],
  devices: ['base', 'iface', 'bus', 'snapshot'],
  firmware: ['base', 'memory', 'arch'],
  paravirt: ['base', 'iface', 'arch'],
  machine: ['base', 'memory', 'snapshot', 'iface', 'arch', ...machine],
  vmm: ['base', 'memory', 'snapshot', 'iface', 'machine'],
  host: ['base', 'iface'],
  guests: ['base', 'host'],
  oci: ['base', 'iface', 'snapshot', 'block', 'host'],
  runtime: everything.filter((layer) => layer !== 'runtime'),
  sdk: everything,
  api: ['base', 'host'],
  // These stand on sdk and api, side by side: none knows another.
  cli: [...everything, 'sdk', 'api'],
  server: [...everything, 'sdk', 'api'],
  web: [...everything, 'sdk', 'api'],
};

/** Where `node:` modules may be imported, tests and src/testing apart. Paths below src/. */
export const nodePlaces = [
  'host/node/',
  'accel/kvm/',
  'guests/(?!common/)',
  'oci/',
  // The Node entries of runtime, sdk and api: the folder `node`, or a file named node.ts, node-*.ts or *-node.ts.
  '(runtime|sdk)/node/',
  '(runtime|sdk|api)/(node|node-[^/]+|[^/]+-node)[.]ts$',
  'cli/',
  'server/',
  // Build-time emitters: run by tools/build.mjs, imported by nothing.
  'cpu/[^/]+/build/',
];

/** What runs in a page only, and is compiled with the DOM's types. Paths below src/. */
export const pagePlaces = ['host/browser/', 'runtime/browser/', 'sdk/browser/', 'web/'];

/** Which npm packages may be imported, and where. A package that is not named here may be imported by nothing. */
export const packagePlaces = {
  // Its client in a test besides.
  ws: ['host/node/', 'api/node-transport[.]ts', 'server/', 'cli/vnc[.]test[.]ts'],
  '@sinclair/typebox': ['api/', 'server/'],
  commander: ['cli/'],
  koffi: ['host/node/native/', 'accel/kvm/'],
  fflate: ['host/browser/'],
  '@xterm/xterm': ['web/'],
  zstddec: ['host/node/zstd.ts', 'host/node/zstd-stream.ts', 'host/browser/'],
};

/** npm packages for tests and src/testing only. */
export const testPackages = ['vitest'];
