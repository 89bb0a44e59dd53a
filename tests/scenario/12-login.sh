#!/bin/bash
# limit: 300
# needs: root
# Getting in: keys in files, with passphrase, certificate or agent; passwords and questions on
# a terminal, with the offer to put a key there; jump hosts; what ssh_config says.
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/inst/bin" "$work/inst/lib/gpurun/agent/$arch"
cp "$(tool transport_tool)" "$work/inst/bin/"
cp "$(tool echo_agent)" "$work/inst/lib/gpurun/agent/$arch/gpurun-agent"
unset SSH_AUTH_SOCK GPURUN_SSH SSH_ASKPASS DISPLAY
tt() { as_client "$work/inst/bin/transport_tool" "$@"; }
# typed [WAIT TYPE]...: the tool with "${args[@]}" at a terminal, questions allowed
typed() { as_client "$(tool pty_run)" "$@" -- "$work/inst/bin/transport_tool" -A "${args[@]}"; }
ssh_dir=$client/.ssh
reset_keys() { rm -f "$ssh_dir"/id_* "$ssh_dir/config"; }

client_key
sshd a
authorize a
know a
p=${port[a]}
expect 0 tt -p "$p" 127.0.0.1 up info
has "login=key $ssh_dir/id_ed25519"
accepted() { grep -c "^Accepted\|^Failed\|^Postponed" "$work/a/log"; }

note "one request, and it is the right one: no probe, no none"
: >"$work/a/log"
expect 0 tt -p "$p" 127.0.0.1 up
hasnt "Postponed" "$work/a/log"
hasnt "Failed" "$work/a/log"

for ssh in "" "-S ssh"; do
    note "wrong keys, no keys (${ssh:-libssh})"
    # shellcheck disable=SC2086
    {
        mkdir -p "$work/away"
        mv "$ssh_dir"/id_* "$work/away/"
        expect 1 tt $ssh -p "$p" 127.0.0.1 up
        has "auth: "
        client_key
        expect 1 tt $ssh -p "$p" 127.0.0.1 up
        has "auth: "
        [ -n "$ssh" ] || has "id_ed25519 (refused)"
        expect 1 tt $ssh -l no-such-user -p "$p" 127.0.0.1 up
        has "auth: "

        note "a key named by hand, by ssh_config, and by ~ of \$HOME"
        mv "$work/away/id_ed25519" "$ssh_dir/id_right"
        mv "$work/away/id_ed25519.pub" "$ssh_dir/id_right.pub"
        expect 0 tt $ssh -i "~/.ssh/id_right" -p "$p" 127.0.0.1 up
        printf 'Host other\n  User nobody\nHost short\n  HostName 127.0.0.1\n  Port %s\n  IdentityFile ~/.ssh/id_%%n\n  IdentityFile %%d/.ssh/id_right\n' \
            "$p" >"$ssh_dir/config"
        expect 0 tt $ssh short info
        printf 'Include conf.d/*\n' >"$ssh_dir/config"
        mkdir -p "$ssh_dir/conf.d"
        printf 'Match originalhost short user root\n  HostName 127.0.0.1\n  Port %s\n  IdentityFile "%s/id_right"\n  IdentitiesOnly yes\n' \
            "$p" "$ssh_dir" >"$ssh_dir/conf.d/one"
        expect 0 tt $ssh short info
        rm -r "$ssh_dir/conf.d" "$ssh_dir/config"

        note "a key that others can read is not used"
        chmod 644 "$ssh_dir/id_right"
        expect 1 tt $ssh -i "$ssh_dir/id_right" -p "$p" 127.0.0.1 up
        has "auth: "
        chmod 600 "$ssh_dir/id_right"

        note "a configuration that others can write is not read"
        echo "Host x" >"$ssh_dir/config"
        chmod 666 "$ssh_dir/config"
        expect 1 tt $ssh -i "$ssh_dir/id_right" -p "$p" 127.0.0.1 up
        has "config: "
        rm "$ssh_dir/config"
        rm "$ssh_dir/id_ed25519" "$ssh_dir/id_ed25519.pub"
        mv "$ssh_dir/id_right" "$ssh_dir/id_ed25519"
        mv "$ssh_dir/id_right.pub" "$ssh_dir/id_ed25519.pub"
    }
done

