/* The least that a relay in user space can cost: every datagram goes back where it came from, and nothing is decided.
 *
 *   rtp_echo ADDRESS FIRST_PORT STREAMS
 *
 * One socket per stream, bound to FIRST_PORT + 2 i, as a relay has them; epoll, recvfrom, sendto.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { READY = 256, PACKET_BYTES = 2048 };

static void die(const char *what)
{
    perror(what);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: rtp_echo ADDRESS FIRST_PORT STREAMS\n");
        return 2;
    }
    int first_port = atoi(argv[2]), streams = atoi(argv[3]), poller = epoll_create1(0);
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < streams; i++) {
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(first_port + 2 * i)};
        struct epoll_event event = {.events = EPOLLIN};
        event.data.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (inet_pton(AF_INET, argv[1], &local.sin_addr) != 1)
            die("address");
        if (event.data.fd < 0 || bind(event.data.fd, (struct sockaddr *)&local, sizeof local) < 0)
            die("bind");
        if (epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
            die("epoll_ctl");
    }
    for (;;) {
        struct epoll_event ready[READY];
        int count = epoll_wait(poller, ready, READY, -1);
        for (int i = 0; i < count; i++) {
            char packet[PACKET_BYTES];
            struct sockaddr_in source;
            socklen_t length = sizeof source;
            ssize_t bytes = recvfrom(ready[i].data.fd, packet, sizeof packet, 0, (struct sockaddr *)&source, &length);
            if (bytes > 0)
                sendto(ready[i].data.fd, packet, bytes, 0, (struct sockaddr *)&source, length);
        }
    }
}
