/*
 * request - what an HTTPS request costs when nothing else is done.
 *
 * Posts the same body RATE times a second over one kept connection, by
 * libcurl's simplest interface, and reports this process's CPU time for each.
 * No program that uses libcurl on the same kernel can be cheaper.
 *
 * request URL AUTHORITIES RATE COUNT
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define WARM 20

static const char body[] =
    "{\"message\":{\"android\":{\"collapse_key\":\"a1b2c3\",\"priority\":\"HIGH\","
    "\"ttl\":\"86400s\"},\"data\":{\"account\":\"d0c1b2a3\",\"unread\":\"1\"},"
    "\"token\":\"token-0\"}}";

static size_t ignore(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

static double cpu_us(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return 1e6 * (used.ru_utime.tv_sec + used.ru_stime.tv_sec)
        + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

int main(int count, char **arguments)
{
    if (count != 5) {
        fprintf(stderr, "usage: request URL AUTHORITIES RATE COUNT\n");
        return 2;
    }
    int rate = atoi(arguments[3]), requests = atoi(arguments[4]);
    CURL *handle = curl_easy_init();
    struct curl_slist *headers = NULL;
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Authorization: Bearer none");
    double start = 0;
    for (int number = -WARM; number < requests; number++) {
        if (number == 0)
            start = cpu_us();
        curl_easy_reset(handle);
        curl_easy_setopt(handle, CURLOPT_URL, arguments[1]);
        curl_easy_setopt(handle, CURLOPT_CAINFO, arguments[2]);
        curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, ignore);
        CURLcode result = curl_easy_perform(handle);
        if (result != CURLE_OK) {
            fprintf(stderr, "request: %s\n", curl_easy_strerror(result));
            return 1;
        }
        struct timespec pause = {0, 1000000000L / rate};
        nanosleep(&pause, NULL);
    }
    printf("%.1f\n", (cpu_us() - start) / requests);
    curl_slist_free_all(headers);
    curl_easy_cleanup(handle);
    return 0;
}
