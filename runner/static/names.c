/*
 * Names without glibc's NSS, for the static client. NSS loads its modules at run time,
 * which a static program can do only where the very same glibc stands. So getaddrinfo is
 * c-ares here (the linker puts these in the place of libc's): numbers,
 * /etc/hosts and DNS as resolv.conf says. Not here: mDNS, LDAP, systemd's resolver beside
 * its DNS stub, whatever else a module would bring.
 *
 * Users are looked up in /etc/passwd only, by the part of NSS that is in libc.a itself.
 */
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESSES_MAX 64   /* of one name; a resolver has no say in how much we hold */
#define TRY_MS        5000 /* for the first answer of a server, as resolv.conf(5) has it */
#define TRIES         2
#define WAIT_MS       1000 /* for c-ares to look at its own clock again */

int names_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                      struct addrinfo **out);
void names_freeaddrinfo(struct addrinfo *list);

/* One block: the entry and its address behind it. */
struct entry {
    struct addrinfo ai;
    struct sockaddr_storage sa;
};

/* Before anything can look up a user: no module is ever loaded. */
__attribute__((constructor)) static void
files_only(void)
{
    (void)__nss_configure_lookup("passwd", "files");
    (void)__nss_configure_lookup("group", "files");
    (void)__nss_configure_lookup("services", "files");
}

static struct addrinfo *
entry_new(const struct sockaddr *sa, size_t len, const struct addrinfo *hints)
{
    struct entry *e = calloc(1, sizeof *e);

    if (e == NULL || len > sizeof e->sa) {
        free(e);
        return NULL;
    }
    memcpy(&e->sa, sa, len);
    e->ai.ai_family = sa->sa_family;
    e->ai.ai_socktype = hints->ai_socktype;
    e->ai.ai_protocol = hints->ai_protocol;
    e->ai.ai_addrlen = (socklen_t)len;
    e->ai.ai_addr = (struct sockaddr *)&e->sa;
    return &e->ai;
}

void
names_freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list); /* the struct entry that it opens */
        list = next;
    }
}

/* A decimal port, or a name of /etc/services; NULL is 0. */
static int
port_of(const char *service, int flags, in_port_t *out)
{
    struct servent se;
    struct servent *found = NULL;
    char buf[1024];
    char *end;
    unsigned long n;

    if (service == NULL) {
        *out = 0;
        return 0;
    }
    n = strtoul(service, &end, 10);
    if (service[0] >= '0' && service[0] <= '9' && *end == '\0') {
        *out = htons((uint16_t)n);
        return n <= UINT16_MAX ? 0 : EAI_SERVICE;
    }
    if ((flags & AI_NUMERICSERV) != 0) {
        return EAI_NONAME;
    }
    if (getservbyname_r(service, NULL, &se, buf, sizeof buf, &found) != 0 ||
        found == NULL) {
        return EAI_SERVICE;
    }
    *out = (in_port_t)se.s_port;
    return 0;
}

/* fe80::1%eth0: the part behind '%' is a link of ours. */
static bool
parse_v6(const char *text, struct sockaddr_in6 *sa)
{
    char bare[INET6_ADDRSTRLEN];
    const char *scope = strchr(text, '%');
    size_t len = scope != NULL ? (size_t)(scope - text) : strlen(text);

    if (len >= sizeof bare) {
        return false;
    }
    memcpy(bare, text, len);
    bare[len] = '\0';
    if (inet_pton(AF_INET6, bare, &sa->sin6_addr) != 1) {
        return false;
    }
    if (scope != NULL) {
        char *end;
        unsigned long n = strtoul(scope + 1, &end, 10);

        sa->sin6_scope_id =
            scope[1] != '\0' && *end == '\0' ? (uint32_t)n : if_nametoindex(scope + 1);
        if (sa->sin6_scope_id == 0) {
            return false;
        }
    }
    return true;
}

/* 1: it is an address, in *out; 0: it is a name; else what getaddrinfo would say. */
static int
numeric(const char *node, in_port_t port, const struct addrinfo *hints,
        struct addrinfo **out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    const struct sockaddr *sa = (const struct sockaddr *)&v4;
    size_t len = sizeof v4;

    if (inet_aton(node, &v4.sin_addr) == 0) {
        if (!parse_v6(node, &v6)) {
            return 0;
        }
        sa = (const struct sockaddr *)&v6;
        len = sizeof v6;
    }
    if (hints->ai_family != AF_UNSPEC && hints->ai_family != sa->sa_family) {
        return EAI_ADDRFAMILY;
    }
    *out = entry_new(sa, len, hints);
    return *out != NULL ? 1 : EAI_MEMORY;
}