note "other types of key"
for type in "ecdsa -b 256" "rsa -b 2048"; do
    reset_keys
    name=id_${type%% *}
    # shellcheck disable=SC2086
    client_key "$name" -t $type -N ''
    authorize a "$name"
    expect 0 tt -p "$p" 127.0.0.1 info
    has "login=key $ssh_dir/$name"
done

note "certificates"
reset_keys
: >"$work/a/authorized_keys"
client_key
ssh-keygen -q -t ed25519 -N '' -f "$work/user_ca"
ssh-keygen -q -s "$work/user_ca" -I me -n root "$ssh_dir/id_ed25519.pub"
echo "cert-authority $(cat "$work/user_ca.pub")" >"$work/a/authorized_keys"
expect 0 tt -p "$p" 127.0.0.1 info
has "login=certificate $ssh_dir/id_ed25519-cert.pub"
expect 0 tt -S ssh -p "$p" 127.0.0.1 up

note "a passphrase: asked where somebody is there, said where not"
reset_keys
client_key id_ed25519 -t ed25519 -N 'open sesame'
: >"$work/a/authorized_keys"
authorize a
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2206
    args=($ssh -p "$p" 127.0.0.1 up)
    expect 1 tt "${args[@]}"
    has "auth: "
    [ -n "$ssh" ] || has "wants a passphrase"
    expect 0 typed "id_ed25519'" "open sesame"
    hasnt sesame
    expect 0 typed "id_ed25519'" "wrong" "id_ed25519'" "open sesame"
    expect 1 typed "id_ed25519'" "wrong" "id_ed25519'" "wrong" "id_ed25519'" "wrong"
    has "auth: "
    # ^C: no harm to the terminal, and the end by SIGINT.
    expect 130 typed "id_ed25519'" "^C"
done
# shellcheck disable=SC2016
expect 0 as_client "$(tool pty_run)" "id_ed25519'" "^C" "after" "" -- \
    sh -c 'trap : INT; "$@"; stty -a | grep -o " -*echo "; echo after; read x' - \
    "$work/inst/bin/transport_tool" -A -p "$p" 127.0.0.1 up
has " echo "
hasnt " -echo "

note "SSH_ASKPASS"
printf '#!/bin/sh\necho "$1" >"%s/asked"\necho "open sesame"\n' "$work" >"$work/askpass"
chmod 755 "$work/askpass"
for ssh in "" "-S ssh"; do
    rm -f "$work/asked"
    # shellcheck disable=SC2086
    expect 0 as_client SSH_ASKPASS="$work/askpass" DISPLAY=x "$work/inst/bin/transport_tool" -A $ssh -p "$p" 127.0.0.1 up
    has id_ed25519 "$work/asked"
    # shellcheck disable=SC2086
    expect 1 as_client SSH_ASKPASS="$work/askpass" DISPLAY=x SSH_ASKPASS_REQUIRE=never \
        "$work/inst/bin/transport_tool" -A $ssh -p "$p" 127.0.0.1 up
    has "auth: "
done

note "an agent holds it"
eval "$(ssh-agent -a "$work/agent.sock")" >/dev/null
pid[agent]=$SSH_AGENT_PID
printf '#!/bin/sh\necho "open sesame"\n' >"$work/askpass"
SSH_ASKPASS=$work/askpass SSH_ASKPASS_REQUIRE=force ssh-add -q "$ssh_dir/id_ed25519" </dev/null
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 0 tt $ssh -p "$p" 127.0.0.1 info
    [ -n "$ssh" ] || has "login=agent"
done
# Only that one of the agent's keys: beyond libssh.
printf 'Host *\n  IdentitiesOnly yes\n  IdentityFile ~/.ssh/id_ed25519\n' >"$ssh_dir/config"
expect 0 tt -p "$p" 127.0.0.1 info
has "why=IdentitiesOnly"
printf 'Host *\n  IdentityAgent none\n' >"$ssh_dir/config"
expect 1 tt -p "$p" 127.0.0.1 info
has "auth: "
rm "$ssh_dir/config"
unset SSH_AUTH_SOCK
stop agent

