"""make bench: what we do against what people do today, in turn, medians.

Prints one table: case, ours, peer, ratio, goal. Every case runs A B A B …, each
time into a fresh destination (ext4 is slow for half a minute after a mass
unlink, so nothing is removed between rounds; all is removed at the end).
A private OpenSSH server on loopback serves both sides alike.

    bench.py [--build DIR] [--rounds N] [--only TEXT] [--work DIR]
"""

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    """A private sshd for the user who runs this, quiet about .bashrc."""

    def __init__(self, work):
        self.dir = os.path.join(work, "sshd")
        os.makedirs(self.dir, mode=0o700)
        self.port = free_port()
        for name in ("host", "user"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.dir}/{name}"])
        shutil.copy(f"{self.dir}/user.pub", f"{self.dir}/authorized")
        with open(f"{self.dir}/host.pub") as f:
            key = " ".join(f.read().split()[:2])
        with open(f"{self.dir}/known_hosts", "w") as f:
            f.write(f"[127.0.0.1]:{self.port} {key}\n")
        with open(f"{self.dir}/sshd_config", "w") as f:
            f.write(
                f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\n"
                f"AuthorizedKeysFile {self.dir}/authorized\nPidFile none\nStrictModes no\n"
                "UsePAM no\nSetEnv SHLVL=5\nPermitRootLogin yes\nPrintMotd no\n"
            )
        os.makedirs("/run/sshd", exist_ok=True)
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{self.dir}/sshd_config"],
                                        stderr=open(f"{self.dir}/log", "w"))
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit("sshd did not start: " + open(f"{self.dir}/log").read())
                time.sleep(0.02)
        self.home = os.path.join(work, "home")
        os.makedirs(f"{self.home}/.ssh", mode=0o700)
        shutil.copy(f"{self.dir}/known_hosts", f"{self.home}/.ssh/known_hosts")
        with open(f"{self.home}/.ssh/config", "w") as f:
            f.write(f"Host bench\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {self.dir}/user\n"
                    f" UserKnownHostsFile {self.dir}/known_hosts\n")

    def ssh(self):
        """The yardstick: curve25519, since ssh's default key exchange would flatter us."""
        return ["ssh", "-F", f"{self.home}/.ssh/config", "-o", "KexAlgorithms=curve25519-sha256",
                "-c", "aes128-gcm@openssh.com", "bench"]

    def ssh_text(self):
        return " ".join(self.ssh()[:-1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def run(command, **more):
    shell = isinstance(command, str)
    done = subprocess.run(["bash", "-c", "set -o pipefail; " + command] if shell else command,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if done.returncode != 0:
        raise SystemExit(f"failed ({done.returncode}): {command}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def seconds(command, **more):
    began = time.monotonic()
    run(command, **more)
    return time.monotonic() - began


class Bench:
    def __init__(self, args):
        self.args = args
        self.rows = []
        base = args.work or os.path.join(ROOT, "build")
        os.makedirs(base, exist_ok=True)
        self.work = tempfile.mkdtemp(prefix="bench.", dir=base)
        self.host = Host(self.work)
        self.n = 0
        self.env = dict(os.environ, HOME=self.host.home, GPURUN_HOME=f"{self.work}/gpurun",
                        LC_ALL="C.UTF-8")
        self.gpurun = os.path.join(args.build, "gpurun")
        self.tools = os.path.join(args.build, "tests/tools")

    def fresh(self, name):
        self.n += 1
        return f"{self.work}/{name}.{self.n}"

    def ours(self, *words, home=None):
        return seconds([self.gpurun, "-q", *words], env=dict(self.env, GPURUN_HOME=home or self.env["GPURUN_HOME"]))

    def add_host(self, name, agent_home, home=None):
        env = dict(self.env, GPURUN_HOME=home or self.env["GPURUN_HOME"])
        run([self.gpurun, "-q", "host", "add", name, "bench", "--agent-home", agent_home], env=env)
        empty = self.fresh("empty")
        os.makedirs(empty)
        run([self.gpurun, "-q", "run", "--host", name, "--dir", empty, "--", "true"], env=env)

    def case(self, name, goal, ours, peer, rounds=None):
        """ours and peer: functions that return seconds (or another figure, less is better)."""
        if self.args.only and self.args.only not in name:
            return
        a, b = [], []
        for _ in range(rounds or self.args.rounds):
            a.append(ours())
            b.append(peer())
        self.row(name, statistics.median(a), statistics.median(b), goal)

    def row(self, name, ours, peer, goal):
        ratio = ours / peer
        verdict = "met" if ratio <= goal else "MISSED"
        self.rows.append((name, ours, peer, ratio, goal, verdict))
        print(f"{name:34s} {ours:10.4f} {peer:10.4f} {ratio:7.3f} {goal:7.3f}  {verdict}", flush=True)

    def tree(self, kind, scale=100):
        path = f"{self.work}/tree-{kind}-{scale}"
        if not os.path.exists(path):
            run([f"{self.tools}/mktree", kind, path, str(scale)])
        return path


def whole_true(b):
    b.add_host("h", b.fresh("agent"))
    empty = b.fresh("empty")
    os.makedirs(empty)
    b.case("whole gpurun -- true", 0.35,
           lambda: b.ours("run", "--host", "h", "--dir", empty, "--", "true"),
           lambda: seconds(b.host.ssh() + ["true"]), rounds=max(15, b.args.rounds))


def run_tree(b, kind, goals):
    """Cold, unchanged, one file changed, one per cent changed; peers as PERF's table says."""
    tree = b.tree(kind)
    ssh, text = b.host.ssh(), b.host.ssh_text()

    def cold_ours():
        home, agent = b.fresh("client"), b.fresh("agent")
        b.add_host("h", agent, home)
        return b.ours("run", "--host", "h", "--dir", tree, "--", "true", home=home)

    def cold_peer():
        to = b.fresh("dest")
        os.makedirs(to)
        return seconds(f"tar -C {tree} -cf - . | zstd -q -1 | {text} bench 'zstd -q -d | tar -C {to} -xf - && sync -f {to}'"
                       f" && {text} bench true")

    b.case(f"run {kind}: cold", goals["cold"], cold_ours, cold_peer, rounds=3)
    if b.args.only and "run " + kind not in b.args.only and b.args.only not in f"run {kind}:":
        pass
    agent, dest = b.fresh("agent"), b.fresh("dest")
    b.add_host("w", agent)
    b.ours("run", "--host", "w", "--dir", tree, "--", "true")
    run(f"rsync -a -e '{text}' {tree}/ bench:{dest}/")

    def warm_ours():
        return b.ours("run", "--host", "w", "--dir", tree, "--", "true")

    def warm_peer():
        return seconds(f"rsync -a --delete -e '{text}' {tree}/ bench:{dest}/ && {text} bench 'sync -f {dest}' && {text} bench true")

    b.case(f"run {kind}: unchanged", goals["unchanged"], warm_ours, warm_peer)
    files = sorted(os.path.join(d, f) for d, _, fs in os.walk(tree) for f in fs)
    for label, count in (("1 file", 1), ("1 %", max(1, len(files) // 100))):
        if label not in goals:
            continue
        state = {"round": 0}

        def change():
            state["round"] += 1
            for f in files[state["round"] % 7::max(1, len(files) // count)][:count]:
                with open(f, "r+b") as out:
                    out.write(os.urandom(64))

        def changed(measure):
            change()
            return measure()

        b.case(f"run {kind}: {label} changed", goals[label], lambda: changed(warm_ours), lambda: changed(warm_peer))


def logs(b):
    b.add_host("l", b.fresh("agent"))
    empty = b.fresh("empty")
    os.makedirs(empty)
    lines = f"{b.tools}/lines"
    ours = f"{b.gpurun} -q run --host l --dir {empty} --"
    n = 10_000_000

    # More lines a second is better: the ratio of times, goal 1 / 0.9.
    b.case("log throughput, 10 M lines", 1 / 0.9,
           lambda: seconds(f"{ours} {lines} {n} | cat >/dev/null", env=b.env),
           lambda: seconds(f"{b.host.ssh_text()} bench {lines} {n} | cat >/dev/null"), rounds=3)
    if b.args.only and b.args.only not in "log line latency":
        return
    figures = {"ours": [], "peer": []}
    for _ in range(3):
        figures["ours"].append(run(f"{ours} {lines} --stamp 3000 1000 | {lines} --delay", env=b.env).split())
        figures["peer"].append(run(f"{b.host.ssh_text()} bench {lines} --stamp 3000 1000 | {lines} --delay").split())
    for i, (name, goal) in enumerate((("p50", 1.3), ("p99", 1.5))):
        b.row(f"log line latency {name} (us)", statistics.median(int(f[i]) for f in figures["ours"]),
              statistics.median(int(f[i]) for f in figures["peer"]), goal)


def supervisor(b):
    """Memory and CPU of the supervisor while its job runs; peers are the limits themselves."""
    if b.args.only and b.args.only not in "supervisor":
        return
    agent = b.fresh("agent")
    b.add_host("s", agent)
    empty = b.fresh("empty")
    os.makedirs(empty)
    job = run([b.gpurun, "-q", "run", "-d", "--host", "s", "--dir", empty, "--", "sleep", "60"], env=b.env).decode().split()[-1]
    pids = []
    deadline = time.monotonic() + 10
    while not pids and time.monotonic() < deadline:
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{p}/cmdline", "rb").read().split(b"\0")
                environ = open(f"/proc/{p}/environ", "rb").read()
            except OSError:
                continue
            if b"supervise" in words and agent.encode() in b" ".join(words) + environ:
                pids.append(p)
    if not pids:
        print("supervisor: not found", flush=True)
        return
    time.sleep(1)
    def cpu():
        total = 0
        for p in pids:
            f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            total += int(f[11]) + int(f[12])
        return total
    before, began = cpu(), time.monotonic()
    time.sleep(20)
    share = (cpu() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    rss = anonymous = 0
    for p in pids:
        for line in open(f"/proc/{p}/smaps_rollup"):
            if line.startswith("Rss:"):
                rss += int(line.split()[1])
            if line.startswith("Anonymous:"):
                anonymous += int(line.split()[1])
    b.row("supervisor anonymous KiB / 1024", anonymous, 1024, 1.0)
    b.row("supervisor RSS KiB / 5120", rss, 5120, 1.0)
    b.row("supervisor CPU % / 0.1", share * 100, 0.1, 1.0)
    run([b.gpurun, "-q", "stop", "--now", job], env=b.env)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build/dev"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--work")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    b = Bench(args)
    print(f"{'case':34s} {'ours':>10s} {'peer':>10s} {'ratio':>7s} {'goal':>7s}", flush=True)
    try:
        wanted = lambda name: not args.only or args.only in name or name in args.only
        if wanted("whole gpurun -- true"):
            whole_true(b)
        if wanted("run small") or (args.only or "").startswith("run small"):
            run_tree(b, "small", {"cold": 0.4, "unchanged": 0.25})
        if wanted("run ds") or (args.only or "").startswith("run ds"):
            run_tree(b, "ds", {"cold": 0.6, "1 file": 0.45, "1 %": 0.45, "unchanged": 0.45})
        if wanted("log"):
            logs(b)
        if wanted("supervisor"):
            supervisor(b)
    finally:
        b.host.stop()
        if not args.keep:
            shutil.rmtree(b.work, ignore_errors=True)
    missed = [r for r in b.rows if r[5] != "met"]
    print(f"{len(b.rows) - len(missed)} met, {len(missed)} missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
