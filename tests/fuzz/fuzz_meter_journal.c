/*
 * A usage journal from a stranger, in pieces: the first byte says how large. What was
 * taken stays taken, and a second reader that gets it at once agrees.
 */
#include <string.h>

#include "meter/receipt.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal_reader *r = journal_reader_new(NULL, NULL);
    struct journal_reader *again = journal_reader_new(NULL, NULL);
    const struct receipt_pins pins = {.check_all = true};
    struct receipt *receipt = NULL;
    struct err e;
    size_t piece = size > 0 ? 1 + data[0] : 1;
    uint64_t good = 0;
    int rc = 0;

    data += size > 0 ? 1 : 0;
    size -= size > 0 ? 1 : 0;
    for (size_t at = 0; at < size && rc == 0; at += piece) {
        rc = journal_reader_feed(r, data + at, piece < size - at ? piece : size - at, &e);
        must(journal_reader_good_bytes(r) >= good);
        good = journal_reader_good_bytes(r);
    }
    must(good <= size);
    must(rc != 0 || good + journal_reader_waiting_bytes(r) == size);
    must(journal_reader_feed(again, data, good, &e) == 0);
    must(journal_reader_good_bytes(again) == good);
    (void)!journal_reader_settle(r, &e);
    if (receipt_verify(&receipt, data, size, &pins, &e) == 0) {
        must(receipt->charge_fen >= 0 && receipt->charge_fen <= receipt->grant.cap_fen);
        receipt_free(receipt);
    }
    journal_reader_free(r);
    journal_reader_free(again);
    return 0;
}
