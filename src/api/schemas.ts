/**
 * What passes over the API, as JSON Schema (draft 2020-12) and as types: requests are checked against these, /openapi.json is made of
 * them. Clients import the types alone.
 */
import { Type, type Static } from '@sinclair/typebox';
import { flag, integer, maybe, name, oneOf, only, text } from './schema-parts.js';

/** Milliseconds: a day. */
const MOST_TIME = 86_400_000;
const MOST_MEMORY = 1024 * 1024;
const MOST_CPUS = 16;

const port = (description: string, least = 1) => integer(least, 65535, description);

export const TerminalSize = only(
  { columns: integer(1, 65535, 'Characters.'), rows: integer(1, 65535, 'Characters.') },
  'The size of a terminal.',
);
export type TerminalSize = Static<typeof TerminalSize>;

const Environment = Type.Record(Type.String({ pattern: '^[^=\\u0000]{1,256}$' }), text('', { maxLength: 65536 }), {
  // Without it whatever else is called something would pass unseen.
  additionalProperties: false,
  description: 'Variables besides those of the image.',
});

const CommandLine = Type.Union([
  Type.Array(text('', { maxLength: 65536 }), {
    minItems: 1,
    maxItems: 4096,
    description: 'A program with its arguments.',
  }),
  text("A script for the guest's /bin/sh.", { maxLength: 131_072 }),
]);

/** What the start of a command is described by, in each place that has one. */
const command = {
  cwd: maybe(text("The folder that it runs in; without it the image's.")),
  env: maybe(Environment),
  user: maybe(
    text("A name or a number, each with :group behind it if need be; without it the image's.", { maxLength: 256 }),
  ),
};

const Allow = only(
  { host: text('A name or an address.', { maxLength: 253 }), port: maybe(port('0, or none: every port.', 0)) },
  'Something that may be reached.',
);

const Network = Type.Union([
  flag('false: no network.'),
  only(
    {
      restrict: maybe(flag('Nothing can be reached but what `allow` names.')),
      allow: maybe(Type.Array(Allow, { maxItems: 256 })),
    },
    'A network of its own, from which it reaches out through the server.',
  ),
]);

const Disk = only(
  {
    path: text("A file of the server's host."),
    format: maybe(oneOf(['auto', 'raw', 'qcow2'], 'What it is; found out unless given.')),
    readOnly: maybe(flag('The guest cannot write.')),
    temporary: maybe(flag('What the guest writes goes with the machine.')),
  },
  'A disk image.',
);

const RootDisk = only(
  {
    disk: text("A file of the server's host: a disk image with a file system on it."),
    fileSystem: maybe(text('ext4 unless given.', { maxLength: 32 })),
    env: maybe(Type.Array(text('NAME=value', { maxLength: 65536 }), { maxItems: 1024 })),
    cwd: maybe(text('The folder that commands run in.')),
    user: maybe(text('Whom commands run as.', { maxLength: 256 })),
  },
  "A disk of the server's own as the root. Only for the user who runs the server.",
);

const Mount = Type.Union([
  text("A folder of the server's host."),
  only({ path: text("A folder of the server's host."), readOnly: maybe(flag('The guest cannot write.')) }, 'A folder.'),
]);

