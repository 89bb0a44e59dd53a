"""make bench: what we do against what people do today, in turn, medians.

    bench.py [--build DIR] [--rounds N] [--only TEXT] [--work DIR] [--keep]
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

from common import DIGEST, digest, main, run, seconds

RUNS = {
    "small": {"cold": 0.4, "unchanged": 0.25},
    "ds": {"cold": 0.6, "unchanged": 0.45, "1 file": 0.45, "1 %": 0.45},
}


def whole_true(b):
    name = "whole gpurun -- true"
    if not b.wanted(name):
        return
    b.add_host("h")
    empty = b.empty()
    b.case(name, 0.35,
           lambda: b.ours("run", "--host", "h", "--dir", empty, "--", "true", expect=b""),
           lambda: seconds(b.host.ssh() + ["true"], expect=b""), rounds=max(15, b.args.rounds))


def check_there(b, host, tree, home=None):
    """What a job on that host finds is what lies here: the timed runs shipped the truth."""
    found = run([b.gpurun, "-q", "run", "--host", host, "--dir", tree, "--", "sh", "-c", DIGEST], env=b.home(home))
    if found != digest(tree):
        raise SystemExit(f"{tree} did not arrive whole")


def cold(b, kind, tree, goal):
    text = b.host.ssh_text()
    homes = []

    def ours():
        homes.append(b.fresh("client"))
        b.add_host("h", homes[-1])
        return b.ours("run", "--host", "h", "--dir", tree, "--", "true", home=homes[-1], expect=b"")

    def peer():
        to = b.fresh("dest")
        os.makedirs(to)
        took = seconds(f"tar -C {tree} -cf - . | zstd -q -1 | {text} bench 'zstd -q -d | tar -C {to} -xf - && sync -f {to}'"
                       f" && {text} bench true", expect=b"")
        if digest(to) != digest(tree):
            raise SystemExit("the peer's copy is wrong")
        return took

    name = f"run {kind}: cold"
    if b.wanted(name):
        b.case(name, goal, ours, peer, rounds=max(3, b.args.rounds // 2))
        check_there(b, "h", tree, homes[-1])


def change(files, count, turn):
    """64 bytes in `count` of them, others each time, as an editor would leave them."""
    step = max(1, len(files) // count)
    for f in files[turn % step::step][:count]:
        with open(f, "r+b") as out:
            out.write(os.urandom(64))


def warm(b, kind, tree, goals):
    names = {label: f"run {kind}: {label}" + ("" if label == "unchanged" else " changed") for label in goals}
    if not b.wanted(*names.values()):
        return
    text, dest = b.host.ssh_text(), b.fresh("dest")
    warm_host = "w-" + kind
    b.add_host(warm_host)
    files = sorted(os.path.join(d, f) for d, _, fs in os.walk(tree) for f in fs)
    turn = [0]

    def ours():
        return b.ours("run", "--host", warm_host, "--dir", tree, "--", "true", expect=b"")

    def peer():
        return seconds(f"rsync -a --delete -e '{text}' {tree}/ bench:{dest}/ && {text} bench 'sync -f {dest}'"
                       f" && {text} bench true", expect=b"")

    ours()
    peer()
    for label, goal in goals.items():
        count = {"unchanged": 0, "1 file": 1}.get(label, max(1, len(files) // 100))

        def after_change(measure, count=count):
            turn[0] += 1
            if count > 0:
                change(files, count, turn[0])
            return measure()

        b.case(names[label], goal, lambda: after_change(ours), lambda: after_change(peer))
    peer()
    check_there(b, warm_host, tree)
    if digest(dest) != digest(tree):
        raise SystemExit("the peer's copy is wrong")


def runs(kind):
    def case(b):
        goals = dict(RUNS[kind])
        if b.wanted(*(f"run {kind}: {x}" for x in ("cold", "unchanged", "1 file changed", "1 % changed"))):
            tree = b.tree(kind)
            cold(b, kind, tree, goals.pop("cold"))
            warm(b, kind, tree, goals)
    return case


def logs(b):
    through = "log throughput, 10 M lines"
    late = ["log line latency p50, us", "log line latency p99, us"]
    if not b.wanted(through, *late):
        return
    b.add_host("l")
    lines, ssh = f"{b.tools}/lines", f"{b.host.ssh_text()} bench"
    ours = f"{b.gpurun} -q run --host l --dir {b.empty()} --"
    n = 10_000_000
    if b.wanted(through):
        # More lines a second is better: the ratio of times, goal 1 / 0.9.
        b.case(through, 1 / 0.9,
               lambda: seconds(f"{ours} {lines} {n} | cat >/dev/null", env=b.env),
               lambda: seconds(f"{ssh} {lines} {n} | cat >/dev/null"), rounds=max(3, b.args.rounds))
        if run(f"{ours} {lines} {n} | sha256sum", env=b.env) != run(f"{lines} {n} | sha256sum"):
            raise SystemExit("the log that came is not what was written")
    if b.wanted(*late):
        mine, theirs = [], []
        for _ in range(max(3, b.args.rounds)):
            mine.append(run(f"{ours} {lines} --stamp 3000 1000 | {lines} --delay", env=b.env).split())
            theirs.append(run(f"{ssh} {lines} --stamp 3000 1000 | {lines} --delay").split())
        for i, goal in enumerate((1.3, 1.5)):
            b.row(late[i], statistics.median(int(f[i]) for f in mine),
                  statistics.median(int(f[i]) for f in theirs), goal)


def supervisor_of(agent):
    """Pid of the job's supervisor, and those of supervisor and guard."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = {}
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{p}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
                with open(f"/proc/{p}/environ", "rb") as f:
                    environ = f.read()
                with open(f"/proc/{p}/comm") as f:
                    comm = f.read().strip()
            except OSError:
                continue
            if b"supervise" in words and agent.encode() in environ:
                found[comm == "gpurun-guard"] = p
        if len(found) == 2:
            return found[False], list(found.values())
        time.sleep(0.05)
    raise SystemExit("no supervisor was found")


