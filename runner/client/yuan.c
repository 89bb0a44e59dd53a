#include "runner/client/yuan.h"

#include <langinfo.h>
#include <string.h>

const char *
yuan_sign(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "¥" : "CNY ";
}
