/* Preloaded into every process of a command: whatever would look up or reach another machine is logged in the file that
   NO_NETWORK_LOG names, and refused. Sockets of the machine itself (AF_UNIX) are let through. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *call, const char *target) {
  const char *log = getenv("NO_NETWORK_LOG");
  char line[512];
  int length = snprintf(line, sizeof line, "%s: %s %s\n", program_invocation_name, call, target ? target : "-");
  int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  if (fd < 0 || write(fd, line, length < (int)sizeof line ? length : (int)sizeof line - 1) < 0) abort();
  close(fd);
}

static int leaves(const char *call, const struct sockaddr *to) {
  char text[INET6_ADDRSTRLEN] = "";
  if (to == NULL || (to->sa_family != AF_INET && to->sa_family != AF_INET6)) return 0;
  inet_ntop(to->sa_family,
            to->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)to)->sin_addr
                                     : (const void *)&((const struct sockaddr_in6 *)to)->sin6_addr,
            text, sizeof text);
  note(call, text);
  errno = ENETUNREACH;
  return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int connect(int fd, const struct sockaddr *to, socklen_t size) {
  return leaves("connect", to) ? -1 : NEXT(connect)(fd, to, size);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t to_size) {
  return leaves("sendto", to) ? -1 : NEXT(sendto)(fd, data, size, flags, to, to_size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  return leaves("sendmsg", message->msg_name) ? -1 : NEXT(sendmsg)(fd, message, flags);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  (void)service, (void)hints, (void)found;
  note("getaddrinfo", host);
  return EAI_FAIL;
}

static struct hostent *no_host(const char *call, const char *host) {
  note(call, host);
  h_errno = NO_RECOVERY;
  return NULL;
}

struct hostent *gethostbyname(const char *host) { return no_host("gethostbyname", host); }

struct hostent *gethostbyname2(const char *host, int family) {
  (void)family;
  return no_host("gethostbyname2", host);
}

static int no_host_r(const char *call, const char *host, struct hostent **found, int *error) {
  note(call, host);
  *found = NULL;
  *error = NO_RECOVERY;
  return -1;
}

int gethostbyname_r(const char *host, struct hostent *entry, char *buffer, size_t size, struct hostent **found,
                    int *error) {
  (void)entry, (void)buffer, (void)size;
  return no_host_r("gethostbyname_r", host, found, error);
}

int gethostbyname2_r(const char *host, int family, struct hostent *entry, char *buffer, size_t size,
                     struct hostent **found, int *error) {
  (void)family, (void)entry, (void)buffer, (void)size;
  return no_host_r("gethostbyname2_r", host, found, error);
}

static int no_answer(const char *call, const char *name) {
  note(call, name);
  h_errno = NO_RECOVERY;
  return -1;
}

int res_query(const char *name, int class, int type, unsigned char *answer, int size) {
  (void)class, (void)type, (void)answer, (void)size;
  return no_answer("res_query", name);
}

int res_search(const char *name, int class, int type, unsigned char *answer, int size) {
  (void)class, (void)type, (void)answer, (void)size;
  return no_answer("res_search", name);
}
