/* RTP load: one socket per stream, each sends a 20 ms PCMU packet every 20 ms and counts what comes back.
 *
 *   rtp_load ADDRESS FIRST_PORT SECONDS < targets       targets: one "address port" per line, a stream each
 *
 * Stream i is bound to FIRST_PORT + 2 i. The streams are spread over the 20 ms, so that the switch meets packets as
 * they come from real phones and not in one burst. Prints {"sent":…,"received":…}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { MAX_STREAMS = 8192, PACKET_BYTES = 172, SAMPLES = 160, SLOTS = 20, READY = 256 };
static const int64_t SLOT_NS = 1000000; /* 1 ms: SLOTS of them make one packet time */

struct stream {
    int socket;
    uint16_t sequence;
    uint32_t timestamp;
    struct sockaddr_in target;
};
static struct stream streams[MAX_STREAMS];

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void send_packet(struct stream *s, uint32_t ssrc, int64_t *sent)
{
    unsigned char packet[PACKET_BYTES];
    uint16_t sequence = htons(s->sequence++);
    uint32_t timestamp = htonl(s->timestamp);
    memset(packet, 0xd5, sizeof packet);
    packet[0] = 0x80; /* version 2 */
    packet[1] = 0;    /* PCMU */
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    ssrc = htonl(ssrc);
    memcpy(packet + 8, &ssrc, 4);
    s->timestamp += SAMPLES;
    if (sendto(s->socket, packet, sizeof packet, 0, (struct sockaddr *)&s->target, sizeof s->target) == PACKET_BYTES)
        (*sent)++;
}

/* Reads whatever is there until the given time. */
static void receive_until(int poller, int64_t until, int64_t *received)
{
    for (;;) {
        struct epoll_event ready[READY];
        char packet[2048];
        int64_t left = until - now_ns();
        if (left < 0)
            left = 0;
        struct timespec wait = {left / INT64_C(1000000000), left % INT64_C(1000000000)};
        int count = epoll_pwait2(poller, ready, READY, &wait, NULL);
        for (int i = 0; i < count; i++)
            while (recv(ready[i].data.fd, packet, sizeof packet, 0) > 0)
                (*received)++;
        if (count <= 0 && left == 0)
            return;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: rtp_load ADDRESS FIRST_PORT SECONDS < targets\n");
        return 2;
    }
    int first_port = atoi(argv[2]), seconds = atoi(argv[3]), count = 0, poller = epoll_create1(0);
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files); /* as many as we may; a bind that fails says the rest */

    char address[64];
    for (int port; count < MAX_STREAMS && scanf("%63s %d", address, &port) == 2; count++) {
        struct stream *s = &streams[count];
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(first_port + 2 * count)};
        s->target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        if (inet_pton(AF_INET, argv[1], &local.sin_addr) != 1 || inet_pton(AF_INET, address, &s->target.sin_addr) != 1)
            die("address");
        s->socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (s->socket < 0 || bind(s->socket, (struct sockaddr *)&local, sizeof local) < 0)
            die("bind");
        struct epoll_event event = {.events = EPOLLIN, .data.fd = s->socket};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, s->socket, &event) < 0)
            die("epoll_ctl");
    }

    int64_t sent = 0, received = 0, start = now_ns();
    for (int64_t slot = 0; slot < (int64_t)seconds * 50 * SLOTS; slot++) {
        for (int i = slot % SLOTS; i < count; i += SLOTS)
            send_packet(&streams[i], 0x53540000u + i, &sent);
        receive_until(poller, start + (slot + 1) * SLOT_NS, &received);
    }
    receive_until(poller, now_ns() + 300 * SLOT_NS, &received); /* what is still on its way */
    printf("{\"sent\":%lld,\"received\":%lld}\n", (long long)sent, (long long)received);
    return 0;
}
