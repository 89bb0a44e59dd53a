#ifndef RUNNER_JOB_VERBS_H
#define RUNNER_JOB_VERBS_H

/*
 * Words both sides of the wire use: verbs, channel kinds, events and notes
 * (runner/DESIGN.md, "Verbs" and "Channels"). A request is msg_request_new(VERB_…), a
 * channel's OPEN record has type OPEN_….
 */
#define VERB_HOST_INFO   "host.info"
#define VERB_HOST_TOP    "host.top"
#define VERB_HOST_PYTHON "host.python"
#define VERB_HOST_PARK   "host.park"
#define VERB_JOB_SUBMIT  "job.submit"
#define VERB_JOB_LIST    "job.list"
#define VERB_JOB_SHOW    "job.show"
#define VERB_JOB_FOLLOW  "job.follow"
#define VERB_JOB_STOP    "job.stop"
#define VERB_JOB_SIGNAL  "job.signal"
#define VERB_JOB_EXTEND  "job.extend"
#define VERB_JOB_RESERVE "job.reserve"
#define VERB_JOB_USAGE   "job.usage"
#define VERB_JOB_KEEPING "job.keeping"
#define VERB_JOB_PUT     "job.put"
#define VERB_JOB_STAT    "job.stat"
#define VERB_SNAP_LIST   "snap.list"
#define VERB_SNAP_SHOW   "snap.show"
#define VERB_SNAP_TAKE   "snap.take"
#define VERB_SNAP_KEEP   "snap.keep"
#define VERB_SNAP_VERIFY "snap.verify"
#define VERB_SNAP_DIFF   "snap.diff"
#define VERB_DATA_LIST   "data.list"
#define VERB_DATA_PUT    "data.put"
#define VERB_DATA_RM     "data.rm"
#define VERB_SETUP_SHOW  "setup.show"
#define VERB_STORE_WHERE "store.where"
#define VERB_STORE_GC    "store.gc"
#define VERB_STORE_FSCK  "store.fsck"
#define VERB_SNAP_RM     "snap.rm"
#define VERB_DEVICE_LIST "device.list"
#define VERB_PRICE_LIST  "price.list"

#define VERB_LEASE_DECLINE "lease.decline"
#define VERB_RESERVE_ORDER "reserve.order"
#define VERB_RESERVE_SHOW  "reserve.show"

/* Of a book (gpurun-book serve), to a renter or a host. */
#define VERB_BOOK_FUNDS    "book.funds"
#define VERB_BOOK_GRANT    "book.grant"
#define VERB_BOOK_DECLINE  "book.decline"
#define VERB_BOOK_RECEIPT  "book.receipt"
#define VERB_BOOK_KEEPING  "book.keeping"
#define VERB_BOOK_RESERVED "book.reserved"
#define VERB_BOOK_ACK      "book.ack"
#define VERB_BOOK_LOG      "book.log"
#define BOOK_CHUNK_MAX     ((size_t)192 * 1024) /* of a receipt, in one book.receipt */
#define BOOK_LOG_MAX       1000                 /* entries in one answer to book.log */

/* One job in the answer to host.top; at most so many are told of. */
#define SAMPLE_TYPE  "gpurun.sample.v1"
#define TOP_JOBS_MAX 256

#define EVENT_STATE    "gpurun.event.state.v1"    /* job, state (bytes) */
#define EVENT_PROGRESS "gpurun.event.progress.v1" /* job/pace.h */

/*
 * Where a quota is set, or the disk may have too little, it is answered with a record:
 * left_bytes, how many may come (as the host keeps them), and of a quota msg and form (as
 * of an error), why not more. Older hosts send none, older clients do not look; what
 * comes is counted all the same. A client that passes a snapshot on tells the sender:
 * `room_bytes` in OPEN_GET.
 */
#define OPEN_SHIP     "gpurun.open.ship.v1"
#define SHIP_ROOM     "gpurun.ship.room.v1"
#define OPEN_OUT      "gpurun.open.out.v1"
#define OPEN_ERR      "gpurun.open.err.v1"
#define OPEN_TIMES    "gpurun.open.times.v1"
#define OPEN_STDIN    "gpurun.open.stdin.v1"
#define OPEN_EXEC     "gpurun.open.exec.v1"
#define OPEN_EXEC_ERR "gpurun.open.exec.err.v1"
#define OPEN_PORT     "gpurun.open.port.v1"
#define OPEN_GET      "gpurun.open.get.v1"
#define OPEN_FILES    "gpurun.open.files.v1"

/* Note on an exec channel, ordered, before EOF: u8 how, u8 code or signal. */
#define NOTE_EXEC_EXIT      16
#define NOTE_EXEC_EXITED    1
#define NOTE_EXEC_SIGNALLED 2
/* Before that one, whose code is a shell's (127: there is no such program, 126: it cannot
 * be run), where the command never started: why, an error record. */
#define NOTE_EXEC_NOT_STARTED 17

#define JOB_USAGE_CHUNK_MAX ((size_t)192 * 1024)

#endif
