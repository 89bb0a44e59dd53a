#!/bin/bash
# limit: 300
# What goes wrong on the way to a host, each with its cause and a sentence that helps: names,
# ports, silence, dropped connections, host keys, strange shells, cut uploads.
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/inst/bin" "$work/inst/lib/gpurun/agent/$arch"
cp "$(tool transport_tool)" "$work/inst/bin/"
cp "$(tool echo_agent)" "$work/inst/lib/gpurun/agent/$arch/gpurun-agent"
unset SSH_AUTH_SOCK GPURUN_SSH
tt() { as_client "$work/inst/bin/transport_tool" "$@"; }
relay() { # NAME TARGET_PORT OPTION...: sets ${port[NAME]}
    local name=$1 target=$2
    shift 2
    port[$name]=$(free_port)
    spawn "$name" "$(tool relay)" "${port[$name]}" "$target" "$@"
    await 5 "relay $name" grep -q ready "$work/$name.log"
}
known=$client/.ssh/known_hosts
fingerprint() { ssh-keygen -lf "$work/$1/host_key.pub" | cut -d' ' -f2; }

client_key
sshd a
authorize a
p=${port[a]}

for ssh in "" "-S ssh"; do
    note "names, ports, silence (${ssh:-libssh})"
    # shellcheck disable=SC2086
    {
        expect 1 tt $ssh no-such-host.invalid up
        has "name: "
        expect 1 tt $ssh -p "$(free_port)" 127.0.0.1 up
        has "refused: "
        relay silent "$p" --silent
        expect 1 tt $ssh -p "${port[silent]}" 127.0.0.1 up
        has "timeout: "
        stop silent
    }
done
# (The ssh binary keeps such words to itself.)
relay web "$p" --say $'HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n'
expect 1 tt -p "${port[web]}" 127.0.0.1 up
has "not_ssh: "
has "HTTP/1.1 400 Bad Request"
stop web
# What the answering side says is escaped.
relay rude "$p" --say $'\e]0;owned\a\n\n'
expect 1 tt -p "${port[rude]}" 127.0.0.1 up
hasnt $'\e'
stop rude

note "host names and users that begin with '-'"
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    {
        expect 1 tt $ssh -- "-oProxyCommand=touch $work/owned" up
        has "config: "
        expect 1 tt $ssh -l "-oProxyCommand=touch $work/owned" -p "$p" 127.0.0.1 up
        has "config: "
    }
done
printf 'Host evil\n  HostName -oProxyCommand=touch\n' >"$client/.ssh/config"
expect 1 tt evil up
has "config: "
rm "$client/.ssh/config"
[ ! -e "$work/owned" ] || fail "a host name ran a command"

note "connections dropped before the banner are tried again"
know a
relay drop "$p" --drop 3
printf 'Host *\n  HostKeyAlias [127.0.0.1]:%s\n' "$p" >"$client/.ssh/config"
expect 0 tt -p "${port[drop]}" 127.0.0.1 up
stop drop
relay drop "$p" --drop 3
expect 0 tt -S ssh -p "${port[drop]}" 127.0.0.1 up
stop drop
relay drop "$p" --say $'Exceeded MaxStartups\r\n'
expect 1 tt -p "${port[drop]}" 127.0.0.1 up
has "dropped: "
stop drop
rm "$client/.ssh/config"

note "MaxStartups of a real sshd: a crowd gets in"
sshd strict -- "MaxStartups 2:100:3" "MaxSessions 1"
authorize strict
know strict
expect 0 tt -p "${port[strict]}" 127.0.0.1 up
crowd=()
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    tt -p "${port[strict]}" 127.0.0.1 "sink 1000" >"$work/crowd.$i" 2>&1 &
    crowd+=($!)
done
for i in "${!crowd[@]}"; do
    wait "${crowd[$i]}" || fail "one of the crowd was left out: $(cat "$work/crowd.$((i + 1))")"
done

