// c-ares for Swift, the same for the versions 1.18 (Debian 12) and 1.34 (Debian 13): the newer one has
// more options, makes an enumeration of what were macros, and calls deprecated what the older one
// needs. Only the target DNS imports it.

#pragma once

#define CARES_NO_DEPRECATED
#include <ares.h>
#include <netdb.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>

// Macros or constants of an enumeration, by version.
static const int kinglet_ares_not_found = ARES_ENOTFOUND;
static const int kinglet_ares_no_data = ARES_ENODATA;
static const int kinglet_ares_refused = ARES_EREFUSED;
static const int kinglet_ares_bad_name = ARES_EBADNAME;
static const int kinglet_ares_bad_response = ARES_EBADRESP;
static const int kinglet_ares_timeout = ARES_ETIMEOUT;
static const int kinglet_ares_cancelled = ARES_ECANCELLED;
static const int kinglet_ares_destroyed = ARES_EDESTRUCTION;

// The structure of options and their macros. NULL stands for what the system says; `port` counts for
// servers that are named without one. Returns 0 or a code of c-ares.
static inline int kinglet_ares_open(
    ares_channel *channel, const char *servers, char *configuration, unsigned short port,
    int milliseconds, int passes_errors, ares_sock_state_cb changed, void *argument)
{
    struct ares_options options;
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
        | ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
    memset(&options, 0, sizeof options);
    options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    if (passes_errors) options.flags |= ARES_FLAG_NOCHECKRESP;
    options.timeout = milliseconds;
    options.tries = 3;
    options.udp_port = port;
    options.tcp_port = port;
    options.sock_state_cb = changed;
    options.sock_state_cb_data = argument;
    if (configuration) {
        mask |= ARES_OPT_RESOLVCONF;
        options.resolvconf_path = configuration;
    }
#ifdef ARES_OPT_UDP_MAX_QUERIES
    // Another port after so many queries is harder to guess.
    mask |= ARES_OPT_UDP_MAX_QUERIES;
    options.udp_max_queries = 32;
#endif
#ifdef ARES_OPT_QUERY_CACHE
    // None: Resolver keeps answers.
    mask |= ARES_OPT_QUERY_CACHE;
    options.qcache_max_ttl = 0;
    // As it is by default there; version 1.18 makes mistakes with servers that do not know it.
    options.flags |= ARES_FLAG_EDNS;
#endif
    int result = ares_init_options(channel, &options, mask);
    if (result == ARES_SUCCESS && servers) {
        result = ares_set_servers_ports_csv(*channel, servers);
        if (result != ARES_SUCCESS) ares_destroy(*channel);
    }
    return result;
}

// The list of servers has a union, and is there only to be counted.
static inline int kinglet_ares_server_count(ares_channel channel)
{
    struct ares_addr_port_node *first = NULL;
    int count = 0;
    if (ares_get_servers_ports(channel, &first) != ARES_SUCCESS) return 0;
    for (struct ares_addr_port_node *node = first; node; node = node->next) count++;
    ares_free_data(first);
    return count;
}

// Milliseconds until c-ares wants to be called; -1 for never. `timeval` would be this module's.
static inline int kinglet_ares_wait(ares_channel channel)
{
    struct timeval time;
    if (!ares_timeout(channel, NULL, &time)) return -1;
    if (time.tv_sec > 1000) return 1000000;
    return (int)(time.tv_sec * 1000 + (time.tv_usec + 999) / 1000);
}

// Copies up to `limit` addresses of a name in the hosts file and returns how many; `hostent` and its
// macros would be this module's. An address has 4 bytes with AF_INET and 16 with AF_INET6.
static inline int kinglet_ares_hosts(
    ares_channel channel, const char *name, int family, unsigned char *bytes, int limit)
{
    struct hostent *host = NULL;
    const int size = family == AF_INET ? 4 : 16;
    int count = 0;
    if (ares_gethostbyname_file(channel, name, family, &host) != ARES_SUCCESS || !host) return 0;
    if (host->h_addrtype == family && host->h_length == size) {
        for (; count < limit && host->h_addr_list[count]; count++)
            memcpy(bytes + count * size, host->h_addr_list[count], (size_t)size);
    }
    ares_free_hostent(host);
    return count;
}

// Not in Swift's Glibc module, and its flags are an enumeration.
static inline int kinglet_wake_descriptor(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}
