# Shared by scenarios on a host that is not like this machine: `. "$(dirname "$0")/foreign.sh"` after
# lib.sh and hosts.sh. Root.
#
#   foreign NAME          such a host, its own sshd listening; the client's key is let in, and the client
#                         knows it. Sets ${port[NAME]} and ${pid[NAME]} (its pid 1, seen from here)
#   foreign NAME PASSWORD     the same as a provider rents it out: one logs in as root, by that password and
#                         no key yet, to bash (the only one there, /usr/local/bin/bash)
#   in_foreign NAME WORD...   run there as its user, with what a login has of variables
#   on_foreign NAME SCRIPT    /bin/sh runs that as its user, after ~/.profile
#
# Its root is no part of this machine's: other accounts (`lin`, uid 4321, dash as login shell), its own
# processes and host name, no git, no bash, no compiler, no /usr/bin/python3. There is a Python of its
# own, /opt/python, put into PATH by ~/.profile, with pip, the wheels that venv wants, and one package
# that is not here (`labtools`); none of this machine's. Made of this machine's own files, without a
# network, once for all scenarios ($BUILD/tests/foreign). Only loopback is shared.
# shellcheck shell=bash

foreign_user=lin
foreign_uid=4321
declare -A foreign_rented=() # by name, "" or not: one of those
foreign_tools="dash cat cp ls mkdir mv rm ln chmod sleep touch head tail wc uname id env stat tr sort sha256sum date kill true false
    printf echo sed grep mktemp hostname tty stty dd pwd readlink umount ps"

# WORD...: these files, with the libraries that they are linked to, to the same place beneath $1.
foreign_copy() {
    local to=$1 f
    shift
    for f in "$@"; do
        ldd "$f" 2>/dev/null | grep -oE '/[^ ]+' || :
    done | sort -u | while read -r f; do
        [ -e "$to$f" ] || cp -L --parents "$f" "$to"
    done
}

