"""run TREE: ship, run, snapshot and bill, against what a user does instead: the best transfer, then ssh HOST true."""

import os

from common import DIGEST, digest, run, seconds

GOALS = {
    "small": {"cold": 0.4, "unchanged": 0.25},
    "ds": {"cold": 0.6, "unchanged": 0.45, "1 file": 0.45, "1 %": 0.45},
    "site": {"cold": 0.8, "unchanged": 0.4},
    "big": {"cold": 0.8, "1 %": 0.55},
}
# Where a single thread of zstd would be the slower peer.
UNCOMPRESSED = ("site", "big")
BIG_MB_SENT = 25
MIB = 1 << 20


def check_there(b, host, tree, home=None):
    """What a job on that host finds is what lies here: the timed runs shipped the truth."""
    found = run([b.gpurun, "-q", "run", "--host", host, "--dir", tree, "--", "sh", "-c", DIGEST], env=b.home(home))
    if found != digest(tree):
        raise SystemExit(f"{tree} did not arrive whole")


def cold(b, kind, tree, goal):
    text = b.host.ssh_text()
    homes = []
    pack, unpack = ("cat", "cat") if kind in UNCOMPRESSED else ("zstd -q -1", "zstd -q -d")

    def ours():
        homes.append(b.fresh("client"))
        b.add_host("h", homes[-1])
        return b.ours("run", "--host", "h", "--dir", tree, "--", "true", home=homes[-1], expect=b"")

    def peer():
        to = b.fresh("dest")
        os.makedirs(to)
        took = seconds(f"tar -C {tree} -cf - . | {pack} | {text} bench '{unpack} | tar -C {to} -xf - && sync -f {to}'"
                       f" && {text} bench true", expect=b"")
        if digest(to) != digest(tree):
            raise SystemExit("the peer's copy is wrong")
        return took

    name = f"run {kind}: cold"
    if b.wanted(name):
        b.case(name, goal, ours, peer, rounds=max(3, b.args.rounds // 2))
        check_there(b, "h", tree, homes[-1])


def change_files(files, count, turn):
    """64 bytes in `count` of them, others each time, as an editor would leave them."""
    step = max(1, len(files) // count)
    for f in files[turn % step::step][:count]:
        with open(f, "r+b") as out:
            out.write(os.urandom(64))


def change_big(path, turn):
    """Ten pieces of 2 MiB replaced, at other places each time, and 100 bytes inserted in the middle."""
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        for i in range(10):
            f.seek((2 * i + turn % 2) * (size // 20) + turn * 4099)
            f.write(os.urandom(2 * MIB))
        at = size // 2 + turn
        f.seek(0, os.SEEK_END)
        end = f.tell()
        while end > at:  # from the end, so that nothing is overwritten before it has moved
            begin = max(at, end - 64 * MIB)
            f.seek(begin)
            piece = f.read(end - begin)
            f.seek(begin + 100)
            f.write(piece)
            end = begin
        f.seek(at)
        f.write(os.urandom(100))
        f.flush()
        os.fsync(f.fileno())


def rsync(b, tree):
    text, dest = b.host.ssh_text(), b.fresh("dest")

    def update():
        return seconds(f"rsync -a --delete -e '{text}' {tree}/ bench:{dest}/ && {text} bench 'sync -f {dest}'"
                       f" && {text} bench true", expect=b"")

    def check():
        update()
        if digest(dest) != digest(tree):
            raise SystemExit("the peer's copy is wrong")
    return update, check


def borg(b, tree):
    """For one huge file rsync reads and writes all of it on both sides; borg over ssh is the better peer."""
    text, repo = b.host.ssh_text(), b.fresh("borg")
    env = dict(b.env, BORG_RSH=text, BORG_BASE_DIR=f"{repo}.home", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
               BORG_RELOCATED_REPO_ACCESS_IS_OK="yes")
    n = [0]
    run(["borg", "init", "-e", "none", f"ssh://bench{repo}"], env=env)

    def update():
        n[0] += 1
        return seconds(f"borg create -C lz4 ssh://bench{repo}::{n[0]} {tree} && {text} bench 'sync -f {repo}'"
                       f" && {text} bench true", expect=b"", env=env)

    def check():
        to = b.fresh("dest")
        os.makedirs(to)
        run(["borg", "extract", "--strip-components", str(len(tree.strip("/").split("/"))), f"ssh://bench{repo}::{n[0]}"],
            env=env, cwd=to)
        if digest(to) != digest(tree):
            raise SystemExit("the peer's copy is wrong")
    return update, check


def loopback_bytes():
    with open("/sys/class/net/lo/statistics/tx_bytes") as f:
        return int(f.read())


def warm(b, kind, tree, goals):
    names = {label: f"run {kind}: {label}" + ("" if label == "unchanged" else " changed") for label in goals}
    if not b.wanted(*names.values()):
        return
    warm_host = "w-" + kind
    b.add_host(warm_host)
    files = sorted(os.path.join(d, f) for d, _, fs in os.walk(tree) for f in fs)
    turn, sent = [0], []
    peer, check_peer = (borg if kind == "big" else rsync)(b, tree)

    def ours():
        before = loopback_bytes()
        took = b.ours("run", "--host", warm_host, "--dir", tree, "--", "true", expect=b"")
        sent.append((loopback_bytes() - before) / 1e6)
        return took

    ours()
    peer()
    for label, goal in goals.items():
        count = {"unchanged": 0, "1 file": 1}.get(label, max(1, len(files) // 100))

        def after_change(measure, count=count):
            turn[0] += 1
            if kind == "big":
                change_big(files[0], turn[0])
            elif count > 0:
                change_files(files, count, turn[0])
            return measure()

        sent.clear()
        b.case(names[label], goal, lambda: after_change(ours), lambda: after_change(peer),
               rounds=min(3, b.args.rounds) if kind == "big" else None)
        if kind == "big" and sent:
            # whatever else goes over the loopback only adds to it
            b.row(names[label] + ", MB both ways", min(sent), BIG_MB_SENT, 1.0)
    check_there(b, warm_host, tree)
    check_peer()


def runs(kind):
    def case(b):
        goals = dict(GOALS[kind])
        if b.wanted(*(f"run {kind}: {x}" for x in ("cold", "unchanged", "1 file changed", "1 % changed"))):
            tree = b.tree("site-shipped" if kind == "site" else kind)
            cold(b, kind, tree, goals.pop("cold"))
            warm(b, kind, tree, goals)
    return case
