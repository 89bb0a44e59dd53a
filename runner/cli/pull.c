#include "runner/cli/pull.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/context.h"
#include "runner/cli/launch.h"
#include "runner/cli/out.h"
#include "runner/cli/request.h"
#include "runner/client/config.h"
#include "runner/client/datasets.h"
#include "runner/client/jobs.h"
#include "runner/client/keepings.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define URL_MAX 4096

/*
 * $1 the URL, $2 its SHA-256 or nothing, $3 whether to unpack. What cannot be fetched is
 * an error with the words of who tried; a file half there is none at all.
 *
 * What is cut goes on where it was cut, up to 20 times: as far as the server says by its
 * If-Range that it is the same file still, else it begins anew. (curl itself tries again
 * only what had not begun, and does not ask; wget does both, and does not ask either.)
 */
static const char script[] =
    "name=${1%%[?#]*}\n"
    "name=${name##*/}\n"
    "case $name in '' | . | .. | -*) name=data ;; esac\n"
    "left=20\n"
    "tag=\n"
    "if command -v curl >/dev/null; then\n"
    "    heads=$(mktemp) || exit\n"
    "    until curl -gfsSL --retry 5 -C - ${tag:+-H \"If-Range: $tag\"} -D \"$heads\" -o "
    "\"$name\" \"$1\"; do\n"
    "        rc=$?\n"
    "        left=$((left - 1))\n"
    "        case $rc in\n"
    "        18 | 28 | 52 | 55 | 56 | 92) ;;\n"
    "        33) tag= && rm -f \"$name\" ;;\n"
    "        *) exit $rc ;;\n"
    "        esac\n"
    "        [ $left -gt 0 ] || exit $rc\n"
    "        [ -n \"$tag\" ] || tag=$(tr -d '\\r' <\"$heads\" | sed -n "
    "'s/^[Ee][Tt][Aa][Gg]: *\\(\"[^\"]*\"\\)$/\\1/p' | tail -n 1)\n"
    "        [ -n \"$tag\" ] || tag=$(tr -d '\\r' <\"$heads\" | sed -n "
    "'s/^[Ll]ast-[Mm]odified: *//p' | tail -n 1)\n"
    "        [ -n \"$tag$2\" ] || rm -f \"$name\"\n"
    "        sleep 1\n"
    "    done\n"
    "elif command -v wget >/dev/null; then\n"
    "    wget -nv -t 20 -O \"$name\" \"$1\" >&2 || exit\n"
    "elif command -v python3 >/dev/null; then\n"
    "    python3 -c 'import http.client, sys, time, urllib.request as u\n"
    "url, name = sys.argv[1:]\n"
    "tag, left = \"\", 20\n"
    "def fetch(f):\n"
    "    global tag\n"
    "    q = u.Request(url)\n"
    "    if f.tell() and tag:\n"
    "        q.add_header(\"Range\", \"bytes=%d-\" % f.tell())\n"
    "        q.add_header(\"If-Range\", tag)\n"
    "    with u.urlopen(q) as r:\n"
    "        if getattr(r, \"status\", None) != 206:\n"
    "            f.seek(0)\n"
    "            f.truncate()\n"
    "        tag = r.headers.get(\"ETag\") or \"W/\"\n"
    "        if tag.startswith(\"W/\"): tag = r.headers.get(\"Last-Modified\") or \"\"\n"
    "        while True:\n"
    "            b = r.read(1 << 20)\n"
    "            if not b: break\n"
    "            f.write(b)\n"
    "        if getattr(r, \"length\", 0): raise OSError(\"it ended early\")\n"
    "with open(name, \"wb\") as f:\n"
    "    while True:\n"
    "        try:\n"
    "            fetch(f)\n"
    "            break\n"
    "        except (OSError, http.client.HTTPException) as e:\n"
    "            left -= 1\n"
    "            if isinstance(e, u.HTTPError) or not f.tell() or not left: "
    "sys.exit(str(e))\n"
    "        time.sleep(1)' \"$1\" \"$name\" || exit\n"
    "else\n"
    "    echo 'there is no curl, wget or python3 on this host' >&2\n"
    "    exit 1\n"
    "fi\n"
    "if [ -n \"$2\" ]; then\n"
    "    printf '%s  %s\\n' \"$2\" \"$name\" | sha256sum -c - >&2 || exit\n"
    "fi\n"
    "[ \"$3\" = unpack ] || exit 0\n"
    "case $(head -c 2 <\"$name\" | tr -d '\\0') in\n"
    "PK) python3 -m zipfile -e \"$name\" . || exit ;;\n"
    "*) tar --no-same-owner -xf \"./$name\" || exit ;;\n"
    "esac\n"
    "rm -f \"$name\"\n";

