/* What the parts of the agent have in common. */
#ifndef AGENT_H
#define AGENT_H

#include "lib.h"
#include "protocol.h"

/** What the host asks for, checked: texts that end with NUL, in the memory of the request. */
struct request {
  u8 flags;
  u16 rows, columns;
  const char *user, *folder;
  u32 argument_count, variable_count;
  /** Followed by NULL. */
  const char **arguments, **variables;
};

/** Where a process that could not start says why; shared with it. */
struct failure {
  int error, stage;
};

/** Takes a request apart; `pointers` has room for the arguments, the variables and three more. 0, or -EPROTO. */
int parse_request(const u8 *bytes, u32 length, struct request *request, const char **pointers, u32 room);

/** Becomes the program or applet that is asked for; standard input and outputs are in place. */
void run_request(const struct request *request, struct failure *failure) __attribute__((noreturn));

/** Runs an applet: its exit code is 0 or the number of an error. */
int run_applet(const char *const *arguments, u32 count);

/** Sets the guest up as its first process. Gives back the port, or ends the machine. */
int boot(void);
/** The image's own first process, when it shall have one; NULL otherwise. */
extern const char *boot_init;

/** Opens the agent's port, waiting so many milliseconds for it. A negative error when it does not come. */
int open_port(int milliseconds);

/** Tells the host in a frame of its own that the guest cannot start. */
void tell_failure(int port, const char *text);

/** Applets that booting uses as well. */
int set_network(const char *const *arguments, u32 count);

/** What the guest is known by: the words of the applet, with its name. 0, or a negative error. */
int set_identity(const char *const *arguments);

#endif
