#include "runner/cli/pypackage.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"

/*
 * Modules whose package has another name; not where only `-` stands for `_`, which pip
 * takes alike. NULL: a part of Python itself. A longer name goes before a shorter.
 */
static const struct {
    const char *module;
    const char *package;
} known[] = {
    {"Bio", "biopython"},
    {"Crypto", "pycryptodome"},
    {"IPython", "ipython"},
    {"Levenshtein", "python-Levenshtein"},
    {"MySQLdb", "mysqlclient"},
    {"OpenSSL", "pyOpenSSL"},
    {"PIL", "pillow"},
    {"_bz2", NULL},
    {"_ctypes", NULL},
    {"_curses", NULL},
    {"_lzma", NULL},
    {"_sqlite3", NULL},
    {"_ssl", NULL},
    {"_tkinter", NULL},
    {"absl", "absl-py"},
    {"attr", "attrs"},
    {"bs4", "beautifulsoup4"},
    {"cairo", "pycairo"},
    {"community", "python-louvain"},
    {"cv2", "opencv-python"},
    {"dateutil", "python-dateutil"},
    {"distutils", "setuptools"},
    {"docx", "python-docx"},
    {"dotenv", "python-dotenv"},
    {"faiss", "faiss-cpu"},
    {"fitz", "PyMuPDF"},
    {"git", "GitPython"},
    {"gi", "PyGObject"},
    {"google.protobuf", "protobuf"},
    {"hydra", "hydra-core"},
    {"jose", "python-jose"},
    {"jwt", "PyJWT"},
    {"magic", "python-magic"},
    {"mpl_toolkits", "matplotlib"},
    {"multipart", "python-multipart"},
    {"open_clip", "open-clip-torch"},
    {"ot", "POT"},
    {"pkg_resources", "setuptools"},
    {"pptx", "python-pptx"},
    {"psycopg2", "psycopg2-binary"},
    {"pynvml", "nvidia-ml-py"},
    {"pywt", "PyWavelets"},
    {"rest_framework", "djangorestframework"},
    {"ruamel", "ruamel.yaml"},
    {"serial", "pyserial"},
    {"skimage", "scikit-image"},
    {"sklearn", "scikit-learn"},
    {"skopt", "scikit-optimize"},
    {"slugify", "python-slugify"},
    {"tkinter", NULL},
    {"umap", "umap-learn"},
    {"usb", "pyusb"},
    {"websocket", "websocket-client"},
    {"yaml", "PyYAML"},
    {"zmq", "pyzmq"},
};

/* Name spaces that many packages share: google.cloud.storage is google-cloud-storage. */
static const char *const shared[] = {"google", "azure", "zope"};

/* Is it that module, or one inside of it? */
static bool
is_in(const char *module, const char *name)
{
    size_t n = strlen(name);

    return strncmp(module, name, n) == 0 && (module[n] == '\0' || module[n] == '.');
}

char *
pypackage_of(const char *module)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (is_in(module, known[i].module)) {
            return known[i].package == NULL ? NULL : xstrdup(known[i].package);
        }
    }
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        if (is_in(module, shared[i])) {
            char *package = xstrdup(module);

            for (char *p = package; *p != '\0'; p++) {
                *p = *p == '.' ? '-' : *p;
            }
            return package;
        }
    }
    return xasprintf("%.*s", (int)strcspn(module, "."), module);
}
