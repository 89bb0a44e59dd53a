#include "runner/cli/out.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "meter/refuse.h"
#include "runner/client/yuan.h"

#define DEFAULT_COLUMNS 80
#define NS_PER_S        1000000000LL

/* One write, so that lines of several processes do not mix. */
static void
write_stderr(const struct buf *b)
{
    (void)!fd_write_all(STDERR_FILENO, b->data, b->len);
}

static void
add_line(struct buf *line, const char *text)
{
    buf_add_str(line, "gpurun: ");
    text_escape(line, text, strlen(text));
}

static void
say_line(const char *text)
{
    struct buf line = BUF_INIT;

    add_line(&line, text);
    buf_add_str(&line, "\n");
    write_stderr(&line);
    buf_free(&line);
}

/* Less the name by which programs know a refusal. */
static void
say_words(const char *text)
{
    char *words = xasprintf("%.*s", (int)refuse_words_len(text), text);

    say_line(words);
    free(words);
}

static void vsay(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);

static void
vsay(const char *fmt, va_list ap)
{
    struct buf text = BUF_INIT;

    buf_vprintf(&text, fmt, ap);
    say_words(buf_str(&text));
    buf_free(&text);
}

void
say(const struct cli *c, const char *fmt, ...)
{
    va_list ap;

    if (!c->g.quiet) {
        va_start(ap, fmt);
        vsay(err_words(fmt), ap);
        va_end(ap);
    }
}

void
say_more(const struct cli *c, const char *fmt, ...)
{
    va_list ap;

    if (c->g.verbose) {
        va_start(ap, fmt);
        vsay(err_words(fmt), ap);
        va_end(ap);
    }
}

char *
say_later(const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    struct buf line = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, err_words(fmt), ap);
    va_end(ap);
    add_line(&line, buf_str(&text));
    buf_free(&text);
    return buf_steal(&line);
}

void
say_error(const struct cli *c, const struct err *e, int exit_code)
{
    struct buf line = BUF_INIT;
    struct json_writer w;

    if (!c->g.json) {
        say_words(e->msg);
        return;
    }
    w = json_to(&line);
    json_obj(&w);
    json_key(&w, "error");
    json_obj(&w);
    json_kstr(&w, "code", err_code_name(e->code));
    json_kint(&w, "exit", exit_code);
    json_kstr(&w, "message", e->msg);
    if (refuse_of(e) != REFUSE_NONE) {
        json_kstr(&w, "refusal", refuse_name(refuse_of(e)));
    }
    json_obj_end(&w);
    json_obj_end(&w);
    buf_add_str(&line, "\n");
    write_stderr(&line);
    buf_free(&line);
}

int
out_write(const struct buf *b, struct err *e)
{
    if (fd_write_all(STDOUT_FILENO, b->data, b->len) != 0) {
        return err_set_sys(e, errno, "%s", _("cannot write to stdout"));
    }
    return 0;
}

bool
out_stdout_closed(const struct err *e)
{
    return e->code == ERR_SYSTEM && e->sys_errno == EPIPE;
}

bool
out_is_terminal(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) == 1 && term != NULL && term[0] != '\0' &&
           strcmp(term, "dumb") != 0;
}

int
out_columns_of(int fd)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return DEFAULT_COLUMNS;
}

int
out_columns(void)
{
    return out_columns_of(STDERR_FILENO);
}

/* ---- money and time ---- */

const char *
out_fen(int64_t fen, char out[OUT_MONEY_MAX])
{
    char text[MONEY_TEXT_MAX];

    money_format_fen(fen, text);
    (void)snprintf(out, OUT_MONEY_MAX, "%s%s%s", fen < 0 ? "-" : "", yuan_sign(),
                   text + (fen < 0));
    return out;
}

const char *
out_price(int64_t uyuan, const char *per, char out[OUT_MONEY_MAX])
{
    char text[MONEY_TEXT_MAX];

    money_format_uyuan(uyuan, text);
    (void)snprintf(out, OUT_MONEY_MAX, "%s%s/%s", yuan_sign(), text, per);
    return out;
}

char *
out_devices(const char *device_class, const char *type, int64_t n)
{
    return strcmp(device_class, "cpu") == 0
               ? xasprintf(NP_("%" PRId64 " core", "%" PRId64 " cores", n), n)
               : xasprintf("%" PRId64 "x %s", n, type);
}

const char *
out_time(int64_t wall_ns, char out[OUT_TIME_MAX])
{
    char text[CLOCK_TEXT_MAX];

    clock_format_local(wall_ns, text);
    (void)snprintf(out, OUT_TIME_MAX, "%s", text);
    return out;
}

static void
format_span(int64_t s, char *out, size_t size)
{
    if (s >= 2 * 86400) {
        (void)snprintf(out, size, _("%lld d %lld h"), (long long)(s / 86400),
                       (long long)(s % 86400 / 3600));
    } else if (s >= 2 * 3600) {
        (void)snprintf(out, size, _("%lld h %lld min"), (long long)(s / 3600),
                       (long long)(s % 3600 / 60));
    } else if (s >= 120) {
        (void)snprintf(out, size, _("%lld min"), (long long)(s / 60));
    } else {
        (void)snprintf(out, size, _("%lld s"), (long long)s);
    }
}

const char *
out_when(int64_t wall_ns, int64_t now_wall_ns, char out[OUT_TIME_MAX])
{
    int64_t s = (wall_ns - now_wall_ns) / NS_PER_S;
    char span[OUT_TIME_MAX - 16];

    format_span(s < 0 ? -s : s, span, sizeof span);
    (void)snprintf(out, OUT_TIME_MAX, s < 0 ? _("%s ago") : _("in %s"), span);
    return out;
}

/* ---- prose ---- */

static void
pad(struct buf *out, int n)
{
    for (; n > 0; n--) {
        buf_add_str(out, " ");
    }
}

void
out_fold(struct buf *out, const char *text, int columns, int indent)
{
    int at = indent;

    while (*text != '\0') {
        size_t len = strcspn(text, " \n");
        char *word = xmemdup(text, len + 1);
        int width;

        word[len] = '\0';
        width = text_width(word);
        if (at > indent && at + 1 + width > columns) {
            buf_add_str(out, "\n");
            pad(out, indent);
            at = indent;
        } else if (at > indent && len > 0) {
            buf_add_str(out, " ");
            at++;
        }
        buf_add(out, word, len);
        at += width;
        free(word);
        text += len;
        if (*text == '\n') {
            buf_add_str(out, "\n");
            pad(out, text[1] != '\0' && text[1] != '\n' ? indent : 0);
            at = indent;
        }
        text += *text != '\0';
    }
}

void
out_page_row_raw(struct buf *out, int label_columns, const char *label, const char *text)
{
    buf_add_str(out, label);
    pad(out, label_columns - text_width(label));
    out_fold(out, text, OUT_PAGE_COLUMNS, label_columns);
    buf_add_str(out, "\n");
}

void
out_page_row(struct buf *out, int label_columns, const char *label, const char *text)
{
    struct buf b = BUF_INIT;

    if (text == NULL || text[0] == '\0') {
        return;
    }
    text_escape(&b, text, strlen(text));
    out_page_row_raw(out, label_columns, label, buf_str(&b));
    buf_free(&b);
}
