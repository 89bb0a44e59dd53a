#include "runner/job/setupenv.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* A name, or with '_' at its end the beginning of many. */
static const char *const steering[] = {
    "PATH",       "HOME",         "VIRTUAL_ENV",      "LD_LIBRARY_PATH",
    "LD_PRELOAD", "PYENV_",       "CONDA_",           "MAMBA_",
    "PIP_",       "UV_",          "PYTHONPATH",       "PYTHONHOME",
    "CC",         "CXX",          "PYTHONNOUSERSITE", "PKG_CONFIG_PATH",
    "CFLAGS",     "CXXFLAGS",     "CPPFLAGS",         "LDFLAGS",
    "CPATH",      "LIBRARY_PATH", "CMAKE_",           "NVCC_",
    "CUDA_HOME",  "CUDA_PATH",    "CUDAHOSTCXX",      "TORCH_CUDA_ARCH_LIST",
};

static bool
is_steering(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof steering / sizeof steering[0]; i++) {
        size_t n = strlen(steering[i]);

        if (steering[i][n - 1] == '_' ? len > n : len == n) {
            if (strncmp(name, steering[i], n) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool
is_named(const char *name, size_t len, const char *command)
{
    const char *at = command;

    while ((at = strchr(at, '$')) != NULL) {
        at += at[1] == '{' ? 2 : 1;
        if (strncmp(at, name, len) == 0 && at[len] != '_' &&
            !isalnum((unsigned char)at[len])) {
            return true;
        }
    }
    return false;
}

bool
setupenv_counts(const char *assignment, const char *command)
{
    size_t len = strcspn(assignment, "=");

    return is_steering(assignment, len) || is_named(assignment, len, command);
}