def cpu_ticks(pids):
    total = 0
    for p in pids:
        with open(f"/proc/{p}/stat") as f:
            words = f.read().rsplit(")", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total


def memory_kib(pids, key):
    total = 0
    for p in pids:
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith(key))
    return total


def supervisor(b):
    """While its job sleeps; the peers are the limits. With the guard by proportional
    shares, since the two share pages."""
    names = ["supervisor anonymous, KiB", "supervisor RSS, KiB", "supervisor and guard anonymous, KiB",
             "supervisor and guard in all, KiB", "supervisor and guard CPU, %"]
    if not b.wanted(*names):
        return
    agent = b.add_host("s")
    job = run([b.gpurun, "-q", "run", "-d", "--host", "s", "--dir", b.empty(), "--", "sleep", "300"],
              env=b.env).decode().split()[-1]
    one, both = supervisor_of(agent)
    time.sleep(2)
    before, began = cpu_ticks(both), time.monotonic()
    time.sleep(30)
    share = (cpu_ticks(both) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    b.row(names[0], memory_kib([one], "Anonymous:"), 1024, 1.0)
    b.row(names[1], memory_kib([one], "Rss:"), 5120, 1.0)
    b.row(names[2], memory_kib(both, "Pss_Anon:"), 1024, 1.0)
    b.row(names[3], memory_kib(both, "Pss:"), 5120, 1.0)
    b.row(names[4], share * 100, 0.1, 1.0)
    stopped = subprocess.run([b.gpurun, "-q", "stop", "--now", job], env=b.env,
                             stdout=subprocess.DEVNULL, check=False).returncode
    if stopped != 128 + signal.SIGKILL:
        raise SystemExit(f"stop --now ended with {stopped}, not 137")


def podman_of(b):
    """podman with one small image, and nothing of the user's; the command to be added to."""
    pod = b.fresh("podman")
    root = f"{pod}/rootfs"
    os.makedirs(f"{root}/bin")
    shutil.copy("/usr/bin/busybox", f"{root}/bin/busybox")
    os.symlink("busybox", f"{root}/bin/true")
    words = ["podman", "--root", f"{pod}/root", "--runroot", f"{pod}/run", "--runtime", "runc",
             "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay"]
    b.at_end.append(lambda: subprocess.run(["umount", "-q", "-l", f"{pod}/root/overlay"], check=False))
    run(f"tar -C {root} -cf {pod}/image.tar . && {' '.join(words)} import -q {pod}/image.tar bench:1")
    return words


def first_instruction(b):
    """From the moment the host makes the job's record (before it is durable, and accepted)
    to what the program does first; the peer is all of podman run."""
    name = "accepted -> first instruction"
    if not b.wanted(name):
        return
    b.add_host("f")
    empty = b.empty()
    podman = podman_of(b)

    def ours():
        now_ns = run([b.gpurun, "-q", "run", "--host", "f", "--dir", empty, "--",
                      f"{b.tools}/lines", "--now"], env=b.env)
        job = json.loads(run([b.gpurun, "--json", "wait", "@last"], env=b.env))
        return (int(now_ns) - job["made_ns"]) / 1e9

    b.case(name, 0.10, ours,
           lambda: seconds(podman + ["run", "--rm", "--network=none", "--ulimit", "nofile=1024:1024",
                                     "--ulimit", "nproc=1024:1024", "bench:1", "/bin/true"], expect=b""),
           rounds=max(7, b.args.rounds))


def batch(b):
    """A hundred jobs by one gpurun: each durable, kept and billed, as is checked each time. The peer
    is a hundred ssh over one connection that stands already; ours is opened within the time."""
    name = "100 jobs as a batch"
    if not b.wanted(name):
        return
    agent = b.add_host("b")
    empty = b.empty()
    run([f"{b.args.build}/bin/gpurun-agent", "price", "set", "cpu=0.36"], env=dict(b.env, GPURUN_AGENT_HOME=agent))
    master = b.host.ssh()[:-1] + ["-S", f"{b.host.dir}/master"]
    none = subprocess.DEVNULL  # it stays in the background, and would hold on to a pipe
    subprocess.run(master + ["-M", "-N", "-f", "bench"], stdin=none, stdout=none, stderr=none, check=True)
    b.at_end.append(lambda: run(master + ["-q", "-O", "exit", "bench"]))
    again = " ".join(master)

    def ours():
        began = time.monotonic()
        end = json.loads(run([b.gpurun, "-q", "run", "--json", "--array", "1-100", "--host", "b", "--dir", empty,
                              "--", "true"], env=b.env))
        took = time.monotonic() - began
        if (len(end["jobs"]) != 100 or end["bills_missing"] != 0 or
                not all(j["exit"] == 0 and j["job"]["snapshot"] for j in end["jobs"])):
            raise SystemExit(f"a batch that did not go well: {end}")
        return took

    b.case(name, 2.5, ours, lambda: seconds(f"for i in $(seq 100); do {again} bench true || exit 1; done", expect=b""),
           rounds=max(5, b.args.rounds))


if __name__ == "__main__":
    sys.exit(main(argparse.ArgumentParser(description="gpurun against its peers"),
                  [whole_true, runs("small"), runs("ds"), batch, first_instruction, logs, supervisor]))
