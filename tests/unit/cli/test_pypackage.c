#include "tests/unit/unit.h"

#include "runner/cli/pypackage.h"

static void
package__is_what_pip_calls_it(void **state)
{
    static const struct {
        const char *module, *package;
    } cases[] = {
        {"cv2", "opencv-python"},
        {"PIL", "pillow"},
        {"PIL.Image", "pillow"},
        {"sklearn.svm", "scikit-learn"},
        {"yaml", "PyYAML"},
        {"yamlish", "yamlish"},
        {"torch", "torch"},
        {"torch.nn", "torch"},
        {"google.protobuf.message", "protobuf"},
        {"google.cloud.storage", "google-cloud-storage"},
        {"googleapiclient", "googleapiclient"},
        {"_ctypes", NULL},
        {"tkinter.ttk", NULL},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *package = pypackage_of(cases[i].module);

        if (cases[i].package == NULL) {
            assert_null(package);
        } else {
            assert_string_equal(package, cases[i].package);
        }
        free(package);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(package__is_what_pip_calls_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
