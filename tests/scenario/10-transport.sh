#!/bin/bash
# limit: 600
# repeats
# The same list of demands on the three transports: bytes exact both ways, many of them with
# back-pressure, ends told apart, noise survived, whatever the login shell.
. "$(dirname "$0")/lib.sh"
sshd_quick=()

# An installation with the echoing agent in the place of the real one.
mkdir -p "$work/inst/bin" "$work/inst/lib/gpurun/agent/$arch"
cp "$(tool transport_tool)" "$work/inst/bin/"
cp "$(tool echo_agent)" "$work/inst/lib/gpurun/agent/$arch/gpurun-agent"
unset SSH_AUTH_SOCK GPURUN_SSH

client_key
sshd a
authorize a
know a
cat >"$client/.ssh/config" <<CONF
Host a
    HostName 127.0.0.1
    Port ${port[a]}
CONF

# on KIND WORD...: what to do over that transport.
on() {
    local kind=$1
    shift
    case $kind in
    pipe) as_client "$work/inst/bin/transport_tool" local "$@" ;;
    libssh) as_client "$work/inst/bin/transport_tool" a "$@" ;;
    ssh) as_client "$work/inst/bin/transport_tool" -S ssh a "$@" ;;
    esac
}

sum_of() { # N bytes of the pattern: what both ends say must be equal
    [ "$(sed -n 1p "$work/out")" = "$(sed -n 2p "$work/out")" ] || fail "the host saw other bytes"
}

expect 0 on libssh up
has uploaded

for kind in pipe libssh ssh; do
    note "$kind"
    expect 0 on "$kind" info
    has "kind=$kind "

    # Bytes, also none, and all 256 of them in the pattern.
    for n in 0 1 65535 3000001; do
        expect 0 on "$kind" "sink $n"
        sum_of
        expect 0 on "$kind" "source $n"
        has "got $n"
    done
    # Both at once.
    expect 0 on "$kind" "echo 30000000"
    has "echoed 30000000"

    # Half-close: what was said before EOF is answered, then the end.
    expect 0 on "$kind" "tell echo" "tell hello" eof answer answer wait
    has hello
    has end
    has "exit 0"

    # Ends are told apart.
    for code in 0 1 100 254; do
        expect 0 on "$kind" "tell exit $code" wait
        has "exit $code"
    done
    for signal in 9 15; do
        expect 0 on "$kind" "tell kill $signal" wait
        # The ssh binary says that it was a signal, not which.
        has "signal $([ $kind = ssh ] && echo 0 || echo $signal)"
    done

    # stderr is kept apart, its end at least.
    expect 0 on "$kind" "say stderr of-the-agent" "tell exit 3" wait stderr
    has of-the-agent
    has "exit 3"

    # Who does not read stops the sender: 300 MB wait on the host, not in our memory.
    expect 0 on "$kind" "tell source 300000000" "pause 1500" memory "take 300000000"
    peak=$(sed -n 's/^peak_kib=//p' "$work/out")
    [ "$peak" -lt 40000 ] || fail "$peak KiB in memory while nobody reads"

    # Cancelled in the middle: at once, and nothing is left running.
    began=$SECONDS
    expect 0 on "$kind" "tell source 300000000" "pause 100" cancel
    [ $((SECONDS - began)) -lt 5 ] || fail "cancelling took $((SECONDS - began)) s"
done
await_none 5 gpurun-agent

for kind in libssh ssh; do
    note "$kind: 300 MB each way (a gigabyte of output: 21-output)"
    expect 0 on $kind "sink 300000000"
    sum_of
    expect 0 on $kind "source 300000000"
    has "got 300000000"
done

note "RekeyLimit 1M during bulk"
sshd rekey -- "RekeyLimit 1M"
authorize rekey
know rekey
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 0 as_client "$work/inst/bin/transport_tool" $ssh -p "${port[rekey]}" 127.0.0.1 up
    # shellcheck disable=SC2086
    expect 0 as_client "$work/inst/bin/transport_tool" $ssh -p "${port[rekey]}" 127.0.0.1 \
        "sink 50000000" "source 50000000" "echo 50000000"
    sum_of
    has "got 50000000"
    has "echoed 50000000"
done

note "MaxSessions 1, and a shell that prints a megabyte"
sshd noisy -- "MaxSessions 1"
authorize noisy
know noisy
cat >"$work/noisy/home/.bashrc" <<'RC'
head -c 1000000 /dev/zero | tr '\0' '~'
echo '~gpurun-agent-'
head -c 100000 /dev/urandom
echo on stderr >&2
RC
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 0 as_client "$work/inst/bin/transport_tool" $ssh -p "${port[noisy]}" 127.0.0.1 up
    # shellcheck disable=SC2086
    expect 0 as_client "$work/inst/bin/transport_tool" $ssh -p "${port[noisy]}" 127.0.0.1 \
        "sink 1000000" "tell exit 4" wait
    sum_of
    has "exit 4"
done

note "IPv6"
if listening ::1 "${port[a]}" || [ -e /proc/net/if_inet6 ]; then
    sshd six --address ::1
    authorize six
    know six ::1
    expect 0 as_client "$work/inst/bin/transport_tool" -p "${port[six]}" ::1 "sink 1000" info
    has "peer=[::1]:${port[six]}"
    expect 0 as_client "$work/inst/bin/transport_tool" -S ssh -p "${port[six]}" ::1 "sink 1000"
fi
note "done"