for ssh in "" "-S ssh"; do
    note "host keys (${ssh:-libssh})"
    # shellcheck disable=SC2086
    {
        ours=$client/gpurun/known_hosts
        rm -f "$known" "$ours"
        expect 1 tt $ssh -p "$p" 127.0.0.1 up
        has "host_key_unknown: "
        has "--host-key $(fingerprint a)"
        [ ! -e "$known" ] && [ ! -e "$ours" ] || fail "an unknown key was written down"

        expect 1 tt $ssh -k "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" -p "$p" 127.0.0.1 up
        has "host_key_changed: "
        has "$(fingerprint a)"
        expect 1 tt $ssh -k "MD5:00" -p "$p" 127.0.0.1 up
        has "config: "
        [ ! -e "$ours" ] || fail "a wrong key was written down"

        expect 0 tt $ssh -k "$(fingerprint a)" -p "$p" 127.0.0.1 up
        has "[127.0.0.1]:$p ssh-ed25519 " "$ours"
        expect 0 tt $ssh -p "$p" 127.0.0.1 up
        [ ! -e "$known" ] || fail "the user's file was written"

        # Another key on record, in our file and in the user's.
        ssh-keygen -q -t ed25519 -N '' -f "$work/other" <<<y >/dev/null
        other="[127.0.0.1]:$p $(cut -d' ' -f1,2 "$work/other.pub")"
        echo "$other" >"$ours"
        expect 1 tt $ssh -p "$p" 127.0.0.1 up
        has "host_key_changed: "
        has "$(ssh-keygen -lf "$work/other.pub" | cut -d' ' -f2)"
        has "$(fingerprint a)"
        has "$ours:1"
        # Said by hand, our own record gives way …
        expect 0 tt $ssh -k "$(fingerprint a)" -p "$p" 127.0.0.1 up
        hasnt "$other" "$ours"
        # … the user's does not.
        rm "$ours"
        echo "$other" >"$known"
        cp "$known" "$work/known.before"
        expect 1 tt $ssh -k "$(fingerprint a)" -p "$p" 127.0.0.1 up
        has "host_key_changed: "
        cmp -s "$known" "$work/known.before" || fail "the user's file was written"

        # Hashed names, patterns, another type on record, revoked.
        echo "[127.0.0.1]:$p $(cut -d' ' -f1,2 "$work/a/host_key.pub")" >"$known"
        ssh-keygen -q -H -f "$known" >/dev/null 2>&1
        rm -f "$known.old"
        expect 0 tt $ssh -p "$p" 127.0.0.1 up
        echo "!10.0.0.1,[127.0.0.?]:$p $(cut -d' ' -f1,2 "$work/a/host_key.pub") comment" >"$known"
        expect 0 tt $ssh -p "$p" 127.0.0.1 up
        ssh-keygen -q -t rsa -b 2048 -N '' -f "$work/rsa" <<<y >/dev/null
        echo "[127.0.0.1]:$p $(cut -d' ' -f1,2 "$work/rsa.pub")" >"$known"
        expect 1 tt $ssh -p "$p" 127.0.0.1 up
        has "host_key_changed: "
        echo "@revoked * $(cut -d' ' -f1,2 "$work/a/host_key.pub")" >>"$known"
        echo "[127.0.0.1]:$p $(cut -d' ' -f1,2 "$work/a/host_key.pub")" >>"$known"
        expect 1 tt $ssh -p "$p" 127.0.0.1 up
        has "host_key_revoked: "
        expect 1 tt $ssh -k "$(fingerprint a)" -p "$p" 127.0.0.1 up
        has "host_key_revoked: "
    }
done

note "first use on a terminal: asked, and pinned in our file only"
for ssh in "" "-S ssh"; do
    rm -f "$known" "$ours"
    # shellcheck disable=SC2086
    expect 1 as_client "$(tool pty_run)" "remembered?" "no" -- "$work/inst/bin/transport_tool" -A $ssh -p "$p" 127.0.0.1 up
    has "host_key_unknown: "
    [ ! -e "$ours" ] || fail "pinned after a no"
    # shellcheck disable=SC2086
    expect 0 as_client "$(tool pty_run)" "remembered?" "yes" -- "$work/inst/bin/transport_tool" -A $ssh -p "$p" 127.0.0.1 up
    has "$(fingerprint a)"
    has "[127.0.0.1]:$p ssh-ed25519 " "$ours"
    [ ! -e "$known" ] || fail "the user's file was written"
done

note "host certificates go to the binary"
ssh-keygen -q -t ed25519 -N '' -f "$work/ca"
ssh-keygen -q -s "$work/ca" -I a -h -n 127.0.0.1 "$work/a/host_key.pub"
sshd cert --host-key "$work/a/host_key" -- "HostCertificate $work/a/host_key-cert.pub"
authorize cert
rm -f "$ours"
echo "@cert-authority [127.0.0.1]:${port[cert]} $(cut -d' ' -f1,2 "$work/ca.pub")" >"$known"
expect 0 tt -p "${port[cert]}" 127.0.0.1 info
has "why=@cert-authority"
rm -f "$known"

know a
note "an upload that is cut leaves nothing to run, and the next one works"
sshd fresh
authorize fresh
know fresh
relay cut "${port[fresh]}" --cut-after 40000
printf 'Host *\n  HostKeyAlias [127.0.0.1]:%s\n' "${port[fresh]}" >"$client/.ssh/config"
printf '#!/bin/sh\nexec ssh "$@" 2>/dev/null\n' >"$work/mute_ssh" # sometimes it says nothing of it
chmod 755 "$work/mute_ssh"
for ssh in "" "-S ssh" "-S $work/mute_ssh"; do
    # shellcheck disable=SC2086
    expect 1 tt $ssh -p "${port[cut]}" 127.0.0.1 up
    has "cut: "
    bin=$work/fresh/home/.local/share/gpurun-agent/bin
    nothing_new() { [ -z "$(find "$bin" -mindepth 1 2>/dev/null)" ]; }
    await 5 "the half agent is swept away" nothing_new
done
expect 0 tt -p "${port[fresh]}" 127.0.0.1 up
has uploaded
[ "$(sha256sum <"$(echo "$bin"/*/gpurun-agent)" | cut -d' ' -f1)" = "$(basename "$(dirname "$bin"/*/gpurun-agent)")" ] ||
    fail "the name is not the hash"
