/* What passes between the agent and its host; docs/agent.md describes it. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#define PORT_NAME "vitrine.agent"
#define PROTOCOL_VERSION 1
/** Begins the payload of HELLO and READY: 16 bytes with the NUL. */
#define MAGIC "vitrine-agent\r\n"

enum {
  /** length (16 bits), type, aux (8 bits each), stream (32 bits). */
  HEADER = 8,
  /** Bytes of a frame with its header, at most: what Linux's driver takes in one write. */
  MAX_FRAME = 32768,
  /** Bytes of a request in all its frames. */
  MAX_REQUEST = 256 * 1024,
  /** Bytes of standard input that may be under way. */
  IN_WINDOW = 64 * 1024,
  /** Bytes of each output that may be under way. */
  OUT_WINDOW = 256 * 1024,
  MAX_STREAMS = 128,
};

/** From the host. */
enum {
  H_HELLO = 1,
  H_OPEN = 2,
  H_DATA = 3,
  H_EOF = 4,
  H_CREDIT = 5,
  H_SIGNAL = 6,
  H_RESIZE = 7,
  H_CLOSE = 8,
};

/** To the host. */
enum {
  G_READY = 0x81,
  G_HELLO = 0x82,
  G_DATA = 0x83,
  G_EOF = 0x84,
  G_CREDIT = 0x85,
  G_STARTED = 0x86,
  G_EXIT = 0x87,
  G_FAILED = 0x88,
};

/** Flags of HELLO. */
enum { HELLO_CLOCK = 1, HELLO_ENTROPY = 2, HELLO_IDENTITY = 4 };

/** aux of OPEN. */
enum { OPEN_MORE = 1 };

/** Flags of a request. */
enum { REQUEST_APPLET = 1, REQUEST_TTY = 2, REQUEST_STDIN = 4, REQUEST_MERGE = 8 };

/** How something ended: `kind` of EXIT. */
enum { EXIT_CODE = 0, EXIT_SIGNAL = 1, EXIT_FAILED = 2 };

/** What failed: `stage` of EXIT. */
enum { STAGE_REQUEST = 1, STAGE_RESOURCES = 2, STAGE_USER = 3, STAGE_FOLDER = 4, STAGE_PROGRAM = 5 };

#endif
