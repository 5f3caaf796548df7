/*
 * The agent: runs what the host asks for, and carries its input and output over a port of the virtio console. One loop,
 * which never waits for anything but poll: whatever may take long is done by a process of its own.
 */
#include "agent.h"

/** A request, and the process that was made of it. */
struct stream {
  /** The host's number for it; 0 when the host has no more to do with it. */
  u32 id;
  u8 used, tty;
  /** No more input comes. */
  u8 in_ended;
  /** What it writes goes nowhere. */
  u8 quiet;
  /** The host was told that it takes no more input. */
  u8 in_told;
  u8 out_told[2];
  /** 0: it has ended, or has not begun. */
  int pid;
  u8 ended;
  /** As wait(2) has it. */
  u32 status;
  /** Of pipes: what lay in them when the process ended and has not been sent; what others write later is not its. */
  u32 rest[2];
  /** Of a terminal: how often it was found empty since. */
  u32 empty;
  int in, out[2];
  u32 credit[2];
  /** Input that was not written yet: a ring of IN_WINDOW bytes. */
  u8 *ring;
  u32 ring_start, ring_length;
  /** Bytes of input that were written and that the host was not told of. */
  u32 written;
  /** A request that is still arriving. */
  u8 *request;
  u32 request_length;
};

static struct stream streams[MAX_STREAMS];
/** Each stream's own, seen by its process. */
static struct failure *failures;
static int port = -1, signals = -1, entropy = -1;
/** Nobody is at the other end of the port. */
static int hung_up;
/** The connection that the host has told of, and whether there is one. */
static u64 nonce;
static int greeted;

/* ---- frames to the host: whole ones, each written by one write ---- */

static u8 queue[4 * MAX_FRAME];
static u32 queue_start, queue_end;

/** Room that what is no output needs while a frame is dealt with. */
enum { RESERVE = 16384 };

static u32 queue_room(void) { return (u32)sizeof queue - (queue_end - queue_start); }

static u8 *queue_reserve(u32 payload) {
  if (queue_end + HEADER + payload > sizeof queue) {
    memmove(queue, queue + queue_start, queue_end - queue_start);
    queue_end -= queue_start;
    queue_start = 0;
  }
  return queue + queue_end + HEADER;
}

static void queue_commit(u8 type, u8 aux, u32 id, u32 payload) {
  u8 *frame = queue + queue_end;
  put16(frame, (u16)payload);
  frame[2] = type;
  frame[3] = aux;
  put32(frame + 4, id);
  queue_end += HEADER + payload;
}

/** Small frames, for which there is room: frames of the host are looked at only while there is RESERVE. */
static void tell(u8 type, u8 aux, u32 id, const void *payload, u32 length) {
  if (id == 0 && type != G_READY && type != G_HELLO) return;
  if (queue_room() < HEADER + length) return;
  memcpy(queue_reserve(length), payload, length);
  queue_commit(type, aux, id, length);
}

static void flush(void) {
  while (queue_start < queue_end && !hung_up) {
    u32 length = HEADER + get16(queue + queue_start);
    long done = sys_write(port, queue + queue_start, length);
    if (done == -EINTR) continue;
    if (done < 0) break;
    queue_start += length;
  }
  if (queue_start == queue_end) queue_start = queue_end = 0;
}

void tell_failure(int to, const char *text) {
  u8 frame[HEADER + 512];
  u32 length = (u32)str_length(text);
  if (length > 512) length = 512;
  memset(frame, 0, HEADER);
  put16(frame, (u16)length);
  frame[2] = G_FAILED;
  memcpy(frame + HEADER, text, length);
  sys_write(to, frame, HEADER + length);
}

/** Says what and who this is: READY when it begins, HELLO as an answer. */
static void introduce(u8 type, u32 error) {
  u8 payload[36];
  memset(payload, 0, sizeof payload);
  memcpy(payload, MAGIC, 16);
  put32(payload + 16, PROTOCOL_VERSION);
  put32(payload + 20, (u32)SYS0(getpid));
  put64(payload + 24, nonce);
  put32(payload + 32, error);
  tell(type, 0, 0, payload, sizeof payload);
}

