#include "runner/client/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/lang.h"

/* One terminal per process, and its state is the kernel's, not ours. */
static struct {
    struct termios cooked;
    int fd;
    volatile int is_raw;
} terminal = {.fd = -1};

void
terminal_restore(void)
{
    if (terminal.is_raw) {
        terminal.is_raw = 0;
        (void)tcsetattr(terminal.fd, TCSADRAIN, &terminal.cooked);
    }
}

int
terminal_raw(int fd, struct err *e)
{
    struct termios raw;

    if (tcgetattr(fd, &terminal.cooked) == -1) {
        return err_set_sys(e, errno, "%s", _("stdin is no terminal (-t)"));
    }
    raw = terminal.cooked;
    cfmakeraw(&raw);
    if (terminal.fd == -1) {
        (void)atexit(terminal_restore);
    }
    terminal.fd = fd;
    if (tcsetattr(fd, TCSADRAIN, &raw) == -1) {
        return err_set_sys(e, errno, "%s", _("cannot set the terminal"));
    }
    terminal.is_raw = 1;
    return 0;
}

bool
terminal_size(int fd, uint16_t *cols, uint16_t *rows)
{
    struct winsize w;

    if (ioctl(fd, TIOCGWINSZ, &w) == -1 || w.ws_col == 0 || w.ws_row == 0) {
        return false;
    }
    *cols = w.ws_col;
    *rows = w.ws_row;
    return true;
}
