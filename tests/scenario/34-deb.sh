#!/bin/bash
# The Debian package: what is in it, and that dpkg installs, upgrades, removes and purges it
# in a root of its own, with what users keep left alone.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"

[ "$(basename "$BUILD")" = dev ] || { echo "packages are made of the plain build"; exit 0; }
command -v dpkg-shlibdeps >/dev/null || { echo "no dpkg-dev"; exit 77; }
make_deb() { DEB_COMPRESS=gzip make -s -C "$TOP" DEV="${DEV:-}" B="$BUILD" deb "$@"; }

note "the same bytes every time"
DEV=$(grep -q -- -Werror "$BUILD/flags" && echo 1 || true)
expect 0 make_deb
deb=$(tail -n 1 "$work/out")
[ -s "$deb" ] || fail "no package '$deb'"
cp "$deb" "$work/first.deb"
expect 0 make_deb
cmp "$work/first.deb" "$deb" || fail "the second package differs from the first"

note "what it says of itself"
dpkg-deb -f "$deb" >"$work/control"
has "Package: gpurun" "$work/control"
has "Architecture: $(dpkg --print-architecture)" "$work/control"
for lib in libc6 libssh-4 libssl3 libsqlite3-0 libarchive13; do
    grep -q "^Depends:.*\b$lib (>=" "$work/control" || fail "no dependency on $lib"
done
dpkg-deb -c "$deb" >"$work/names"
awk '$2 != "root/root" { print; bad = 1 } END { exit bad }' "$work/names" || fail "not all of it is root's"
[ -z "$(dpkg-deb -I "$deb" | grep -E 'preinst|postinst|prerm|postrm')" ] || fail "it has scripts"
hasnt .dyn "$work/names"
hasnt /usr/local "$work/names"
for f in share/doc/gpurun/copyright share/doc/gpurun/changelog.gz share/doc/gpurun/README.md share/gpurun/examples/notify.sh \
    share/man/man1/gpurun.1.gz share/man/man8/gpurun-agent.8.gz share/man/man8/gpurun-book.8.gz \
    share/bash-completion/completions/gpurun share/zsh/vendor-completions/_gpurun share/fish/vendor_completions.d/gpurun.fish share/locale/zh_CN/LC_MESSAGES/gpurun.mo \
    lib/gpurun/agent/"$arch"/gpurun-agent lib/gpurun/agent/"$arch"/gpurun-gpuprobe; do
    has " ./usr/$f" "$work/names"
done

if [ "$arch" != aarch64 ] && [ -x "$BUILD/lib/gpurun/agent/aarch64/gpurun-agent" ]; then
    has " ./usr/lib/gpurun/agent/aarch64/gpurun-agent" "$work/names"
elif [ "$arch" != aarch64 ]; then
    has "left out: the agent for aarch64 hosts" "$work/err"
fi

# A root where the packages of this machine count as installed: its dependencies are checked.
root=$work/root
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/log"
cp /var/lib/dpkg/status "$root/var/lib/dpkg/status"
cp /var/lib/dpkg/arch "$root/var/lib/dpkg/" 2>/dev/null || true
cp /var/lib/dpkg/info/*.list "$root/var/lib/dpkg/info/"
pkg() { dpkg --root="$root" --log=/dev/null "$@"; }
files() { (cd "$root" && find . ! -path './var/lib/dpkg*' ! -type d | sort); }
status() { dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Status} ${Version}' gpurun 2>/dev/null; }
here() { as_client "$root/usr/bin/gpurun" "$@"; }

note "an older one is installed, and used"
mkdir "$work/old"
dpkg-deb -R "$deb" "$work/old"
sed -i 's/^Version: .*/Version: 0.0.9-1/' "$work/old/DEBIAN/control"
echo gone >"$work/old/usr/share/gpurun/gone.conf"
dpkg-deb --root-owner-group -Znone -b "$work/old" "$work/old.deb" >/dev/null
files >"$work/before"
expect 0 pkg -i "$work/old.deb"
[ "$(status)" = "installed 0.0.9-1" ] || fail "it is '$(status)'"
[ -s "$root/usr/share/gpurun/gone.conf" ] || fail "the older one's own file is missing"
expect 3 here -q run --name kept -- sh -c 'echo by the package; exit 3'
has "by the package"

note "upgraded: what the older one alone had is gone, its users' jobs are not"
expect 0 pkg -i "$deb"
[ "$(status)" = "installed $(dpkg-deb -f "$deb" Version)" ] || fail "it is '$(status)'"
[ ! -e "$root/usr/share/gpurun/gone.conf" ] || fail "a file of the older one is left"
expect 0 pkg --verify gpurun
[ ! -s "$work/out" ] || fail "what is installed is not what was packed"
expect 0 here ps -a
has kept
expect 0 here -q logs kept
has "by the package"
expect 0 as_client "$root/usr/bin/gpurun-agent" version
expect 0 as_client "$root/usr/bin/gpurun-book" help
for page in man1/gpurun.1 man8/gpurun-agent.8 man8/gpurun-book.8; do
    zcat "$root/usr/share/man/$page.gz" | cmp - "$TOP/man/$(basename "$page")" || fail "$page is another"
done
expect 0 bash -c ". '$root/usr/share/bash-completion/completions/gpurun' && complete -p gpurun"

note "removed, then purged: nothing of it is left"
expect 0 pkg -r gpurun
files >"$work/after"
cmp "$work/before" "$work/after" || fail "left or lost: $(diff "$work/before" "$work/after")"
[ ! -e "$root/usr/lib/gpurun" ] && [ ! -e "$root/usr/share/gpurun" ] || fail "our folders are left"
expect 0 pkg -P gpurun
[ -z "$(status)" ] || [ "$(status)" = "not-installed " ] || fail "it is '$(status)'"
[ -d "$client/gpurun" ] || fail "what its user kept is gone"
expect 0 gpurun ps -a
has kept
