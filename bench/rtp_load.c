/* RTP load: one socket per stream, each sends a 20 ms PCMU packet every 20 ms and counts what comes back.
 *
 *   rtp_load ADDRESS FIRST_PORT SECONDS [SEALED START] < targets       targets: one "address port" per line, a stream each
 *
 * Every other stream, beginning with the first, sends what is in the file SEALED instead: packets of SEALED_BYTES, from
 * number START on. They are the same for all of these streams, which therefore have to have the same key. The others
 * count from START as well: who seals them must not see a number twice.
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

enum { MAX_STREAMS = 8192, PACKET_BYTES = 172, SEALED_BYTES = 182, SAMPLES = 160, SLOTS = 20, READY = 256 };
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

static void send_sealed(struct stream *s, FILE *sealed, long number, int64_t *sent)
{
    static unsigned char packet[SEALED_BYTES];
    static long kept = -1;
    if (kept != number) {
        if (fseek(sealed, number * SEALED_BYTES, SEEK_SET) < 0 || fread(packet, SEALED_BYTES, 1, sealed) != 1)
            die("sealed packets");
        kept = number;
    }
    if (sendto(s->socket, packet, sizeof packet, 0, (struct sockaddr *)&s->target, sizeof s->target) == SEALED_BYTES)
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
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: rtp_load ADDRESS FIRST_PORT SECONDS [SEALED START] < targets\n");
        return 2;
    }
    int first_port = atoi(argv[2]), seconds = atoi(argv[3]), count = 0, poller = epoll_create1(0);
    FILE *sealed = argc == 6 ? fopen(argv[4], "rb") : NULL;
    long start_packet = argc == 6 ? atol(argv[5]) : 0;
    if (argc == 6 && !sealed)
        die(argv[4]);
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files); /* as many as we may; a bind that fails says the rest */

    char address[64];
    for (int port; count < MAX_STREAMS && scanf("%63s %d", address, &port) == 2; count++) {
        struct stream *s = &streams[count];
        s->sequence = start_packet;
        s->timestamp = start_packet * SAMPLES;
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
            if (sealed && i % 2 == 0)
                send_sealed(&streams[i], sealed, start_packet + slot / SLOTS, &sent);
            else
                send_packet(&streams[i], 0x53540000u + i, &sent);
        receive_until(poller, start + (slot + 1) * SLOT_NS, &received);
    }
    receive_until(poller, now_ns() + 300 * SLOT_NS, &received); /* what is still on its way */
    printf("{\"sent\":%lld,\"received\":%lld}\n", (long long)sent, (long long)received);
    return 0;
}
