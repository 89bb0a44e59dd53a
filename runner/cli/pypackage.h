#ifndef RUNNER_CLI_PYPACKAGE_H
#define RUNNER_CLI_PYPACKAGE_H

/*
 * What `pip install` calls the package that brings a Python module: the module's first
 * name, where a small table does not say otherwise (cv2: opencv-python). malloc'ed. NULL:
 * no package brings it; it is a part of Python that this interpreter was built without
 * (_ctypes, tkinter).
 */
char *pypackage_of(const char *module);

#endif
