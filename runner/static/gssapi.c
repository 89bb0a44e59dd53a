/*
 * The static client has no Kerberos. Debian's libssh.a is built with GSSAPI, whose
 * libraries exist only as shared ones, so what it calls of them stands here. All of it
 * says "unavailable": libssh then goes on to the next way of logging in, as it does on a
 * machine without a ticket. We ask for keys and passwords only (transport_auth.c).
 *
 * The signatures are those of RFC 2744, with its own names for types that we do not have
 * to know; libssh calls by them alone.
 */
#include <stddef.h>
#include <stdint.h>

typedef uint32_t OM_uint32;
#define GSS_S_COMPLETE    0U
#define GSS_S_UNAVAILABLE (16U << 16)

/* Object identifiers that libssh names and never sees used. */
extern void *const GSS_C_NT_HOSTBASED_SERVICE;
extern void *const GSS_C_NT_USER_NAME;
void *const GSS_C_NT_HOSTBASED_SERVICE = NULL;
void *const GSS_C_NT_USER_NAME = NULL;

/* As every call begins with where to put its minor status, one body serves them all. */
#define UNAVAILABLE(name)                                                                \
    OM_uint32 name(OM_uint32 *minor, ...);                                               \
    OM_uint32 name(OM_uint32 *minor, ...)                                                \
    {                                                                                    \
        *minor = 0;                                                                      \
        return GSS_S_UNAVAILABLE;                                                        \
    }
/* What gives back what was never there. */
#define NOTHING(name)                                                                    \
    OM_uint32 name(OM_uint32 *minor, ...);                                               \
    OM_uint32 name(OM_uint32 *minor, ...)                                                \
    {                                                                                    \
        *minor = 0;                                                                      \
        return GSS_S_COMPLETE;                                                           \
    }

UNAVAILABLE(gss_accept_sec_context)
UNAVAILABLE(gss_acquire_cred)
UNAVAILABLE(gss_add_oid_set_member)
UNAVAILABLE(gss_create_empty_oid_set)
UNAVAILABLE(gss_display_name)
UNAVAILABLE(gss_display_status)
UNAVAILABLE(gss_get_mic)
UNAVAILABLE(gss_import_name)
UNAVAILABLE(gss_indicate_mechs)
UNAVAILABLE(gss_init_sec_context)
UNAVAILABLE(gss_inquire_cred)
UNAVAILABLE(gss_inquire_cred_by_mech)
UNAVAILABLE(gss_test_oid_set_member)
UNAVAILABLE(gss_verify_mic)
NOTHING(gss_release_buffer)
NOTHING(gss_release_cred)
NOTHING(gss_release_name)
NOTHING(gss_release_oid_set)
