/*
 * A stand-in for gpurun-agent, for the conformance test of transports: installs itself as
 * the real one does, says the magic line on `serve`, then does what lines on its stdin
 * say.
 *
 *   echo            give back every byte until EOF, then exit 0
 *   sink N          take N bytes, answer with their SHA-256
 *   source N        give N bytes of a fixed pattern
 *   slow N          give N bytes, but read nothing meanwhile for a second first
 *   stderr TEXT     TEXT on stderr, then "ok"
 *   exit N, kill N  end so
 *   env NAME        its value, or nothing
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/wire/preamble.h"

#define STEP ((size_t)64 << 10)

static void
say(const char *text)
{
    if (fd_write_all(STDOUT_FILENO, text, strlen(text)) == -1) {
        exit(1);
    }
}

static void
pattern(uint8_t *to, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)((at + i) * 2654435761U >> 13);
    }
}

static void
echo(void)
{
    static uint8_t data[STEP];
    ssize_t n;

    while ((n = read(STDIN_FILENO, data, sizeof data)) > 0) {
        if (fd_write_all(STDOUT_FILENO, data, (size_t)n) == -1) {
            exit(1);
        }
    }
    exit(0);
}

static void
sink(uint64_t left)
{
    static uint8_t data[STEP];
    struct sha256_ctx *c = sha256_new();
    struct sha256 h;
    char hex[SHA256_HEX_LEN + 1];

    while (left > 0) {
        ssize_t n = read(STDIN_FILENO, data, left < STEP ? (size_t)left : STEP);

        if (n <= 0) {
            exit(3);
        }
        sha256_update(c, data, (size_t)n);
        left -= (uint64_t)n;
    }
    sha256_final(c, &h);
    sha256_free(c);
    sha256_format(&h, hex);
    say(hex);
    say("\n");
}

static void
source(uint64_t total)
{
    static uint8_t data[STEP];

    for (uint64_t at = 0; at < total;) {
        size_t n = total - at < STEP ? (size_t)(total - at) : STEP;

        pattern(data, n, at);
        if (fd_write_all(STDOUT_FILENO, data, n) == -1) {
            exit(1);
        }
        at += n;
    }
}

/* One line, byte by byte: what follows belongs to the command. */
static bool
read_line(char *line, size_t size)
{
    size_t n = 0;
    char c;

    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c == '\n') {
            line[n] = '\0';
            return true;
        }
        if (n < size - 1) {
            line[n++] = c;
        }
    }
    return false;
}

static void
obey(const char *line)
{
    const char *arg = strchr(line, ' ');

    arg = arg == NULL ? "" : arg + 1;
    if (strncmp(line, "echo", 4) == 0) {
        echo();
    } else if (strncmp(line, "sink ", 5) == 0) {
        sink(strtoull(arg, NULL, 10));
    } else if (strncmp(line, "source ", 7) == 0) {
        source(strtoull(arg, NULL, 10));
    } else if (strncmp(line, "stderr ", 7) == 0) {
        (void)fprintf(stderr, "%s\n", arg);
        say("ok\n");
    } else if (strncmp(line, "exit ", 5) == 0) {
        exit(atoi(arg));
    } else if (strncmp(line, "kill ", 5) == 0) {
        (void)raise(atoi(arg));
    } else if (strncmp(line, "env ", 4) == 0) {
        const char *v = getenv(arg);

        say(v == NULL ? "" : v);
        say("\n");
    }
}

static int
serve(void)
{
    char line[512];

    say(PREAMBLE_READY);
    while (read_line(line, sizeof line)) {
        obey(line);
    }
    return 0;
}

/* As runner/DESIGN.md has it: out of bin/.new-<id> into bin/<hash>. */
static int
install_self(const char *hex)
{
    char exe[4096];
    char *slash;
    char *bin;
    char *to;
    struct buf b = BUF_INIT;
    struct sha256 h;
    char mine[SHA256_HEX_LEN + 1];
    struct err e;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (n <= 0 || file_read("/proc/self/exe", (size_t)256 << 20, &b, &e) != 0) {
        return 1;
    }
    exe[n] = '\0';
    sha256_of(b.data, b.len, &h);
    sha256_format(&h, mine);
    if (strcmp(mine, hex) != 0) {
        (void)fprintf(stderr, "gpurun-agent: damaged: %s\n", mine);
        return 1;
    }
    slash = strrchr(exe, '/');
    *slash = '\0';
    bin = xstrdup(exe);
    *strrchr(bin, '/') = '\0';
    to = xasprintf("%s/%s", bin, hex);
    if (rename(exe, to) == -1 && errno != ENOTEMPTY && errno != EEXIST) {
        perror("gpurun-agent: rename");
        return 1;
    }
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "install-self") == 0) {
        return install_self(argv[3]);
    }
    return serve();
}
