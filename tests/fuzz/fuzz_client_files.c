/*
 * The client's own files with any content (a power cut, an older or newer gpurun, an
 * editor): read whole, or refused with a message. And what a listing of them makes of it.
 */
#include <string.h>
#include <sys/stat.h>

#include "runner/client/config.h"
#include "runner/client/home.h"
#include "runner/client/hosts.h"
#include "runner/client/jobs.h"
#include "runner/client/receipts.h"
#include "tests/fuzz/scratch.h"

#define ID "jv42vq132aakp"

static struct home *home;

static void
home_gone(void)
{
    home_free(home);
}

static void
begin(void)
{
    static const char *const sub[] = {"hosts", "jobs", "receipts"};
    struct err e;

    must(home_open(&home, scratch(), &e) == 0);
    (void)atexit(home_gone);
    for (size_t i = 0; i < sizeof sub / sizeof sub[0]; i++) {
        char *path = path_join(scratch(), sub[i]);

        must(mkdir(path, 0700) == 0);
        free(path);
    }
}

static void
read_config(void)
{
    struct config *c = NULL;
    struct err e;

    if (config_open(&c, home, &e) != 0) {
        must(e.msg[0] != '\0');
        return;
    }
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        const char *v = config_get(c, k->name);

        must(v == NULL || k->check == NULL || k->check(v, &e) == 0 ||
             config_get_set(c, k->name) == NULL);
    }
    config_free(c);
}

static void
read_hosts(void)
{
    struct host_list all;
    struct host h;
    struct err e;

    if (hosts_load(home, "h", &h, &e) == 0) {
        char *where = host_where(&h);

        must(h.local || (h.address != NULL && h.address[0] != '-'));
        must(h.user == NULL || h.user[0] != '-');
        must(h.port >= 0 && h.port <= 65535);
        free(where);
        host_free(&h);
        must(hosts_list(home, true, &all, &e) == 0);
        host_list_free(&all);
    } else {
        must(e.msg[0] != '\0');
    }
}

static void
read_jobs(void)
{
    struct job_list all;
    struct job_record j;
    struct receipt *r = NULL;
    struct err e;

    job_record_init(&j);
    if (jobs_load(home, ID, &j, &e) == 0) {
        must(strcmp(j.id, ID) == 0 && j.host != NULL);
        job_record_free(&j);
        must(jobs_find(home, "@last", &j, &e) == 0);
        job_record_free(&j);
    }
    must(jobs_list(home, &all, &e) == 0);
    job_list_free(&all);
    if (receipts_load(home, ID, NULL, &r, &e) == 0) {
        receipt_free(r);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (home == NULL) {
        begin();
    }
    scratch_put("config", data, size);
    scratch_put("hosts/h", data, size);
    scratch_put("jobs/" ID, data, size);
    scratch_put("receipts/" ID, data, size);
    read_config();
    read_hosts();
    read_jobs();
    return 0;
}
