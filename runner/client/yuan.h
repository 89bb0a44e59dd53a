#ifndef RUNNER_CLIENT_YUAN_H
#define RUNNER_CLIENT_YUAN_H

/* What stands before an amount for people: "¥", or "CNY " where the locale lacks it. */
const char *yuan_sign(void);

#endif