/* ---- streams ---- */

static void close_in(struct stream *s) {
  if (s->in >= 0 && s->in != s->out[0]) sys_close(s->in);
  s->in = -1;
  s->ring_length = 0;
}

static void close_out(struct stream *s, int channel) {
  if (s->out[channel] < 0) return;
  if (channel == 0 && s->in == s->out[0]) s->in = -1;
  sys_close(s->out[channel]);
  s->out[channel] = -1;
}

static void drop_request(struct stream *s) {
  if (s->request) unmap_memory(s->request, MAX_REQUEST);
  s->request = NULL;
  s->request_length = 0;
}

/** Lets a stream go of which nothing is left. */
static void tidy(struct stream *s) {
  if (s->id != 0 || s->pid != 0 || s->in >= 0 || s->out[0] >= 0 || s->out[1] >= 0) return;
  drop_request(s);
  if (s->ring) unmap_memory(s->ring, IN_WINDOW);
  s->ring = NULL;
  s->used = 0;
}

/** The host wants nothing more of it. What runs goes on, and what it writes goes nowhere. */
static void forget(struct stream *s) {
  s->id = 0;
  s->quiet = 1;
  drop_request(s);
  close_in(s);
  tidy(s);
}

static struct stream *find(u32 id) {
  for (int i = 0; i < MAX_STREAMS; i++)
    if (streams[i].used && streams[i].id == id) return &streams[i];
  return NULL;
}

static struct stream *add(u32 id) {
  for (int i = 0; i < MAX_STREAMS; i++) {
    struct stream *s = &streams[i];
    if (s->used) continue;
    memset(s, 0, sizeof *s);
    s->used = 1;
    s->id = id;
    s->in = s->out[0] = s->out[1] = -1;
    s->credit[0] = s->credit[1] = OUT_WINDOW;
    return s;
  }
  return NULL;
}

static void tell_exit(u32 id, u8 kind, u8 stage, u32 value) {
  u8 payload[8];
  memset(payload, 0, sizeof payload);
  payload[0] = kind;
  payload[1] = stage;
  put32(payload + 4, value);
  tell(G_EXIT, 0, id, payload, sizeof payload);
}

/** Nothing came of it. */
static void refuse(struct stream *s, int stage, int error) {
  tell_exit(s->id, EXIT_FAILED, (u8)stage, (u32)-error);
  forget(s);
}

/** The host is told how it ended; what is left are processes of others that hold its pipes. */
static void finish(struct stream *s) {
  struct failure *failure = &failures[s - streams];
  if (failure->error != 0) tell_exit(s->id, EXIT_FAILED, (u8)failure->stage, (u32)failure->error);
  else if ((s->status & 0x7f) == 0) tell_exit(s->id, EXIT_CODE, 0, s->status >> 8 & 0xff);
  else tell_exit(s->id, EXIT_SIGNAL, 0, s->status & 0x7f);
  forget(s);
}

/** Writes input as far as it is taken. */
static void feed(struct stream *s) {
  while (s->ring_length > 0 && s->in >= 0) {
    u32 part = IN_WINDOW - s->ring_start;
    if (part > s->ring_length) part = s->ring_length;
    long done = sys_write(s->in, s->ring + s->ring_start, part);
    if (done == -EINTR) continue;
    if (done == -EAGAIN) break;
    if (done < 0) {
      /* Nobody reads it any more. */
      close_in(s);
      if (!s->in_told) tell(G_EOF, 0, s->id, NULL, 0);
      s->in_told = 1;
      return;
    }
    s->ring_start = (s->ring_start + (u32)done) % IN_WINDOW;
    s->ring_length -= (u32)done;
    s->written += (u32)done;
  }
  if (s->written > 0 && (s->ring_length == 0 || s->written >= IN_WINDOW / 4)) {
    u8 payload[4];
    put32(payload, s->written);
    s->written = 0;
    tell(G_CREDIT, 0, s->id, payload, sizeof payload);
  }
  if (s->in_ended && s->ring_length == 0 && !s->tty) close_in(s);
}