/* No name at all: any address to listen on, loopback to connect to. */
static int
nowhere(in_port_t port, const struct addrinfo *hints, struct addrinfo **out)
{
    const char *v4 = (hints->ai_flags & AI_PASSIVE) != 0 ? "0.0.0.0" : "127.0.0.1";
    const char *v6 = (hints->ai_flags & AI_PASSIVE) != 0 ? "::" : "::1";
    int rc = numeric(hints->ai_family == AF_INET6 ? v6 : v4, port, hints, out);

    return rc == 1 ? 0 : rc;
}

/* ---- c-ares ---- */

struct lookup {
    in_port_t port;
    const struct addrinfo *hints;
    struct addrinfo *list;
    int rc; /* EAI_* */
    bool done;
};

static int
eai_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENODATA:
        return EAI_NODATA;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
        return EAI_NONAME;
    case ARES_ENOMEM:
        return EAI_MEMORY;
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
        return EAI_AGAIN;
    default:
        return EAI_FAIL;
    }
}

static void
found(void *ctx, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct lookup *l = ctx;
    struct addrinfo **end = &l->list;
    int n = 0;

    (void)timeouts;
    l->done = true;
    l->rc = eai_of(status);
    if (answer == NULL) {
        return;
    }
    for (const struct ares_addrinfo_node *a = answer->nodes;
         l->rc == 0 && a != NULL && n < ADDRESSES_MAX; a = a->ai_next, n++) {
        *end = entry_new(a->ai_addr, a->ai_addrlen, l->hints);
        if (*end == NULL) {
            l->rc = EAI_MEMORY;
            break;
        }
        if (a->ai_family == AF_INET) {
            ((struct sockaddr_in *)(void *)(*end)->ai_addr)->sin_port = l->port;
        } else {
            ((struct sockaddr_in6 *)(void *)(*end)->ai_addr)->sin6_port = l->port;
        }
        end = &(*end)->ai_next;
    }
    ares_freeaddrinfo(answer);
    if (l->rc == 0 && l->list == NULL) {
        l->rc = EAI_NODATA;
    }
}

static void
run(ares_channel channel, const struct lookup *l)
{
    while (!l->done) {
        ares_socket_t fds[ARES_GETSOCK_MAXNUM];
        struct pollfd p[ARES_GETSOCK_MAXNUM];
        struct timeval most = {.tv_sec = WAIT_MS / 1000};
        struct timeval wait;
        int bits = ares_getsock(channel, fds, ARES_GETSOCK_MAXNUM);
        nfds_t n = 0;

        for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
            bool in = ARES_GETSOCK_READABLE(bits, i) != 0;
            bool out = ARES_GETSOCK_WRITABLE(bits, i) != 0;

            if (in || out) {
                p[n++] = (struct pollfd){
                    .fd = fds[i],
                    .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
            }
        }
        (void)ares_timeout(channel, &most, &wait);
        (void)poll(p, n, (int)(wait.tv_sec * 1000 + wait.tv_usec / 1000) + 1);
        for (nfds_t i = 0; i < n; i++) {
            bool in = (p[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
            bool out = (p[i].revents & (POLLOUT | POLLERR | POLLHUP)) != 0;

            ares_process_fd(channel, in ? p[i].fd : ARES_SOCKET_BAD,
                            out ? p[i].fd : ARES_SOCKET_BAD);
        }
        /* What has timed out. */
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
}

/* Once; what it takes is the process's until it ends. */
static void
init_library(void)
{
    (void)ares_library_init(ARES_LIB_INIT_ALL);
}

static int
ask(const char *node, struct lookup *l)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct ares_options options = {.timeout = TRY_MS, .tries = TRIES};
    struct ares_addrinfo_hints hints = {.ai_family = l->hints->ai_family,
                                        .ai_socktype = l->hints->ai_socktype};
    ares_channel channel;

    (void)pthread_once(&once, init_library);
    /* A channel of its own: threads do not share one. */
    if (ares_init_options(&channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) !=
        ARES_SUCCESS) {
        return EAI_FAIL;
    }
    ares_getaddrinfo(channel, node, NULL, &hints, found, l);
    run(channel, l);
    ares_destroy(channel);
    return l->rc;
}

int
names_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                  struct addrinfo **out)
{
    const struct addrinfo none = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct lookup l = {.hints = hints != NULL ? hints : &none};
    int rc = port_of(service, l.hints->ai_flags, &l.port);

    if (rc != 0) {
        return rc;
    }
    *out = NULL;
    if (node == NULL) {
        return nowhere(l.port, l.hints, out);
    }
    rc = numeric(node, l.port, l.hints, out);
    if (rc != 0) {
        return rc == 1 ? 0 : rc;
    }
    if ((l.hints->ai_flags & AI_NUMERICHOST) != 0) {
        return EAI_NONAME;
    }
    rc = ask(node, &l);
    if (rc != 0) {
        names_freeaddrinfo(l.list);
        return rc;
    }
    *out = l.list;
    return 0;
}
