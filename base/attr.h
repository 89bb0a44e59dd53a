#ifndef BASE_ATTR_H
#define BASE_ATTR_H

/* Compiler attributes under names that say what they are for. */

/* Dropping the result of this call is refused by the compiler. */
#define MUST_USE __attribute__((warn_unused_result))
/* Where a constant argument, such as a key's length, makes the call a few instructions.
 */
#define ALWAYS_INLINE          inline __attribute__((always_inline))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
