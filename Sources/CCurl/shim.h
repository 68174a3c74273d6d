// libcurl for Swift: wrappers for its variadic functions, which Swift cannot call, one for each type
// of argument; and a call that Swift's Glibc lacks. Only the target HTTPClient imports it.

#pragma once

#include <curl/curl.h>
#include <sys/eventfd.h>

static inline CURLcode kinglet_curl_set_long(CURL *handle, CURLoption option, long value)
{
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kinglet_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value)
{
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kinglet_curl_set_string(CURL *handle, CURLoption option, const char *value)
{
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kinglet_curl_set_pointer(CURL *handle, CURLoption option, void *value)
{
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kinglet_curl_set_write(
    CURL *handle, CURLoption option, size_t (*callback)(char *, size_t, size_t, void *))
{
    return curl_easy_setopt(handle, option, callback);
}

static inline CURLcode kinglet_curl_set_progress(CURL *handle, curl_xferinfo_callback callback)
{
    return curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, callback);
}

static inline CURLcode kinglet_curl_get_long(CURL *handle, CURLINFO info, long *value)
{
    return curl_easy_getinfo(handle, info, value);
}

static inline CURLcode kinglet_curl_set_open_socket(CURL *handle, curl_opensocket_callback callback)
{
    return curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, callback);
}

static inline CURLcode kinglet_curl_set_before_request(CURL *handle, curl_prereq_callback callback)
{
    return curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, callback);
}

static inline CURLMcode kinglet_curl_multi_set_long(CURLM *handle, CURLMoption option, long value)
{
    return curl_multi_setopt(handle, option, value);
}

static inline CURLMcode kinglet_curl_multi_set_socket(
    CURLM *handle, curl_socket_callback callback, void *argument)
{
    CURLMcode result = curl_multi_setopt(handle, CURLMOPT_SOCKETDATA, argument);
    return result ? result : curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, callback);
}

static inline CURLMcode kinglet_curl_multi_set_timer(
    CURLM *handle, curl_multi_timer_callback callback, void *argument)
{
    CURLMcode result = curl_multi_setopt(handle, CURLMOPT_TIMERDATA, argument);
    return result ? result : curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, callback);
}

// A descriptor that counts what is written to it and is readable while that is not zero.
static inline int kinglet_curl_wake_descriptor(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}
