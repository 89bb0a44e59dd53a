"""make bench: what we do against what people do today, in turn, medians.

    bench.py [--build DIR] [--rounds N] [--only TEXT] [--work DIR] [--keep]

Status 1 where a goal was missed, after all rows.
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

from common import main, run, seconds
from runs import runs

def whole_true(b):
    name = "whole gpurun -- true"
    if not b.wanted(name):
        return
    b.add_host("h")
    empty = b.empty()
    b.case(name, 0.35,
           lambda: b.ours("run", "--host", "h", "--dir", empty, "--", "true", expect=b""),
           lambda: seconds(b.host.ssh() + ["true"], expect=b""), rounds=max(15, b.args.rounds))


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
