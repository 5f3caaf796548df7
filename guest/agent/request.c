/* What is asked for: taking it apart, and becoming it. */
#include "agent.h"

/** Bytes ahead of a request's texts. */
enum { FIXED = 12 };

int parse_request(const u8 *bytes, u32 length, struct request *request, const char **pointers, u32 room) {
  if (length <= FIXED || bytes[length - 1] != 0) return -EPROTO;
  memset(request, 0, sizeof *request);
  request->flags = bytes[0];
  request->rows = get16(bytes + 2);
  request->columns = get16(bytes + 4);
  request->argument_count = get16(bytes + 6);
  request->variable_count = get16(bytes + 8);
  u32 texts = 2 + request->argument_count + request->variable_count;
  if (request->argument_count == 0 || texts + 3 > room) return -EPROTO;
  const char *at = (const char *)bytes + FIXED, *end = (const char *)bytes + length;
  const char **slot = pointers;
  for (u32 i = 0; i < texts; i++) {
    if (at == end) return -EPROTO;
    if (i == 0) request->user = at;
    else if (i == 1) request->folder = at;
    else {
      if (i == 2) request->arguments = slot;
      if (i == 2 + request->argument_count) {
        *slot++ = NULL;
        request->variables = slot;
      }
      *slot++ = at;
    }
    /* The last byte is a NUL, so this ends within. */
    at += str_length(at) + 1;
  }
  if (request->variable_count == 0) {
    *slot++ = NULL;
    request->variables = slot;
  }
  /* Two free places: the NULL, and one for HOME ahead of it. */
  slot[0] = slot[1] = NULL;
  return at == end ? 0 : -EPROTO;
}

static void fail(struct failure *failure, int stage, int error) __attribute__((noreturn));
static void fail(struct failure *failure, int stage, int error) {
  failure->stage = stage;
  failure->error = error < 0 ? -error : error;
  sys_exit(127);
}

/* ---- users: passwd(5) and group(5) ---- */

struct user {
  u32 uid, gid;
  u32 groups[64];
  u32 group_count;
  char home[1024];
};

/** The text of a file of users, and its length. NULL: there is none. */
static char *load(const char *path) {
  enum { MOST = 1024 * 1024 };
  char *text = map_memory(MOST, 0);
  return text && read_file(path, text, MOST) >= 0 ? text : NULL;
}

/** Cuts the next line off, and its first `count` fields. The rest; NULL at the end. */
static char *next_line(char *text, char **fields, int count) {
  if (!text || !*text) return NULL;
  int found = 0;
  fields[found++] = text;
  for (; *text && *text != '\n'; text++)
    if (*text == ':') {
      *text = 0;
      if (found < count) fields[found++] = text + 1;
    }
  if (*text) *text++ = 0;
  static char empty[1];
  while (found < count) fields[found++] = empty;
  return text;
}

static int in_list(const char *list, const char *name) {
  size_t length = str_length(name);
  while (*list) {
    if (str_starts(list, name) && (list[length] == ',' || list[length] == 0)) return 1;
    while (*list && *list != ',') list++;
    if (*list) list++;
  }
  return 0;
}

static s64 find_group(const char *name) {
  s64 number = parse_number(name);
  char *fields[4];
  for (char *text = load("/etc/group"); (text = next_line(text, fields, 4)) != NULL;)
    if (str_equal(fields[0], name)) return parse_number(fields[2]);
  return number;
}

/** `name`, `number`, each with `:group`. 0, or -EINVAL: there is none. */
static int find_user(const char *wanted, struct user *user) {
  char name[256];
  const char *group = NULL;
  u32 length = 0;
  for (; wanted[length] && wanted[length] != ':'; length++)
    if (length + 1 >= sizeof name) return -EINVAL;
  memcpy(name, wanted, length);
  name[length] = 0;
  if (wanted[length] == ':') group = wanted + length + 1;
  s64 number = parse_number(name);
  int found = 0;
  memset(user, 0, sizeof *user);
  char *fields[6];
  for (char *text = load("/etc/passwd"); (text = next_line(text, fields, 6)) != NULL;) {
    s64 uid = parse_number(fields[2]), gid = parse_number(fields[3]);
    if (uid < 0 || gid < 0 || !(str_equal(fields[0], name) || uid == number)) continue;
    user->uid = (u32)uid;
    user->gid = user->groups[0] = (u32)gid;
    user->group_count = 1;
    join(user->home, sizeof user->home, fields[5], "", "");
    join(name, sizeof name, fields[0], "", "");
    found = 1;
    break;
  }
  if (!found) {
    /* A number needs no entry. */
    if (number < 0 || number > 0xfffffffe) return -EINVAL;
    user->uid = (u32)number;
  }
  if (group) {
    s64 gid = find_group(group);
    if (gid < 0 || gid > 0xfffffffe) return -EINVAL;
    user->gid = user->groups[0] = (u32)gid;
    user->group_count = 1;
    return 0;
  }
  if (!found) return 0;
  for (char *text = load("/etc/group"); (text = next_line(text, fields, 4)) != NULL;) {
    s64 gid = parse_number(fields[2]);
    if (gid >= 0 && in_list(fields[3], name) && user->group_count < 64) user->groups[user->group_count++] = (u32)gid;
  }
  return 0;
}

static const char *variable(const struct request *request, const char *name) {
  size_t length = str_length(name);
  for (const char **at = request->variables; *at; at++)
    if (str_starts(*at, name) && (*at)[length] == '=') return *at + length + 1;
  return NULL;
}

/** Runs a program by its path, or looks for its name where PATH says: execvp(3). The error when that fails. */
static int execute(const struct request *request) {
  const char *name = request->arguments[0];
  if (!*name) return ENOENT;
  for (const char *at = name; *at; at++)
    if (*at == '/') return (int)-SYS3(execve, name, request->arguments, request->variables);
  const char *path = variable(request, "PATH");
  if (!path) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  int error = ENOENT;
  while (*path) {
    char folder[1024], file[2048];
    u32 length = 0;
    for (; *path && *path != ':'; path++)
      if (length + 1 < sizeof folder) folder[length++] = *path;
    folder[length] = 0;
    if (*path) path++;
    if (join(file, sizeof file, length ? folder : ".", "/", name) < 0) continue;
    int why = (int)-SYS3(execve, file, request->arguments, request->variables);
    /* One that may not be run is looked past, and told of when there is no other. */
    if (why == EACCES) error = why;
    else if (why != ENOENT && why != ENOTDIR) return why;
  }
  return error;
}

void run_request(const struct request *request, struct failure *failure) {
  static struct user user;
  static char home[1100];
  int result = find_user(*request->user ? request->user : "0", &user);
  if (result < 0) fail(failure, STAGE_USER, result);
  result = (int)SYS2(setgroups, user.group_count, user.groups);
  if (result == 0) result = (int)SYS1(setgid, user.gid);
  if (result == 0) result = (int)SYS1(setuid, user.uid);
  if (result < 0) fail(failure, STAGE_USER, result);
  result = (int)SYS1(chdir, *request->folder ? request->folder : "/");
  if (result < 0) fail(failure, STAGE_FOLDER, result);
  if (request->flags & REQUEST_APPLET) sys_exit(run_applet(request->arguments, request->argument_count));
  if (!variable(request, "HOME")) {
    join(home, sizeof home, "HOME", "=", *user.home ? user.home : "/");
    const char **end = request->variables;
    while (*end) end++;
    *end = home;
  }
  fail(failure, STAGE_PROGRAM, execute(request));
}