export const MachineRequest = only(
  {
    name: maybe(name('What it is called; made up unless given.')),
    image: maybe(Type.Union([text('A container image, such as debian:12; it is pulled if need be.'), RootDisk])),
    snapshot: maybe(
      name(
        'A snapshot to go on from instead. Of all else only name, accel, lifetime, remove, wait and the limits can be given.',
      ),
    ),
    snapshotFile: maybe(text("The same, as a file of the server's host. Only for the user who runs the server.")),
    guest: maybe(text('Whose kernel boots: amd64 unless given.', { maxLength: 64 })),
    kernel: maybe(text("A kernel, a file of the server's host. Only for the user who runs the server.")),
    initrd: maybe(text('An initramfs for it.')),
    append: maybe(text("Words added to the kernel's command line.", { maxLength: 1024 })),
    init: maybe(text('A program of the image that is to be the first process.')),
    disks: maybe(
      Type.Array(Disk, { maxItems: 16, description: 'Further disks. Only for the user who runs the server.' }),
    ),
    mounts: maybe(
      Type.Record(Type.String({ pattern: '^/' }), Mount, {
        maxProperties: 16,
        description:
          "Folders of the server's host by their places in the guest. Only for the user who runs the server.",
      }),
    ),
    keepWrites: maybe(flag('What is written to the root disk stays. Only for the user who runs the server.')),
    accel: maybe(oneOf(['wasm', 'interp', 'kvm'], 'The best that works unless given.')),
    machine: maybe(oneOf(['pc', 'microvm'], 'The board.')),
    cpu: maybe(text('The CPU model.', { maxLength: 256 })),
    cpus: maybe(integer(1, MOST_CPUS, 'Virtual CPUs; 1 unless given.')),
    memory: maybe(integer(1, MOST_MEMORY, 'MiB; 512 unless given.')),
    net: maybe(Network),
    hostname: maybe(text('vitrine unless given.', { pattern: '^[A-Za-z0-9_.-]{1,64}$' })),
    display: maybe(
      Type.Union([
        flag('With a screen, a keyboard and a mouse.'),
        oneOf(['std', 'virtio'], 'A VGA card, or one with a virtio GPU besides.'),
      ]),
    ),
    warm: maybe(flag('Begin with a saved machine of the same kind, made the first time.')),
    command: maybe(CommandLine),
    entrypoint: maybe(
      flag(
        "Run the image's own program; `command`, an array then, takes the place of the arguments that the image gives it.",
      ),
    ),
    ...command,
    tty: maybe(flag('The command has a terminal.')),
    lifetime: maybe(integer(1, 31_536_000, 'Seconds after which it is stopped.')),
    remove: maybe(flag('It is forgotten when it has ended.')),
    wait: maybe(
      flag('false: answer at once, with the state "starting". Otherwise the answer comes when commands can be run.'),
    ),
    bootTimeout: maybe(integer(1, MOST_TIME, 'Milliseconds until the guest must answer.')),
    cpuShares: maybe(integer(2, 262_144, 'Its part of the processors against others; 1024 unless given.')),
    cpuCap: maybe(integer(1, 1600, 'At most so many percent of a processor for all its CPUs.')),
  },
  'A machine as it is to be.',
);
export type MachineRequest = Static<typeof MachineRequest>;

export const MACHINE_STATES = ['starting', 'running', 'paused', 'ended'] as const;
export type MachineState = (typeof MACHINE_STATES)[number];

const Port = Type.Object({
  id: Type.Integer({ description: 'By which it is closed.' }),
  guestPort: port('Of the guest.'),
  hostAddress: Type.String({ description: "Where the server's host listens." }),
  hostPort: port("Of the server's host."),
});
export type Port = Static<typeof Port>;
export { Port as PortInfo };

export const MachineInfo = Type.Object(
  {
    name: Type.String(),
    state: oneOf(MACHINE_STATES, 'What it does.'),
    created: Type.String({ description: 'When it was asked for, ISO 8601.' }),
    ready: maybe(Type.String({ description: 'When its guest answered, ISO 8601.' })),
    ended: maybe(Type.String({ description: 'When it ended, ISO 8601.' })),
    expires: maybe(Type.String({ description: 'When it will be stopped, ISO 8601.' })),
    image: maybe(Type.String({ description: 'The image that it was made of.' })),
    origin: maybe(Type.String({ description: 'snapshot:NAME or fork:NAME.' })),
    memory: Type.Integer({ description: 'MiB.' }),
    cpus: Type.Integer({ description: 'Virtual CPUs.' }),
    accel: maybe(Type.String({ description: 'Once it runs.' })),
    display: Type.Boolean({ description: 'Whether it has a screen.' }),
    command: maybe(
      Type.Object(
        {
          line: Type.Array(Type.String()),
          exitCode: maybe(Type.Integer({ description: '0 … 255, once it has ended.' })),
          signal: maybe(Type.String({ description: 'That ended it, SIGKILL.' })),
        },
        { description: 'What it was started for. It ends with it.' },
      ),
    ),
    exit: maybe(
      Type.Object(
        {
          kind: Type.String({ description: 'power-off, stopped, expired, failed, …' }),
          message: maybe(Type.String({ description: 'Why, where it failed.' })),
        },
        { description: 'How it ended.' },
      ),
    ),
    progress: maybe(Type.String({ description: 'What is being done while it starts.' })),
    ports: Type.Array(Port),
  },
  { description: 'A machine as it is.' },
);
export type MachineInfo = Static<typeof MachineInfo>;

export const MachineList = Type.Object({ machines: Type.Array(MachineInfo) });

const Encoding = oneOf(['utf8', 'base64'], 'Of what is typed and written; utf8 unless given.');

export const ExecRequest = only(
  {
    command: CommandLine,
    ...command,
    stdin: maybe(text('Its standard input.', { maxLength: 48 * 2 ** 20 })),
    encoding: maybe(Encoding),
    timeout: maybe(integer(1, MOST_TIME, 'Milliseconds until it is killed.')),
    maxOutput: maybe(integer(1, 64 * 2 ** 20, 'Bytes that it may write; 8 MiB unless given.')),
  },
  'A command.',
);
export type ExecRequest = Static<typeof ExecRequest>;

