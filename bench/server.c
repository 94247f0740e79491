/*
 * The Runtime API that every client of the bench talks to, and never the bottleneck: a blocking thread a connection,
 * answers made once, bodies read and thrown away.
 *
 *   server EVENT_BYTES counted|chunked
 *
 * writes the port it listens on (of 127.0.0.1) as one line and serves until its standard input ends.
 *
 *   GET  .../invocation/next   a JSON document of EVENT_BYTES bytes; its request id counts up in its last 12 digits.
 *                              "chunked" sends it as one chunk, as Go's servers and so AWS's emulator do.
 *   POST anything              reads the body, counted or chunked with or without trailers, and answers 202.
 *   GET  /bench/first-bytes    one line for each chunked POST since the last such question: nanoseconds from before
 *                              the event was sent until the first byte of the first chunk was there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum { ROOM = 1 << 18, MOST_FIRST_BYTES = 1 << 16 };

static const char ACCEPTED[] =
    "HTTP/1.1 202 Accepted\r\n"
    "Content-Type: application/json\r\n"
    "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    "Content-Length: 16\r\n"
    "\r\n"
    "{\"status\":\"OK\"}\n";

static char *event;
static size_t event_size;
static int event_chunked;
static char head_format[1024];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long next_id;
static long long first_bytes[MOST_FIRST_BYTES];
static size_t first_byte_count;

typedef struct {
    int fd;
    long long event_sent; /* when the last event left; 0 when its first answering byte is no longer waited for */
    size_t at, end;       /* what of the room has been received and not been read */
    char room[ROOM + 1];
} Peer;

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Fill `event` with a list of small objects and one string that makes it as long as asked. */
static void make_event(size_t size) {
    static const char open[] = "{\"items\":[", middle[] = "],\"pad\":\"", close[] = "\"}";
    const size_t frame = sizeof open + sizeof middle + sizeof close - 3;
    if (size < frame) {
        fprintf(stderr, "server: an event has at least %zu bytes\n", frame);
        exit(2);
    }
    char *at = event = malloc(size + 128);
    at = stpcpy(at, open);
    size_t left = size - frame;
    for (unsigned n = 0; left >= 64; n++) {
        int written = sprintf(at, "%s{\"id\":%u,\"name\":\"item-%u\",\"on\":true,\"price\":%u.5}", n ? "," : "",
                              n % 1000000, n % 1000000, n % 1000);
        at += written;
        left -= (size_t)written;
    }
    at = stpcpy(at, middle);
    memset(at, 'x', left);
    stpcpy(at + left, close);
    event_size = size;
}

static void make_head(void) {
    int used = snprintf(head_format, sizeof head_format,
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-%%012llx\r\n"
        "Lambda-Runtime-Deadline-Ms: %lld\r\n"
        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:bench\r\n"
        "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1\r\n"
        "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
        ((long long)time(NULL) + 36000) * 1000);
    char *rest = head_format + used;
    size_t room = sizeof head_format - (size_t)used;
    if (event_chunked)
        snprintf(rest, room, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", event_size);
    else
        snprintf(rest, room, "Content-Length: %zu\r\n\r\n", event_size);
}

static int send_all(int fd, struct iovec *parts, size_t count) {
    while (count) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        while (count && (size_t)sent >= parts->iov_len) {
            sent -= (ssize_t)parts->iov_len;
            parts++, count--;
        }
        if (count) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= (size_t)sent;
        }
    }
    return 0;
}

static int send_event(Peer *peer) {
    char head[1024];
    pthread_mutex_lock(&lock);
    unsigned long long id = ++next_id;
    pthread_mutex_unlock(&lock);
    int used = snprintf(head, sizeof head, head_format, id);
    struct iovec parts[] = {{head, (size_t)used}, {event, event_size}, {"\r\n0\r\n\r\n", event_chunked ? 7 : 0}};
    peer->event_sent = now_ns();
    return send_all(peer->fd, parts, event_chunked ? 3 : 2);
}

/* Receive more, after what is there. */
static int receive(Peer *peer) {
    if (peer->at == peer->end) peer->at = peer->end = 0;
    if (peer->end == ROOM) {
        memmove(peer->room, peer->room + peer->at, peer->end - peer->at);
        peer->end -= peer->at;
        peer->at = 0;
    }
    ssize_t got = recv(peer->fd, peer->room + peer->end, ROOM - peer->end, 0);
    if (got <= 0) return -1;
    peer->end += (size_t)got;
    peer->room[peer->end] = 0;
    return 0;
}