enum pumped { EMPTY, STOPPED, OVER };

/** Sends what a process has written, as far as the host takes it. STOPPED: there may be more. */
static enum pumped pump(struct stream *s, int channel) {
  for (;;) {
    if (s->out[channel] < 0) return OVER;
    if (s->quiet) {
      static u8 nowhere[4096];
      long count = sys_read(s->out[channel], nowhere, sizeof nowhere);
      if (count == -EAGAIN) return EMPTY;
      if (count > 0 || count == -EINTR) return STOPPED;
      close_out(s, channel);
      return OVER;
    }
    u32 room = MAX_FRAME - HEADER;
    if (room > s->credit[channel]) room = s->credit[channel];
    if (s->ended && !s->tty) {
      if (s->rest[channel] == 0) return EMPTY;
      if (room > s->rest[channel]) room = s->rest[channel];
    }
    if (room == 0 || queue_room() < MAX_FRAME + RESERVE) return STOPPED;
    long count = sys_read(s->out[channel], queue_reserve(room), room);
    if (count == -EINTR) continue;
    if (count == -EAGAIN) {
      s->rest[channel] = 0;
      return EMPTY;
    }
    if (count <= 0) {
      /* Of a terminal, EIO says that nobody has it open any more. */
      close_out(s, channel);
      if (!s->out_told[channel]) tell(G_EOF, (u8)(channel + 1), s->id, NULL, 0);
      s->out_told[channel] = 1;
      return OVER;
    }
    s->credit[channel] -= (u32)count;
    if (s->ended && !s->tty) s->rest[channel] -= (u32)count;
    queue_commit(G_DATA, (u8)(channel + 1), s->id, (u32)count);
  }
}

static void set_size(int terminal, u16 rows, u16 columns) {
  u16 size[4] = {rows, columns, 0, 0};
  SYS3(ioctl, terminal, TIOCSWINSZ, size);
}