export const ExecResult = Type.Object({
  exitCode: Type.Integer({ description: "0 … 255; 128 and the signal's number behind a signal." }),
  signal: maybe(Type.String({ description: 'The signal that ended it, SIGKILL.' })),
  stdout: Type.String(),
  stderr: Type.String(),
});
export type ExecResult = Static<typeof ExecResult>;

/** The first message of a WebSocket for a command. */
export const ExecStart = only(
  {
    command: CommandLine,
    ...command,
    tty: maybe(Type.Union([flag('A terminal of 80 columns and 24 rows.'), TerminalSize])),
    timeout: maybe(integer(1, MOST_TIME, 'Milliseconds until it is killed.')),
  },
  'A command.',
);
export type ExecStart = Static<typeof ExecStart>;

/** Any later text message of the client. */
export const ExecControl = Type.Union([
  only(
    { type: Type.Literal('resize'), columns: integer(1, 65535, ''), rows: integer(1, 65535, '') },
    'The terminal has another size.',
  ),
  only(
    { type: Type.Literal('signal'), signal: Type.Union([text('SIGINT', { maxLength: 16 }), integer(1, 64, '')]) },
    'A signal for its process group.',
  ),
  only({ type: Type.Literal('eof') }, 'No more input comes.'),
]);
export type ExecControl = Static<typeof ExecControl>;

/** Text messages of the server. */
export type ExecNews =
  | { readonly type: 'started'; readonly pid: number }
  | { readonly type: 'exit'; readonly exitCode: number; readonly signal?: string }
  | { readonly type: 'error'; readonly error: { readonly code: string; readonly message: string } };

export const ForkRequest = only(
  {
    name: maybe(name('Of the new machine; made up unless given.')),
    hostname: maybe(text('Of the new guest; its name unless given.', { pattern: '^[A-Za-z0-9_.-]{1,64}$' })),
    lifetime: maybe(integer(1, 31_536_000, 'Seconds after which it is stopped.')),
    remove: maybe(flag('It is forgotten when it has ended.')),
  },
  'A second machine of one that runs.',
);
export type ForkRequest = Static<typeof ForkRequest>;

export const SnapshotRequest = only(
  {
    name: maybe(name('Of the snapshot.')),
    file: maybe(text("A file of the server's host instead. Only for the user who runs the server.")),
  },
  'Where a machine is saved to.',
);
export type SnapshotRequest = Static<typeof SnapshotRequest>;

export const SnapshotInfo = Type.Object(
  {
    name: Type.String(),
    machine: Type.String({ description: 'Whose it is.' }),
    created: Type.String({ description: 'ISO 8601.' }),
    size: Type.Integer({ description: 'Bytes.' }),
    memory: Type.Integer({ description: 'MiB of the machine.' }),
    cpus: Type.Integer({ description: 'Of the machine.' }),
    image: maybe(Type.String({ description: 'Of the machine.' })),
    digest: maybe(Type.String({ description: 'Of the image, as the machine has it.' })),
    disk: maybe(Type.Integer({ description: 'MiB that a machine that goes on with it can write.' })),
  },
  { description: 'A machine that was saved.' },
);
export type SnapshotInfo = Static<typeof SnapshotInfo>;
export const SnapshotList = Type.Object({ snapshots: Type.Array(SnapshotInfo) });

export const ShutdownRequest = only(
  { grace: maybe(integer(0, 3_600_000, 'Milliseconds that processes have to end; 5,000 unless given.')) },
  'How it is switched off.',
);
export type ShutdownRequest = Static<typeof ShutdownRequest>;

export const PortRequest = only(
  {
    guestPort: port('Of the guest.'),
    guestAddress: maybe(text('Of the guest; its loopback unless given. IPv4.', { maxLength: 15 })),
    hostPort: maybe(port("Of the server's host; any free one unless given.", 0)),
    hostAddress: maybe(text("Where the server's host listens; its loopback unless given.", { maxLength: 64 })),
  },
  "A port of the server's host that leads into the guest.",
);
export type PortRequest = Static<typeof PortRequest>;

export const ImageRequest = only({ name: text('Such as debian:12.', { maxLength: 512 }) }, 'An image to be pulled.');
export type ImageRequest = Static<typeof ImageRequest>;

export const ImageInfo = Type.Object({
  name: Type.String(),
  digest: Type.String({ description: 'Of its manifest.' }),
  platform: Type.String(),
  size: Type.Integer({ description: 'Bytes of what was pulled.' }),
  pulled: Type.String({ description: 'ISO 8601.' }),
  untagged: maybe(
    Type.Boolean({ description: 'Its tag has gone to another image, or was removed; machines or snapshots need it.' }),
  ),
  neededBy: maybe(
    Type.Array(Type.Object({ kind: oneOf(['machine', 'snapshot'], 'What it is.'), name: Type.String() }), {
      description: 'While these are there, it is not removed.',
    }),
  ),
});
export type ImageInfo = Static<typeof ImageInfo>;
export const ImageList = Type.Object({ images: Type.Array(ImageInfo) });

