#include "runner/client/yuan.h"

#include "base/lang.h"

const char *
yuan_sign(void)
{
    return lang_utf8() ? "¥" : "CNY ";
}