/* As pages give it, in small letters or capitals. */
static bool
parse_sum(const char *text, uint8_t sum[SHA256_LEN])
{
    char small[2 * SHA256_LEN + 1];
    size_t n = strlen(text);

    if (n >= sizeof small) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        small[i] = (char)tolower((unsigned char)text[i]);
    }
    return hex_parse(small, n, sum, SHA256_LEN);
}

/* For the script: in small letters, nothing for none; malloc'ed. */
static char *
sum_word(const struct pull *p)
{
    uint8_t sum[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1] = "";

    if (p->sha256 != NULL && parse_sum(p->sha256, sum)) {
        hex_format(sum, sizeof sum, hex);
    }
    return xstrdup(hex);
}

int
pull_check(const struct pull *p, struct err *e)
{
    static const char *const schemes[] = {"http://", "https://", "ftp://"};
    uint8_t sum[SHA256_LEN];
    bool known = false;
    char shown[200];

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t n = strlen(schemes[i]);

        known = known || (strncmp(p->url, schemes[i], n) == 0 && p->url[n] != '\0' &&
                          p->url[n] != '/');
    }
    if (!known || strpbrk(p->url, " \t\r\n") != NULL || strlen(p->url) > URL_MAX) {
        return err_set(e, ERR_INVALID,
                       _("'%s' is no URL that a host can fetch: http://…, https://… or "
                         "ftp://… (`gpurun data put` sends a folder of this machine)"),
                       text_escape_to(shown, sizeof shown, p->url));
    }
    if (p->sha256 != NULL && !parse_sum(p->sha256, sum)) {
        return err_set(e, ERR_INVALID, "%s", _("--sha256 wants 64 hex digits"));
    }
    return 0;
}

/* Before anything is paid for. */
static int
check_free(const struct pull *p, struct session *s, struct err *e)
{
    struct snap_infos l = {NULL, 0};
    int rc = datasets_list(s, &l, e);

    if (rc == 0 && datasets_called(&l, NULL, p->name) != NULL) {
        rc = err_set(e, ERR_EXISTS,
                     _("there is a data set '%s' on %s already: take another name, or "
                       "`gpurun data rm %s --host %s` first"),
                     p->name, p->host, p->name, p->host);
    }
    snap_infos_free(&l);
    return rc;
}

/* What listings show: as it was asked for, and not how it is done. malloc'ed */
static char *
title_of(const struct pull *p)
{
    char title[SPEC_TITLE_MAX + 1];

    (void)snprintf(title, sizeof title, "gpurun data pull %s %s", p->name, p->url);
    return xstrdup(title);
}

static int
make_request(struct cli *c, const struct config *cfg, const struct pull *p,
             struct run_request *out, struct err *e)
{
    char *rest[] = {xstrdup("sh"),
                    xstrdup("-c"),
                    xstrdup(script),
                    xstrdup("gpurun-data-pull"),
                    xstrdup(p->url),
                    sum_word(p),
                    xstrdup(p->unpack ? "unpack" : "")};
    struct run_options o = {.host = p->host,
                            .cpu = "1",
                            .dir = "/", /* nothing is sent */
                            .max_cost = p->max_cost,
                            .max_time = p->max_time};
    struct words w = {
        .rest = rest, .n_rest = sizeof rest / sizeof rest[0], .dashes = true};
    int rc = request_make(out, c, cfg, &o, &w, e);

    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        free(rest[i]);
    }
    if (rc != 0) {
        return -1;
    }
    out->ships = false;
    out->for_data = true;
    out->spec.stdin_mode = SPEC_STDIN_NULL;
    free(out->spec.cwd);
    out->spec.cwd = xstrdup("");
    free(out->spec.name);
    out->spec.name = xasprintf("pull-%s", out->spec.job + JOB_ID_LEN - 4);
    out->spec.title = title_of(p);
    return 0;
}

