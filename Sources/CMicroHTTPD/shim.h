// libmicrohttpd for Swift: wrappers for its variadic functions, which Swift cannot call.

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <microhttpd.h>

// MHD_start_daemon takes its options as variadic arguments. One thread, epoll, a socket that
// already listens; from here on the daemon owns the socket.
static inline struct MHD_Daemon *kinglet_mhd_start(
    MHD_socket listener, MHD_AccessHandlerCallback handler, void *context,
    unsigned int connection_limit, size_t connection_memory, unsigned int timeout_seconds)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, handler, context,
        MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, connection_limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_memory,
        MHD_OPTION_CONNECTION_TIMEOUT, timeout_seconds,
        MHD_OPTION_END);
}

// MHD_get_connection_info is variadic. The address lives as long as the connection.
static inline const struct sockaddr *kinglet_mhd_client(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info == NULL ? NULL : info->client_addr;
}
