/* floor: what the kernel itself costs. Accepts, reads one head, dials a fixed origin, relays; no policy, no log.
 * A head that starts with "CONNECT refused" is answered 403 and closed; any other CONNECT gets 200 and a tunnel; any
 * other head goes to the origin as it came. One thread, epoll, one buffer for all; a direction that fills it twice in
 * a row moves on to splice. Usage: floor LISTEN_PORT ORIGIN_PORT (127.0.0.1 both). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUF = 65536, PIPE = 1 << 20 };
struct side { int fd, full, pipe[2]; size_t piped; char *held; size_t held_len; struct side *peer; int head, eof; uint32_t armed; };
static char buf[BUF];
static int ep, origin_port;

static void arm(struct side *s, uint32_t want, int op) {
    struct epoll_event e = { .events = want, .data.ptr = s };
    if (op == EPOLL_CTL_ADD || s->armed != want) { s->armed = want; epoll_ctl(ep, op, s->fd, &e); }
}
static struct sockaddr_in at(int port) {
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}
static void end(struct side *s) {
    struct side *p = s->peer;
    for (struct side *x = s; x; x = x == s ? p : NULL) {
        close(x->fd);
        if (x->pipe[0] > 0) { close(x->pipe[0]); close(x->pipe[1]); }
        free(x->held);
        x->fd = -1;
    }
    free(s); free(p);
}
static int put(struct side *to, const char *b, size_t n) { /* writes, keeps the rest; 0 = would block */
    ssize_t w = write(to->fd, b, n);
    if (w < 0 && errno != EAGAIN) return -1;
    if (w < 0) w = 0;
    if ((size_t)w == n) return 1;
    to->held = malloc(n - w); memcpy(to->held, b + w, n - w); to->held_len = n - w;
    arm(to, EPOLLOUT, EPOLL_CTL_MOD);
    return 0;
}
static int drain(struct side *from) { /* pipe -> peer */
    while (from->piped) {
        ssize_t n = splice(from->pipe[0], NULL, from->peer->fd, NULL, from->piped, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n < 0) { if (errno != EAGAIN) return -1; arm(from->peer, EPOLLOUT, EPOLL_CTL_MOD); arm(from, 0, EPOLL_CTL_MOD); return 0; }
        from->piped -= n;
    }
    return 1;
}
static int dial(struct side *c) {
    struct sockaddr_in a = at(origin_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (void *)&a, sizeof a) < 0 && errno != EINPROGRESS) { close(fd); return -1; }
    struct side *o = calloc(1, sizeof *o);
    o->fd = fd; o->peer = c; c->peer = o;
    arm(o, EPOLLIN, EPOLL_CTL_ADD);
    return 0;
}
static int ready(struct side *s, uint32_t ev) {
    if (s->held && (ev & EPOLLOUT)) {
        char *h = s->held; size_t n = s->held_len;
        s->held = NULL;
        int r = put(s, h, n);
        free(h);
        if (r <= 0) return r;
    }
    if (ev & EPOLLOUT) {
        if (s->peer && s->peer->piped) { int r = drain(s->peer); if (r <= 0) return r; }
        arm(s, EPOLLIN, EPOLL_CTL_MOD);
        if (s->peer) arm(s->peer, EPOLLIN, EPOLL_CTL_MOD);
    }
    if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR))) return 0;
    if (s->peer && s->full >= 2) {
        if (s->pipe[0] <= 0) { if (pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC)) return -1; fcntl(s->pipe[0], F_SETPIPE_SZ, PIPE); }
        ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, PIPE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n <= 0) return n < 0 && errno == EAGAIN ? 0 : -1;
        s->piped += n;
        return drain(s) < 0 ? -1 : 0;
    }
    ssize_t n = read(s->fd, buf, BUF);
    if (n < 0) return errno == EAGAIN ? 0 : -1;
    if (n == 0) return -1;
    if (!s->peer) {
        if (!memcmp(buf, "CONNECT refused", 15)) { static const char no[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"; return write(s->fd, no, sizeof no - 1), -1; }
        if (dial(s)) return -1;
        if (!memcmp(buf, "CONNECT ", 8)) { static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n"; return put(s, ok, sizeof ok - 1) < 0 ? -1 : 0; }
    }
    s->full = n == BUF ? s->full + 1 : 0;
    int r = put(s->peer, buf, n);
    if (r == 0) arm(s, 0, EPOLL_CTL_MOD);
    return r < 0 ? -1 : 0;
}
int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: floor LISTEN_PORT ORIGIN_PORT\n"), 64;
    origin_port = atoi(argv[2]);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in a = at(atoi(argv[1]));
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(l, (void *)&a, sizeof a) || listen(l, 4096)) return perror("floor"), 1;
    ep = epoll_create1(0);
    struct side ls = { .fd = l };
    arm(&ls, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event e[256];
        int n = epoll_wait(ep, e, 256, -1);
        for (int i = 0; i < n; i++) {
            struct side *s = e[i].data.ptr;
            if (s == &ls) {
                int fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct side *c = calloc(1, sizeof *c);
                c->fd = fd;
                arm(c, EPOLLIN, EPOLL_CTL_ADD);
            } else if (ready(s, e[i].events) < 0) {
                struct side *p = s->peer;
                for (int j = i + 1; j < n; j++) if (e[j].data.ptr == p) { e[j] = e[--n]; break; } /* freed below */
                end(s);
            }
        }
    }
}
