#!/bin/bash
# The sum of line coverage: what did not run counts, too little fails, and a gcov that fails says why.
. "$(dirname "$0")/lib.sh"
cov() { "$TOP/tests/cov" "$work/b" "$1"; }

cd "$work"
mkdir -p base b/base
echo 'int main(int argc, char **argv) { (void)argv;
    return argc == 1
        ? 0
        : 1; }' >base/ran.c
echo 'int never(void) { return 1; }' >base/never.c
for f in ran never; do
    gcc --coverage -c "base/$f.c" -o "b/base/$f.o"
done
gcc --coverage b/base/ran.o -o b/ran
b/ran

expect 0 cov 50
has "  in all (at least 50 %)"
has "base/never.c"
hasnt "not executed" "$work/err"
expect 1 cov 100
hasnt "not executed" "$work/err"

note "a file that gcov cannot read"
echo rubbish >b/base/odd.gcno
expect 1 cov 0
has "b/base/odd.gcno:not a gcov notes file" "$work/err"
has "cov: gcov failed" "$work/err"
hasnt "in all"