note "a password, and the offer to put a key there"
reset_keys
client_key
sshd pw --password 'let me in'
know pw
args=(-p "${port[pw]}" 127.0.0.1 info)
expect 1 tt "${args[@]}"
has "auth: "
has "It takes a password"
expect 1 typed "Password for root" "no" "Password for root" "nope" "Password for root" "never"
has "auth: "
expect 0 typed "Password for root" "wrong" "Password for root" "let me in" "[Y/n]" "n"
hasnt "let me in"
has "login=password"
[ ! -s "$work/pw/home/.ssh/authorized_keys" ] || fail "a key was put there after a no"
mkdir -p "$work/pw/home/.ssh"
printf '# no newline at the end' >"$work/pw/home/.ssh/authorized_keys"
expect 0 typed "Password for root" "let me in" "[Y/n]" ""
has "Done."
has "$(cat "$ssh_dir/id_ed25519.pub")" "$work/pw/home/.ssh/authorized_keys"
[ "$(wc -l <"$work/pw/home/.ssh/authorized_keys")" = 2 ] || fail "not two lines"
# The same without a key of the user's: one is made, in our own folder.
reset_keys
: >"$work/pw/home/.ssh/authorized_keys"
expect 0 typed "Password for root" "let me in" "[Y/n]" "y"
has "Make a key for gpurun"
has "$(cat "$client/gpurun/id_ed25519.pub")" "$work/pw/home/.ssh/authorized_keys"
[ "$(stat -c %a "$client/gpurun/id_ed25519")" = 600 ] || fail "our key has the wrong mode"
[ -z "$(ls "$ssh_dir"/id_* 2>/dev/null)" ] || fail "something was written into ~/.ssh"
cp "$work/pw/home/.ssh/authorized_keys" "$work/pw/authorized_keys"
for ssh in "" "-S ssh"; do
    # shellcheck disable=SC2086
    expect 0 tt $ssh -p "${port[pw]}" 127.0.0.1 up
done
rm -f "$client"/gpurun/id_ed25519*
: >"$work/pw/authorized_keys"

note "a password through the ssh binary, and off a terminal"
args=(-S ssh -p "${port[pw]}" 127.0.0.1 up)
expect 0 typed "password: " "let me in"
hasnt "let me in"
expect 1 tt "${args[@]}"
has "auth: "
has "no terminal"

if [ -e /etc/pam.d/sshd ]; then
    note "keyboard-interactive (PAM)"
    sshd pam --password 'let me in' --pam -- "PasswordAuthentication no" "KbdInteractiveAuthentication yes"
    know pam
    args=(-p "${port[pam]}" 127.0.0.1 info)
    expect 0 typed "Password: " "wrong" "Password: " "let me in" "[Y/n]" "n"
    has "login=keyboard-interactive"
    hasnt "let me in"
    args=(-S ssh -p "${port[pam]}" 127.0.0.1 up)
    expect 0 typed "Password: " "let me in"
fi

note "two factors: a key and a password"
client_key
sshd two --password 'let me in' -- "AuthenticationMethods publickey,password"
authorize two
know two
args=(-p "${port[two]}" 127.0.0.1 info)
expect 0 typed "Password for root" "let me in" "[Y/n]" "n"
expect 1 tt "${args[@]}"
has "auth: "

note "through a jump host: each host key counts"
sshd inner
authorize inner
know inner
: >"$work/a/authorized_keys"
authorize a
expect 0 tt -J "127.0.0.1:$p" -p "${port[inner]}" 127.0.0.1 info "sink 1000"
has "why=ProxyJump"
has uploaded
printf 'Host inner\n  HostName 127.0.0.1\n  Port %s\n  ProxyJump root@127.0.0.1:%s\n' \
    "${port[inner]}" "$p" >"$ssh_dir/config"
expect 0 tt inner info
has "why=ProxyJump"
printf 'Host inner\n  HostName 127.0.0.1\n  Port %s\n  ProxyCommand ssh -F none -o UserKnownHostsFile=%s -i %s -p %s -W %%h:%%p root@127.0.0.1\n' \
    "${port[inner]}" "$ssh_dir/known_hosts" "$ssh_dir/id_ed25519" "$p" >"$ssh_dir/config"
expect 0 tt inner info
has "why=ProxyCommand"
rm "$ssh_dir/config"
grep -v ":$p " "$ssh_dir/known_hosts" >"$work/kh"
cp "$work/kh" "$ssh_dir/known_hosts"
expect 1 tt -J "127.0.0.1:$p" -p "${port[inner]}" 127.0.0.1 info
has "host_key_unknown: "
has "[127.0.0.1]:$p"
args=(-J "127.0.0.1:$p" -p "${port[inner]}" 127.0.0.1 up)
expect 0 typed "remembered?" "yes"
has "[127.0.0.1]:$p ssh-ed25519" "$client/gpurun/known_hosts"
note "done"