/* What keeping the job's snapshot cost until now is posted, as for any that is removed.
 */
static int
give_up(struct client *cl, struct session *s, const char *snapshot, const char *job,
        struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_RM);
    struct snap_info info;
    bool there;
    int rc;

    rec_add(req, "snapshot", snapshot);
    rc = datasets_ask(s, req, &info, e);
    rec_free(req);
    if (rc != 0) {
        return -1;
    }
    snap_info_free(&info);
    return keepings_fetch(cl, s, job, &there, e);
}

static int
keep(struct cli *c, struct client *cl, const struct pull *p, const char *job,
     struct snap_info *out, struct err *e)
{
    struct rec *req = msg_request_new(VERB_DATA_PUT);
    struct session *s = NULL;
    struct job_record r;
    char id[JOB_ID_LEN + 1];
    struct err why;
    int rc = -1;

    random_id("s", id);
    job_record_init(&r);
    if (jobs_load(c->home, job, &r, e) != 0) {
        goto out;
    }
    if (r.snapshot[0] == '\0') {
        err_set(e, ERR_SYSTEM, _("what job %s fetched was not kept: %s"), job,
                r.phrase != NULL ? r.phrase : _("the host does not say why"));
        goto out;
    }
    rec_add(req, "snapshot", id);
    rec_add(req, "name", p->name);
    rec_add(req, "from", r.snapshot);
    if (context_session(cl, p->host, CONTEXT_PATIENCE_NS, &s, e) != 0 ||
        datasets_ask(s, req, out, e) != 0) {
        (void)err_wrap(
            e,
            _("it is fetched, and kept as snapshot %s (`gpurun snap rm` gives it "
              "up), but no data set was made of it"),
            r.snapshot);
        goto out;
    }
    rc = 0;
    if (give_up(cl, s, r.snapshot, job, &why) != 0) {
        say(c, _("the snapshot it came by stays until `gpurun snap rm %s`: %s"),
            r.snapshot, why.msg);
    }

out:
    session_close(s);
    job_record_free(&r);
    rec_free(req);
    return rc;
}

/* The job has ended with that code, its own: no failure of ours, which has been told. */
static bool
has_failed(const struct home *home, const char *job, int code)
{
    struct job_record r;
    struct err none;
    bool ended;

    job_record_init(&r);
    ended = jobs_load(home, job, &r, &none) == 0 && r.final;
    job_record_free(&r);
    return ended && (code < CLI_USAGE || code > CLI_LOST);
}

static int
fetch_it(struct cli *c, struct client *cl, const struct config *cfg, const struct pull *p,
         struct snap_info *out, struct err *e)
{
    struct session *s = NULL;
    struct run_request r;
    int rc = -1;

    if (make_request(c, cfg, p, &r, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_session(cl, p->host, CONTEXT_PATIENCE_NS, &s, e) != 0 ||
        check_free(p, s, e) != 0) {
        goto out;
    }
    session_close(s);
    s = NULL;
    rc = launch(c, cl, cfg, &r, false, e);
    if (rc == 0) {
        c->stage = STAGE_CHANGED;
        rc = keep(c, cl, p, r.spec.job, out, e);
    } else if (rc > 0 && has_failed(c->home, r.spec.job, rc)) {
        c->stage = STAGE_CHANGED;
        rc = err_set(e, ERR_SYSTEM,
                     _("%s was not fetched by %s (exit code %d, see above); no data set "
                       "was made"),
                     p->url, p->host, rc);
    }

out:
    session_close(s);
    request_free(&r);
    return rc;
}

int
pull_run(struct cli *c, const struct pull *p, struct snap_info *out, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct config *cfg = NULL;
    int rc = -1;

    if (config_open(&cfg, c->home, e) == 0 && context_open(&cl, c, e) == 0) {
        rc = fetch_it(c, &cl, cfg, p, out, e);
    }
    context_close(&cl);
    config_free(cfg);
    return rc;
}
