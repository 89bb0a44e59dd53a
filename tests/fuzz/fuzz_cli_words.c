/*
 * What people type, one word a line: a whole command line, and each word as each of the
 * little languages there are. Refused with a message, or within its bounds.
 */
#include <string.h>

#include "base/clock.h"
#include "runner/cli/cli.h"
#include "runner/cli/outs.h"
#include "runner/cli/request.h"
#include "runner/cli/script.h"
#include "runner/client/hosts.h"
#include "runner/job/device.h"
#include "runner/job/state.h"
#include "tests/fuzz/fuzz.h"

#define WORDS_MAX 64

static void
as_target(const char *word)
{
    struct host h;
    char *remark = NULL;
    struct err e;

    host_init(&h);
    if (host_parse_target(&h, word, &remark, &e) == 0) {
        must(h.address != NULL && h.address[0] != '\0' && h.address[0] != '-');
        must(h.user == NULL || (h.user[0] != '-' && strpbrk(h.user, " \n") == NULL));
        must(h.port >= 0 && h.port <= 65535);
    } else {
        must(h.address == NULL && remark == NULL);
    }
    (void)!host_add_price(&h, word, &e);
    (void)!host_add_env(&h, word, &e);
    free(remark);
    host_free(&h);
}

static void
as_path(const char *word, const char *cwd)
{
    char *out = NULL;
    struct err e;

    if (out_normalize("/root/of/it", cwd, word, &out, &e) == 0) {
        char *way = script_way(cwd, out);

        must(out[0] != '/' && strcmp(out, "..") != 0 && strncmp(out, "../", 3) != 0);
        must(strstr(out, "/../") == NULL);
        free(way);
        free(out);
    }
}

static void
as_all(const char *word)
{
    struct device_want want;
    struct port_want port;
    int64_t wall_ns;
    int signo;
    struct err e;

    as_target(word);
    as_path(word, "");
    as_path(word, "a/b");
    if (device_want_parse(&want, word, &e) == 0) {
        must(want.count >= 1);
    }
    if (device_want_parse_gpu(&want, word, &e) == 0) {
        must(want.count >= 1 && strcmp(want.device_class, "gpu") == 0);
    }
    if (request_parse_port(word, &port, &e) == 0) {
        must(port.remote != 0);
    }
    if (job_signal_parse(word, &signo, &e) == 0) {
        must(signo >= 1 && signo <= 64);
    }
    (void)!clock_parse_moment(word, true, &wall_ns, &e);
    (void)!clock_parse_moment(word, false, &wall_ns, &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t) "gpurun"};
    struct buf b = BUF_INIT;
    struct parsed p;
    struct err e;
    char *save = NULL;
    int argc = 1;

    buf_add(&b, data, size);
    (void)buf_str(&b);
    for (char *w = strtok_r((char *)b.data, "\n", &save); w != NULL && argc <= WORDS_MAX;
         w = strtok_r(NULL, "\n", &save)) {
        argv[argc++] = w;
    }
    for (int i = 1; i < argc; i++) {
        as_all(argv[i]);
    }
    if (cli_parse(&p, argc, argv, &e) == 0) {
        must(p.g.help || p.command == NULL || p.w.n >= p.command->min_words ||
             p.command->grammar == GRAMMAR_SCRIPT);
    } else {
        must(e.code == ERR_INVALID && e.msg[0] != '\0');
    }
    parsed_free(&p);
    buf_free(&b);
    return 0;
}