expect 0 tt -p "${port[fresh]}" 127.0.0.1 up
hasnt uploaded
rm "$client/.ssh/config"
stop cut

note "no room, no architecture, another system"
sshd small -- "ForceCommand ulimit -f 40; exec sh -c \"\$SSH_ORIGINAL_COMMAND\""
authorize small
know small
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 1 tt $ssh -p "${port[small]}" 127.0.0.1 up
    has "no_agent: "
    has "cannot be written"
done
mkdir "$work/fake"
printf '#!/bin/sh\ncase $1 in -s) echo Linux;; *) echo riscv128;; esac\n' >"$work/fake/uname"
chmod 755 "$work/fake/uname"
sshd odd -- "SetEnv PATH=$work/fake:$PATH HOME=$work/odd/home"
authorize odd
know odd
expect 1 tt -p "${port[odd]}" 127.0.0.1 up
has "no_agent: "
has riscv128
printf '#!/bin/sh\ncase $1 in -s) echo FreeBSD;; *) echo x86_64;; esac\n' >"$work/fake/uname"
expect 1 tt -p "${port[odd]}" 127.0.0.1 up
has FreeBSD

note "a host with hardly any programs"
mkdir "$work/bare"
for program in sh mkdir head wc chmod rm tr uname; do
    ln -s "$(command -v $program)" "$work/bare/$program"
done
sshd bare -- "SetEnv PATH=$work/bare HOME=$work/bare/home"
mkdir -p "$work/bare/home"
authorize bare
know bare
expect 0 tt -p "${port[bare]}" 127.0.0.1 "sink 1000"
has uploaded

note "an agent home with a blank; one that a shell would read"
expect 0 tt -a "$work/a/an agent home" -p "$p" 127.0.0.1 "say env GPURUN_AGENT_HOME"
has "$work/a/an agent home"
expect 0 tt -S ssh -a "~/ours" -p "$p" 127.0.0.1 "say env GPURUN_AGENT_HOME"
has "$work/a/home/ours"
for bad in '$(touch owned)' '`id`' "a'b" 'a"b' 'a\b' 'a!b'; do
    expect 1 tt -a "$bad" -p "$p" 127.0.0.1 up
    has "config: "
done

note "a forced command simply serves"
printf 'restrict,command="%s serve" %s\n' "$(echo "$work"/a/home/.local/share/gpurun-agent/bin/*/gpurun-agent)" \
    "$(cat "$client/.ssh/id_ed25519.pub")" >"$work/forced_keys"
sshd forced -- "AuthorizedKeysFile $work/forced_keys"
know forced
expect 0 tt -p "${port[forced]}" 127.0.0.1 "sink 1000"
hasnt uploaded

note "no shell, and a command that says nothing"
sshd mute -- "ForceCommand exit 3"
authorize mute
know mute
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 1 tt $ssh -p "${port[mute]}" 127.0.0.1 up
    has "no_exec: "
    has "exit status 3"
done
note "a proxy that passes on terminals only, as RunPod's"
sshd proxy -- "ForceCommand echo \"Error: Your SSH client doesn't support PTY\" >&2; exit 1"
authorize proxy
know proxy
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 1 tt $ssh -p "${port[proxy]}" 127.0.0.1 up
    has "no_exec: "
    has "SSH over exposed TCP"
done
sshd nosession -- "MaxSessions 0"
authorize nosession
know nosession
expect 1 tt -p "${port[nosession]}" 127.0.0.1 up
has "no_exec: "

note "sshd goes away in the middle"
for ssh in "" "-S ssh"; do
    rm -f "$work/cut.out"
    # shellcheck disable=SC2086
    tt $ssh -p "$p" 127.0.0.1 up "say stderr x" wait >"$work/cut.out" 2>&1 &
    waiter=$!
    await 10 "the agent answers" grep -q ok "$work/cut.out"
    for session in $(cat "/proc/${pid[a]}/task/${pid[a]}/children"); do
        kill -KILL "$session"
    done
    wait $waiter || fail "$(cat "$work/cut.out")"
    has "cut cut: " "$work/cut.out"
done

if [ "$(id -u)" = 0 ]; then
    for shell in dash fish tcsh; do
        path=$(command -v $shell) || fail "no $shell here: make deps"
        note "login shell $shell"
        sshd "shell_$shell" --shell "$path"
        authorize "shell_$shell"
        know "shell_$shell"
        for ssh in "" "-S ssh"; do
            # shellcheck disable=SC2086
            expect 0 tt $ssh -p "${port[shell_$shell]}" 127.0.0.1 "sink 100000"
        done
    done
    note "login shell nologin"
    sshd nologin --shell /usr/sbin/nologin
    authorize nologin
    know nologin
    for ssh in "" "-S ssh"; do
        # shellcheck disable=SC2086
        expect 1 tt $ssh -p "${port[nologin]}" 127.0.0.1 up
        has "no_exec: "
        has "not available"
    done
fi
note "done"
