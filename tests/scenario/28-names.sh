#!/bin/bash
# A job's name means the newest job so called; while that one runs, nobody else has it.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"

note "a running job keeps its name to itself"
expect 0 gpurun -q run -d --name one -- sleep 600
first=$(cat "$work/out")
expect 100 gpurun -q run --name one -- true
has "a job named 'one' runs on host 'local' ($first)" "$work/err"
expect 100 gpurun plan --name one -- true

note "and gives it up with its end, seen from here or not"
run gpurun -q stop --now one
job_is one ended || fail "it did not stop"
expect 0 gpurun -q run -d --name one -- sh -c 'exit 3'
second=$(cat "$work/out")
await 60 "its end" job_is "$second" ended
expect 4 gpurun -q run --name one -- sh -c 'exit 4'
expect 4 gpurun -q wait one
expect 3 gpurun -q wait "$second"
