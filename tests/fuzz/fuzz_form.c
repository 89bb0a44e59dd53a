/* A peer's error, its form above all: said or left, never formatted, never too long. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/form.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *form = xmalloc(size + 1);
    char small[24];
    struct err e;

    memcpy(form, data, size);
    form[size] = '\0';
    err_told(&e, ERR_BUSY, "English", form);
    must(strcmp(e.msg, "English") == 0); /* no catalogue: it knows no format */
    must(strlen(e.form) < sizeof e.form);
    must(!form_tell(form, small, sizeof small));
    must(strlen(small) < sizeof small);
    form_wrap(e.form, "some %s\x1fpart");
    must(strlen(e.form) < sizeof e.form);
    free(form);
    return 0;
}