/* Return the line that comes next, ended by NUL in place of its CRLF; NULL when the connection ended. */
static char *take_line(Peer *peer) {
    for (;;) {
        char *start = peer->room + peer->at;
        char *feed = memchr(start, '\n', peer->end - peer->at);
        if (feed) {
            peer->at = (size_t)(feed + 1 - peer->room);
            *(feed > start && feed[-1] == '\r' ? feed - 1 : feed) = 0;
            return start;
        }
        if (receive(peer)) return NULL;
    }
}

static int skip(Peer *peer, unsigned long long count) {
    while (count) {
        if (peer->at == peer->end && receive(peer)) return -1;
        size_t there = peer->end - peer->at;
        size_t taken = count < there ? (size_t)count : there;
        peer->at += taken;
        count -= taken;
    }
    return 0;
}

static void note_first_byte(Peer *peer) {
    if (!peer->event_sent) return;
    pthread_mutex_lock(&lock);
    first_bytes[first_byte_count++ % MOST_FIRST_BYTES] = now_ns() - peer->event_sent;
    pthread_mutex_unlock(&lock);
    peer->event_sent = 0;
}

static int skip_chunks(Peer *peer) {
    for (;;) {
        char *line = take_line(peer);
        if (!line) return -1;
        unsigned long long size = strtoull(line, NULL, 16);
        if (!size) break;
        if (peer->at == peer->end && receive(peer)) return -1;
        note_first_byte(peer);
        if (skip(peer, size + 2)) return -1;
    }
    for (char *line; (line = take_line(peer));)
        if (!*line) return 0;
    return -1;
}

static int send_first_bytes(Peer *peer) {
    pthread_mutex_lock(&lock);
    size_t count = first_byte_count < MOST_FIRST_BYTES ? first_byte_count : MOST_FIRST_BYTES;
    char *text = malloc(count * 24 + 1), *at = text, head[128];
    for (size_t n = 0; n < count; n++) at += sprintf(at, "%lld\n", first_bytes[n]);
    first_byte_count = 0;
    pthread_mutex_unlock(&lock);
    int used = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", (size_t)(at - text));
    struct iovec parts[] = {{head, (size_t)used}, {text, (size_t)(at - text)}};
    int failed = send_all(peer->fd, parts, 2);
    free(text);
    return failed;
}

static int answer(Peer *peer) {
    char *line = take_line(peer);
    if (!line) return -1;
    int is_get = !strncmp(line, "GET ", 4), is_bench = is_get && !strncmp(line + 4, "/bench/", 7), is_chunked = 0;
    unsigned long long length = 0;
    while ((line = take_line(peer)) && *line) {
        if (!strncasecmp(line, "Content-Length:", 15)) length = strtoull(line + 15, NULL, 10);
        if (!strncasecmp(line, "Transfer-Encoding:", 18)) is_chunked = 1;
        if (!strncasecmp(line, "Expect:", 7)) {
            struct iovec go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
            if (send_all(peer->fd, &go_on, 1)) return -1;
        }
    }
    if (!line || (is_chunked ? skip_chunks(peer) : skip(peer, length))) return -1;
    if (is_bench) return send_first_bytes(peer);
    if (is_get) return send_event(peer);
    struct iovec accepted = {(char *)ACCEPTED, sizeof ACCEPTED - 1};
    return send_all(peer->fd, &accepted, 1);
}

static void *serve(void *made) {
    Peer *peer = made;
    while (!answer(peer)) {}
    close(peer->fd);
    free(peer);
    return NULL;
}

static void *end_with_input(void *unused) {
    char byte;
    while (read(0, &byte, 1) > 0) {}
    (void)unused;
    exit(0);
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: server EVENT_BYTES counted|chunked\n");
        return 2;
    }
    event_chunked = !strcmp(words[2], "chunked");
    make_event(strtoul(words[1], NULL, 10));
    make_head();
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("server");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_with_input, NULL)) return 1;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Peer *peer = calloc(1, sizeof *peer);
        peer->fd = fd;
        if (pthread_create(&thread, NULL, serve, peer)) return 1;
        pthread_detach(thread);
    }
}