/** In the new process: what it was asked to be. */
static void become(const struct request *request, struct failure *failure, const int ends[3]) {
  u64 none = 0;
  SYS0(setsid);
  for (int i = 0; i < 3; i++) {
    /* Numbers above 2, so that none is overwritten before it is in place. */
    if (SYS3(dup3, ends[i], i, 0) < 0) {
      failure->error = EIO;
      failure->stage = STAGE_RESOURCES;
      sys_exit(127);
    }
  }
  /* An applet execs nothing that would close the ends of others; and its own, without which no input ends. */
  if (SYS3(close_range, 3, ~0u, 0) < 0)
    for (int i = 3; i < 3 + 4 * MAX_STREAMS; i++) sys_close(i);
  if (request->flags & REQUEST_TTY) SYS3(ioctl, 0, TIOCSCTTY, 0);
  SYS4(rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
  run_request(request, failure);
}

/** A pipe of which the agent's end does not block. */
static int make_pipe(int *ours, int *theirs, int we_read) {
  int ends[2];
  long result = SYS2(pipe2, ends, O_CLOEXEC);
  if (result < 0) return (int)result;
  *ours = ends[we_read ? 0 : 1];
  *theirs = ends[we_read ? 1 : 0];
  SYS3(fcntl, *ours, F_SETFL, O_NONBLOCK);
  return 0;
}

static int make_terminal(struct stream *s, const struct request *request, int theirs[3]) {
  int unlock = 0;
  int terminal = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
  if (terminal < 0) return terminal;
  s->in = s->out[0] = terminal;
  s->tty = 1;
  long result = SYS3(ioctl, terminal, TIOCSPTLCK, &unlock);
  if (result >= 0) result = SYS3(ioctl, terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (result < 0) return (int)result;
  theirs[0] = theirs[1] = theirs[2] = (int)result;
  if (request->rows > 0 && request->columns > 0) set_size(terminal, request->rows, request->columns);
  return 0;
}

static int make_pipes(struct stream *s, const struct request *request, int theirs[3]) {
  int result = make_pipe(&s->in, &theirs[0], 0);
  if (result == 0) result = make_pipe(&s->out[0], &theirs[1], 1);
  if (result < 0) return result;
  if (request->flags & REQUEST_MERGE) {
    theirs[2] = theirs[1];
    return 0;
  }
  return make_pipe(&s->out[1], &theirs[2], 1);
}

static void start(struct stream *s, const u8 *bytes, u32 length) {
  static const char *pointers[8192];
  struct request request;
  int theirs[3] = {-1, -1, -1};
  struct failure *failure = &failures[s - streams];
  failure->error = 0;
  if (parse_request(bytes, length, &request, pointers, sizeof pointers / sizeof *pointers) < 0) {
    refuse(s, STAGE_REQUEST, -EPROTO);
    return;
  }
  s->ring = map_memory(IN_WINDOW, 0);
  int result = s->ring == NULL                    ? -ENOMEM
               : (request.flags & REQUEST_TTY) ? make_terminal(s, &request, theirs)
                                                  : make_pipes(s, &request, theirs);
  if (result == 0) {
    result = (int)SYS0(fork);
    if (result == 0) become(&request, failure, theirs);
  }
  for (int i = 0; i < 3; i++)
    if (theirs[i] >= 0 && (i == 0 || theirs[i] != theirs[i - 1])) sys_close(theirs[i]);
  if (result < 0) {
    close_in(s);
    close_out(s, 0);
    close_out(s, 1);
    refuse(s, STAGE_RESOURCES, result);
    return;
  }
  s->pid = result;
  if (!(request.flags & REQUEST_STDIN)) {
    s->in_ended = 1;
    feed(s);
  }
  u8 payload[4];
  put32(payload, (u32)s->pid);
  tell(G_STARTED, 0, s->id, payload, sizeof payload);
}

/* ---- what the host says ---- */

/** Texts that each end with a NUL. 0, or the number of an error. */
static u32 take_identity(const u8 *texts, u32 length) {
  const char *words[7] = {"identity"};
  u32 at = 0;
  for (int i = 1; i < 7; i++) {
    words[i] = (const char *)texts + at;
    while (at < length && texts[at]) at++;
    if (at++ >= length) return EPROTO;
  }
  return (u32)-set_identity(words);
}

/** A host that begins: it may be another than before, and the guest may have been saved in between. */
static void greet(const u8 *payload, u32 length) {
  if (length < 48) return;
  u32 flags = get32(payload + 20);
  u64 number = get64(payload + 24);
  if (!greeted || number != nonce) {
    /* What was meant for the one before is of no use. Processes go on. */
    queue_start = queue_end = 0;
    for (int i = 0; i < MAX_STREAMS; i++)
      if (streams[i].used && streams[i].id != 0) forget(&streams[i]);
  }
  greeted = 1;
  nonce = number;
  if (flags & HELLO_CLOCK) {
    /* struct timespec: 64-bit seconds on both. */
    s64 time[2] = {(s64)get64(payload + 32), get32(payload + 40)};
    SYS2(clock_settime, 0, time);
  }
  u32 bytes = get32(payload + 44);
  if ((flags & HELLO_ENTROPY) && bytes > 0 && bytes <= 64 && bytes <= length - 48) {
    u8 pool[8 + 64];
    put32(pool, bytes * 8);
    put32(pool + 4, bytes);
    memcpy(pool + 8, payload + 48, bytes);
    SYS3(ioctl, entropy, RNDADDENTROPY, pool);
    /* What the kernel drew from its pool before the save is drawn anew. */
    SYS3(ioctl, entropy, RNDRESEEDCRNG, 0);
  }
  introduce(G_HELLO, (flags & HELLO_IDENTITY) && bytes <= length - 48 ? take_identity(payload + 48 + bytes, length - 48 - bytes) : 0);
}

static void take_open(u32 id, u8 aux, const u8 *payload, u32 length) {
  struct stream *s = find(id);
  if (!s) {
    s = add(id);
    if (!s) {
      tell_exit(id, EXIT_FAILED, STAGE_RESOURCES, EAGAIN);
      return;
    }
    if (!(aux & OPEN_MORE)) {
      start(s, payload, length);
      return;
    }
    s->request = map_memory(MAX_REQUEST, 0);
    if (!s->request) {
      refuse(s, STAGE_RESOURCES, -ENOMEM);
      return;
    }
  } else if (!s->request) return;
  if (length > MAX_REQUEST - s->request_length) {
    refuse(s, STAGE_REQUEST, -E2BIG);
    return;
  }
  memcpy(s->request + s->request_length, payload, length);
  s->request_length += length;
  if (aux & OPEN_MORE) return;
  u8 *request = s->request;
  length = s->request_length;
  s->request = NULL;
  start(s, request, length);
  unmap_memory(request, MAX_REQUEST);
}

static void take_data(struct stream *s, const u8 *payload, u32 length) {
  if (s->in < 0 || s->in_ended) return;
  /* More than the host may send. */
  if (length > IN_WINDOW - s->ring_length) {
    close_in(s);
    return;
  }
  u32 at = (s->ring_start + s->ring_length) % IN_WINDOW;
  u32 part = length < IN_WINDOW - at ? length : IN_WINDOW - at;
  memcpy(s->ring + at, payload, part);
  memcpy(s->ring, payload + part, length - part);
  s->ring_length += length;
  feed(s);
}

static void take_eof(struct stream *s) {
  static const u8 end_of_transmission = 4;
  if (s->tty && !s->in_ended) take_data(s, &end_of_transmission, 1);
  s->in_ended = 1;
  feed(s);
}

/** To the process group that it leads; to itself while it does not yet. */
static void send_signal(struct stream *s, int signal) {
  if (s->pid > 0 && SYS2(kill, -s->pid, signal) < 0) SYS2(kill, s->pid, signal);
}

static void take(const u8 *frame) {
  u32 length = get16(frame), id = get32(frame + 4);
  const u8 *payload = frame + HEADER;
  if (frame[2] == H_HELLO) {
    greet(payload, length);
    return;
  }
  if (!greeted || id == 0) return;
  if (frame[2] == H_OPEN) {
    take_open(id, frame[3], payload, length);
    return;
  }
  struct stream *s = find(id);
  if (!s) return;
  switch (frame[2]) {
    case H_DATA:
      take_data(s, payload, length);
      break;
    case H_EOF:
      take_eof(s);
      break;
    case H_CREDIT: {
      int channel = frame[3] == 2;
      u32 count = length >= 4 ? get32(payload) : 0;
      if (count <= OUT_WINDOW && s->credit[channel] <= OUT_WINDOW - count) s->credit[channel] += count;
      break;
    }
    case H_SIGNAL:
      if (length >= 4 && get32(payload) <= 64) send_signal(s, (int)get32(payload));
      break;
    case H_RESIZE:
      if (length >= 4 && s->tty && s->out[0] >= 0) set_size(s->out[0], get16(payload), get16(payload + 2));
      break;
    case H_CLOSE:
      if (frame[3]) send_signal(s, SIGKILL);
      forget(s);
      break;
  }
}

/** Reads what the host has sent, as long as there is room for answers. 0: nothing more is there. */
static int listen(void) {
  static u8 input[2 * MAX_FRAME];
  static u32 filled;
  for (int turn = 0; turn < 32; turn++) {
    if (queue_room() < RESERVE) return 1;
    long count = sys_read(port, input + filled, sizeof input - filled);
    if (count == -EINTR) continue;
    if (count == -EAGAIN) return 0;
    if (count <= 0) {
      hung_up = 1;
      return 0;
    }
    u8 *chunk = input + filled;
    /*
     * A new host begins with a buffer of its own, whatever the one before left unfinished: read(2) of a port never goes
     * from one buffer to the next.
     */
    if (filled > 0 && count >= HEADER + 16 && chunk[2] == H_HELLO && memcmp(chunk + HEADER, MAGIC, 16) == 0) {
      memmove(input, chunk, (size_t)count);
      filled = 0;
    }
    filled += (u32)count;
    u32 at = 0;
    while (filled - at >= HEADER) {
      u32 length = HEADER + get16(input + at);
      if (length > MAX_FRAME) {
        /* Nonsense: the next HELLO sets it right. */
        at = filled;
        break;
      }
      if (filled - at < length) break;
      take(input + at);
      at += length;
    }
    filled -= at;
    memmove(input, input + at, filled);
  }
  return 1;
}

/* ---- processes ---- */

static void reap(void) {
  for (;;) {
    int status = 0;
    long pid = SYS4(wait4, -1, &status, 1 /* WNOHANG */, 0);
    if (pid <= 0) return;
    for (int i = 0; i < MAX_STREAMS; i++) {
      struct stream *s = &streams[i];
      if (!s->used || s->pid != pid) continue;
      s->pid = 0;
      s->ended = 1;
      s->status = (u32)status;
      close_in(s);
      for (int channel = 0; channel < 2; channel++) {
        int count = 0;
        if (s->out[channel] >= 0 && !s->tty) SYS3(ioctl, s->out[channel], FIONREAD, &count);
        s->rest[channel] = count > 0 ? (u32)count : 0;
      }
      tidy(s);
    }
  }
}

/** Whether all that an ended process wrote has been sent. */
static int is_drained(struct stream *s) {
  int drained = 1;
  for (int channel = 0; channel < 2; channel++) {
    enum pumped found = pump(s, channel);
    if (found == STOPPED) drained = 0;
    /* A terminal is passed on by a worker of the kernel's, and tells when all has come; unless others have it open. */
    if (found == EMPTY && s->tty && s->empty++ < 20) drained = 0;
  }
  return drained;
}

static void look_for_signals(void) {
  u8 news[128 * 8];
  int ended = 0;
  for (;;) {
    long count = sys_read(signals, news, sizeof news);
    if (count < 128) break;
    for (long at = 0; at + 128 <= count; at += 128) ended |= get32(news + at) == SIGCHLD;
  }
  if (ended) reap();
}

/** Asks to be told, by SIGIO, when somebody comes to the other end, while nobody is there. 1: has just begun to. */
static int expect_host(void) {
  static int expecting = -1;
  if (expecting == hung_up) return 0;
  expecting = hung_up;
  SYS3(fcntl, port, F_SETFL, O_NONBLOCK | (hung_up ? O_ASYNC : 0));
  return hung_up;
}

/** Whether something of an ended process can be sent now. */
static int can_drain(const struct stream *s) {
  for (int channel = 0; channel < 2; channel++)
    if (s->rest[channel] > 0 && s->credit[channel] > 0 && queue_room() >= MAX_FRAME + RESERVE) return 1;
  return 0;
}

static void serve(void) {
  static struct pollfd polled[2 + 3 * MAX_STREAMS];
  static struct { struct stream *stream; int channel; } owners[2 + 3 * MAX_STREAMS];
  int unfinished = 0;
  introduce(G_READY, 0);
  for (;;) {
    int count = 2, waiting = 0;
    flush();
    if (expect_host()) unfinished = 1;
    polled[0] = (struct pollfd){signals, POLLIN, 0};
    polled[1] = (struct pollfd){hung_up ? -1 : port, 0, 0};
    if (queue_room() >= RESERVE) polled[1].events |= POLLIN;
    if (queue_start < queue_end) polled[1].events |= POLLOUT;
    for (int i = 0; i < MAX_STREAMS; i++) {
      struct stream *s = &streams[i];
      if (!s->used) continue;
      if (s->ended && s->id != 0) {
        if (can_drain(s)) unfinished = 1;
        if (s->tty && s->credit[0] > 0) waiting = 1;
        continue;
      }
      if (s->in >= 0 && s->ring_length > 0) {
        owners[count].stream = s;
        owners[count].channel = -1;
        polled[count++] = (struct pollfd){s->in, POLLOUT, 0};
      }
      for (int channel = 0; channel < 2; channel++) {
        if (s->out[channel] < 0) continue;
        if (!s->quiet && (s->credit[channel] == 0 || queue_room() < MAX_FRAME + RESERVE)) continue;
        owners[count].stream = s;
        owners[count].channel = channel;
        polled[count++] = (struct pollfd){s->out[channel], POLLIN, 0};
      }
    }
    int wait = unfinished ? 0 : waiting ? 5 : hung_up ? 1000 : -1;
    SYS3(poll, polled, count, wait);
    if (polled[0].revents) look_for_signals();
    if (hung_up) {
      struct pollfd again = {port, POLLIN, 0};
      SYS3(poll, &again, 1, 0);
      hung_up = (again.revents & POLLHUP) != 0;
    } else hung_up = (polled[1].revents & POLLHUP) != 0;
    unfinished = hung_up ? 0 : listen();
    for (int i = 2; i < count; i++) {
      struct stream *s = owners[i].stream;
      if (!polled[i].revents || !s->used) continue;
      if (owners[i].channel < 0) feed(s);
      else if (!s->ended || s->quiet) pump(s, owners[i].channel);
      tidy(s);
    }
    for (int i = 0; i < MAX_STREAMS; i++) {
      struct stream *s = &streams[i];
      if (s->used && s->ended && s->id != 0 && is_drained(s)) finish(s);
    }
  }
}

static void run(int to) {
  port = to;
  failures = map_memory(sizeof *failures * MAX_STREAMS, 1);
  u64 watched = (u64)1 << (SIGCHLD - 1) | (u64)1 << (SIGIO - 1) | (u64)1 << (SIGPIPE - 1);
  SYS4(rt_sigprocmask, SIG_BLOCK, &watched, 0, sizeof watched);
  signals = (int)SYS4(signalfd4, -1, &watched, sizeof watched, O_NONBLOCK | O_CLOEXEC);
  entropy = sys_open("/dev/urandom", O_WRONLY, 0);
  SYS3(fcntl, port, F_SETOWN, SYS0(getpid));
  if (!failures || signals < 0) {
    tell_failure(port, "the agent has no memory");
    sys_exit(1);
  }
  serve();
}

/** argv[0] begins with "@" beside an init of the image's: systemd leaves such processes alone when it stops all others. */
void agent_main(int argc, char **argv);
void agent_main(int argc, char **argv) {
  (void)argc;
  if (SYS0(getpid) != 1) {
    int to = open_port(10000);
    if (to < 0) sys_exit(1);
    run(to);
  }
  int to = boot();
  if (boot_init) {
    long pid = SYS0(fork);
    if (pid != 0) {
      const char *arguments[2] = {boot_init, NULL};
      const char *variables[3] = {"HOME=/", "TERM=linux", NULL};
      SYS3(execve, boot_init, arguments, variables);
      tell_failure(to, "the image's init cannot be run");
      sys_exit(1);
    }
    argv[0][0] = '@';
    /* Orphans of what it runs are its to reap: PR_SET_CHILD_SUBREAPER. */
    SYS2(prctl, 36, 1);
    SYS0(setsid);
  }
  run(to);
}