foreign_python() { # root: /usr/bin/python3 with its library, and pip, as /opt/python
    local to=$1/opt/python version lib
    version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    lib=$(/usr/bin/python3 -c 'import os; print(os.path.dirname(os.__file__))')
    mkdir -p "$to/bin" "$to/lib/python3/dist-packages" "$1/usr/share"
    cp -L /usr/bin/python3 "$to/bin/$version"
    ln -s "$version" "$to/bin/python3"
    tar -C "$(dirname "$lib")" --exclude='config-*' --exclude=test --exclude=__pycache__ --exclude=dist-packages \
        --exclude=lib2to3 --exclude=EXTERNALLY-MANAGED -cf - "$(basename "$lib")" | tar -C "$to/lib" -xf -
    tar -C /usr/lib/python3/dist-packages --exclude=__pycache__ -cf - pip setuptools wheel 2>/dev/null |
        tar -C "$to/lib/python3/dist-packages" -xf - || :
    printf '#!/opt/python/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n' >"$to/bin/pip"
    chmod 755 "$to/bin/pip"
    [ ! -d /usr/share/python-wheels ] || cp -r /usr/share/python-wheels "$1/usr/share/"
    echo 'WORD = "only there"' >"$to/lib/python3/dist-packages/labtools.py"
    foreign_copy "$1" "$to/bin/$version" "$to/lib/$version"/lib-dynload/*.so
    # No file is linked to it, yet without it glibc aborts where Python, ending, ends a daemon thread.
    cp -L --parents "$(/sbin/ldconfig -p | sed -n 's/.*=> \(.*libgcc_s\.so\.1\)$/\1/p' | head -n 1)" "$1"
}

foreign_etc() { # root
    cat >"$1/etc/passwd" <<PASSWD
root:x:0:0::/root:/bin/sh
sshd:x:101:65534::/run/sshd:/bin/false
$foreign_user:x:$foreign_uid:$foreign_uid::/home/$foreign_user:/bin/dash
nobody:x:65534:65534::/nonexistent:/bin/false
PASSWD
    printf 'root:x:0:\n%s:x:%s:\nnogroup:x:65534:\n' "$foreign_user" "$foreign_uid" >"$1/etc/group"
    printf 'root:*:19000:0:99999:7:::\nsshd:*:19000::::::\n%s:*:19000:0:99999:7:::\n' "$foreign_user" >"$1/etc/shadow"
    chmod 600 "$1/etc/shadow"
    echo '127.0.0.1 localhost' >"$1/etc/hosts"
    echo 'passwd: files' >"$1/etc/nsswitch.conf"
    # shellcheck disable=SC2016
    echo 'PATH=/usr/local/bin:/usr/bin:/bin; export PATH' >"$1/etc/profile"
    [ ! -e /usr/share/zoneinfo/Asia/Shanghai ] || cp -L /usr/share/zoneinfo/Asia/Shanghai "$1/etc/localtime"
}

foreign_make() { # root
    local tool at
    rm -rf "$1"
    mkdir -p "$1"/bin "$1"/usr/bin "$1"/usr/sbin "$1"/usr/lib/openssh "$1"/usr/local/bin "$1"/etc "$1"/opt "$1"/root "$1"/home "$1"/proc "$1"/dev \
        "$1"/sys "$1"/tmp "$1"/run "$1"/var "$1"/mnt
    for tool in $foreign_tools; do
        at=$(PATH=/usr/bin:/bin:/usr/sbin:/sbin type -P "$tool") || { echo "no $tool here" >&2; return 1; }
        cp -L "$at" "$1/bin/"
        ln -s "/bin/$tool" "$1/usr/bin/$tool"
        foreign_copy "$1" "$at"
    done
    ln -s dash "$1/bin/sh"
    cp -L "$sshd_program" "$1/usr/sbin/sshd"
    for at in /usr/lib/openssh/sshd-session /usr/lib/openssh/sshd-auth; do # newer ones are three programs
        [ ! -e "$at" ] || { cp "$at" "$1/usr/lib/openssh/"; foreign_copy "$1" "$at"; }
    done
    foreign_copy "$1" "$sshd_program"
    foreign_python "$1"
    foreign_etc "$1"
}

# What it is made of: another Python, sshd or list makes another one.
foreign_stamp() {
    cat "${BASH_SOURCE[0]}" /usr/bin/python3 "$sshd_program" | sha256sum | cut -c1-16
}

foreign_root() {
    local at stamp
    stamp=$(foreign_stamp)
    at=$BUILD/tests/foreign
    (
        flock 9
        [ "$(cat "$at.ready" 2>/dev/null)" = "$stamp" ] && exit
        rm -f "$at.ready"
        foreign_make "$at" && echo "$stamp" >"$at.ready"
    ) 9>"$at.lock" || fail "no foreign root can be made"
    echo "$at"
}

foreign_accounts() { # root dir password: who may log in there, and how
    local root=$1 dir=$2 password=$3
    mkdir -p "$dir/home/$foreign_user/.ssh" "$dir/root"
    chmod 700 "$dir/home/$foreign_user/.ssh" "$dir/root"
    cp "$root/etc/passwd" "$root/etc/shadow" "$dir/"
    # shellcheck disable=SC2016
    echo 'PATH=/opt/python/bin:$PATH; LAB=yes; export LAB' >"$dir/home/$foreign_user/.profile"
    if [ -z "$password" ]; then
        cat "$client/.ssh/id_ed25519.pub" >"$dir/home/$foreign_user/.ssh/authorized_keys"
    else
        sed -i 's,^root:.*:/bin/sh$,root:x:0:0::/root:/usr/local/bin/bash,' "$dir/passwd"
        sed -i "s,^root:[^:]*:,root:$(openssl passwd -6 "$password"):," "$dir/shadow"
        # As a provider's image has it: a login reads what an interactive shell reads.
        # shellcheck disable=SC2016
        echo '[ -z "$BASH" ] || . ~/.bashrc' >"$dir/root/.profile"
        # shellcheck disable=SC2016
        printf '%s\n' '[ -z "$PS1" ] && return' 'PATH=/opt/python/bin:$PATH' >"$dir/root/.bashrc"
    fi
    chown -R "$foreign_uid:$foreign_uid" "$dir/home/$foreign_user"
}

foreign() {
    local name=$1 password=${2:-} dir=$work/$1 root
    [ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
    root=$(foreign_root)
    foreign_rented[$name]=$password
    mkdir -p "$dir/var/tmp" "$dir/new"
    chmod 1777 "$dir/var/tmp"
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$dir/host_key"
    foreign_accounts "$root" "$dir" "$password"
    port[$name]=$(free_port)
    cat >"$dir/sshd_config" <<CONF
ListenAddress 127.0.0.1:${port[$name]}
HostKey /run/host_key
PidFile none
UsePAM no
PasswordAuthentication $([ -n "$password" ] && echo yes || echo no)
KbdInteractiveAuthentication no
PermitRootLogin $([ -n "$password" ] && echo yes || echo no)
PrintMotd no
LogLevel VERBOSE
CONF
    # A real root, no chroot: in one, nobody gets name spaces.
    # shellcheck disable=SC2016
    unshare --mount --pid --uts --ipc --fork --kill-child --propagation private env -i PATH="$PATH" bash -ec '
        root=$1 dir=$2 name=$3 bash=$4 new=$2/new
        hostname "$name"
        mount --bind "$root" "$new"
        mount -o remount,bind,ro "$new"
        mount --bind "$dir/home" "$new/home"
        mount --bind "$dir/root" "$new/root"
        mount --bind "$dir/passwd" "$new/etc/passwd"
        mount --bind "$dir/shadow" "$new/etc/shadow"
        mount --bind "$dir/var" "$new/var"
        mount -t tmpfs -o mode=1777 tmp "$new/tmp"
        mount -t tmpfs -o mode=755 run "$new/run"
        mount -t proc proc "$new/proc"
        mount --rbind /sys "$new/sys"
        mount -t tmpfs -o mode=755 dev "$new/dev"
        for f in null zero full random urandom tty; do
            : >"$new/dev/$f"
            mount --bind "/dev/$f" "$new/dev/$f"
        done
        mkdir "$new/dev/pts" "$new/dev/shm" "$new/run/sshd"
        mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$new/dev/pts"
        ln -s pts/ptmx "$new/dev/ptmx"
        ln -s /proc/self/fd "$new/dev/fd"
        mount -t tmpfs -o mode=1777 shm "$new/dev/shm"
        cp "$dir/host_key" "$dir/sshd_config" "$new/run/"
        if [ -n "$bash" ]; then
            mount -t tmpfs -o mode=755 bash "$new/usr/local/bin"
            cp -L "$bash" "$new/usr/local/bin/bash"
        fi
        cd "$new"
        pivot_root . mnt
        PATH=/usr/bin:/bin
        umount -l /mnt
        exec /usr/sbin/sshd -D -e -f /run/sshd_config' - "$root" "$dir" "$name" "${password:+$(type -P bash)}" 2>"$dir/log" >/dev/null </dev/null &
    pid[$name]=$!
    await 20 "the sshd of $name: $(cat "$dir/log")" sshd_listens "$dir"
    know "$name"
}

foreign_init() { # pid of its sshd, as seen from here
    local of
    of=$(cat "/proc/${pid[$1]}/task/${pid[$1]}/children")
    echo "${of%% *}"
}

in_foreign() {
    local name=$1 uid=$foreign_uid user=$foreign_user home=/home/$foreign_user shell=/bin/dash
    [ -z "${foreign_rented[$1]}" ] || { uid=0 user=root home=/root shell=/usr/local/bin/bash; }
    shift
    nsenter -t "$(foreign_init "$name")" -a -S "$uid" -G "$uid" -r -w -- /bin/env -i PATH=/usr/bin:/bin \
        HOME="$home" USER="$user" SHELL="$shell" "$@"
}
on_foreign() { in_foreign "$1" /bin/sh -lc "cd; $2"; }