const fileStatus = {
  type: Type.String({ description: 'file, folder, link, pipe, socket, character-device, block-device, other' }),
  mode: Type.Integer({ description: 'Permissions, 0 … 0o7777.' }),
  uid: Type.Integer(),
  gid: Type.Integer(),
  links: Type.Integer(),
  size: Type.Number({ description: 'Bytes.' }),
  modified: Type.String({ description: 'ISO 8601.' }),
};
export const FileStatus = Type.Object(fileStatus);
export type FileStatus = Static<typeof FileStatus>;
export const FileEntry = Type.Object({ name: Type.String(), ...fileStatus });
export type FileEntry = Static<typeof FileEntry>;
/** What GET …/files answers where contents were not asked for. */
export const FileAnswer = Type.Object({
  entries: maybe(Type.Array(FileEntry, { description: 'what=list' })),
  status: maybe(FileStatus),
  target: maybe(Type.String({ description: 'what=link' })),
});
export type FileAnswer = Static<typeof FileAnswer>;

export const MachineMetrics = Type.Object(
  {
    now: Type.Number({ description: 'Milliseconds since 1970, of the server.' }),
    uptime: Type.Number({ description: 'Milliseconds since it was ready.' }),
    memory: Type.Integer({ description: 'Bytes of RAM.' }),
    cpus: Type.Array(
      Type.Object({
        time: maybe(Type.Number({ description: 'Nanoseconds of processor time.' })),
        retired: maybe(Type.Number({ description: 'Instructions; where the accelerator counts them.' })),
        exits: Type.Number({ description: 'How often it was left for a device, to sleep, or at the end of a slice.' }),
      }),
    ),
    limits: Type.Object({ shares: Type.Number(), cap: maybe(Type.Number({ description: 'Percent of a processor.' })) }),
  },
  { description: 'What a machine has done since its start.' },
);
export type MachineMetrics = Static<typeof MachineMetrics>;

const limits = {
  machines: maybe(integer(0, 100_000, 'Machines at a time.')),
  cpus: maybe(integer(1, 100_000, 'Virtual CPUs of all machines.')),
  memory: maybe(integer(1, 2 ** 30, 'MiB of all machines.')),
  disk: maybe(integer(1, 2 ** 40, 'MiB of images, snapshots and what machines can write.')),
  lifetime: maybe(integer(1, 31_536_000, 'Seconds that a machine may run.')),
  cpuShares: maybe(integer(2, 262_144, 'Its part of the processors against other tenants; 1024 unless given.')),
  cpuCap: maybe(integer(1, 1_000_000, 'At most so many percent of a processor for all its machines.')),
};
export const Limits = only(limits, 'What is absent is not limited.');
export type Limits = Static<typeof Limits>;

export const ServerInfo = Type.Object({
  version: Type.String({ description: 'Of Vitrine.' }),
  api: Type.Literal('v1'),
  tenant: Type.String({ description: 'Whose token it is.' }),
  local: Type.Boolean({ description: "Whether files of the server's host can be named." }),
  accelerators: Type.Array(Type.String()),
  limits: Limits,
  usage: Type.Object({
    machines: Type.Integer(),
    cpus: Type.Integer(),
    memory: Type.Integer({ description: 'MiB.' }),
    disk: Type.Integer({ description: 'MiB.' }),
  }),
});
export type ServerInfo = Static<typeof ServerInfo>;

export const Ticket = Type.Object({
  ticket: Type.String({ description: 'For one WebSocket, or one file: ?ticket=…' }),
  expires: Type.String({ description: 'ISO 8601.' }),
});
export type Ticket = Static<typeof Ticket>;

/** A message of /v1/events. */
export const EventMessage = Type.Object({
  type: oneOf(
    ['machine', 'machine-removed', 'snapshot', 'snapshot-removed', 'image', 'image-progress', 'image-removed'],
    'What has changed.',
  ),
  name: Type.String(),
  machine: maybe(MachineInfo),
  progress: maybe(Type.String({ description: 'Of an image that is being pulled, by the name that was asked for.' })),
});
export type EventMessage = Static<typeof EventMessage>;

export const ErrorAnswer = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'For programs: not-found, invalid, limit, …' }),
    message: Type.String({ description: 'One line, for people.' }),
  }),
});
export type ErrorAnswer = Static<typeof ErrorAnswer>;
