"""What the benchmarks share: a private sshd, timing in turn, one table.

Every case runs A B A B …, each time into a fresh destination (ext4 is slow for half a
minute after a mass unlink, so nothing is removed between rounds; where cases are `alone`,
what one left goes before the next, which begins when files are made as fast as at first).
A result that is wrong stops the benchmark: a fast failure must not look like a gain.
"""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

# ext4 passes over the numbers of files that went within the last minute, or five (RECENTCY_DIRTY), so whoever makes
# files then pays for what another one removed. Those of a probe stay, or it would wait for itself.
PROBE_FILES, PROBE_EVERY_S = 1000, 10
SETTLED, SETTLE_S = 1.5, 400

# Below a tenth a host keeps no directory of an ended job: another case than was meant.
ROOM_LEAST = 0.1

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

SITE = ["/usr/lib/python3/dist-packages", "/usr/lib/llvm-14", "/usr/lib/python3.11", "/usr/lib/gcc", "/usr/include",
        "/usr/share/perl", "/usr/share/doc"]

# What a run leaves behind, so that its peers have the same to send.
NOT_SHIPPED = ["__pycache__", ".ipynb_checkpoints", ".git", ".gitignore", ".env", ".ssh", ".netrc", "id_*", "*.pem", "*.key",
               "pyvenv.cfg"]

# One line that stands for all names and contents below the current directory.
DIGEST = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"


def run(command, **more):
    """Run a word list, or a bash pipeline in which every part must succeed. Its stdout."""
    if isinstance(command, str):
        command = ["bash", "-c", "set -o pipefail; " + command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **more)
    if done.returncode != 0:
        raise SystemExit(f"failed ({done.returncode}): {command}\n"
                         f"{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def seconds(command, expect=None, **more):
    """How long it took; what it printed has to be `expect`."""
    began = time.monotonic()
    out = run(command, **more)
    took = time.monotonic() - began
    if expect is not None and out != expect:
        raise SystemExit(f"wrong output: {command}\n{out[:500]!r}, not {expect[:500]!r}")
    return took


def measured_here(words, env):
    began = time.monotonic()
    reader, writer = os.pipe()
    pid = os.posix_spawnp(words[0], words, env, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    with os.fdopen(reader) as out:
        said = out.read()
    _, status, used = os.wait4(pid, 0)
    return status, time.monotonic() - began, said, used.ru_maxrss


def small_process():
    """What is started inherits the peak of who starts it: one forked before this process has read anything does it."""
    here, there = socket.socketpair()
    if os.fork() == 0:
        here.close()
        with there.makefile("rw") as asked:
            for line in asked:
                asked.write(json.dumps(measured_here(*json.loads(line))) + "\n")
                asked.flush()
        os._exit(0)
    there.close()
    return here.makefile("rw")


SMALL = small_process()


def measured(words, env):
    """Seconds, standard output, and the peak of memory (KiB) of the largest process."""
    SMALL.write(json.dumps([words, dict(env)]) + "\n")
    SMALL.flush()
    status, took, said, peak = json.loads(SMALL.readline())
    if status != 0:
        raise SystemExit(f"failed ({status}): {words}")
    return took, said, peak


def digest(directory):
    return run(DIGEST, cwd=directory)


def megabytes(directory):
    return int(run(["du", "-sm", directory]).split()[0])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    """A private sshd for the user who runs this; .bashrc stays silent for all clients."""

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
            f.write(f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\n"
                    f"AuthorizedKeysFile {self.dir}/authorized\nPidFile none\nStrictModes no\n"
                    "UsePAM no\nSetEnv SHLVL=5\nPermitRootLogin yes\nPrintMotd no\n")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.log = open(f"{self.dir}/log", "w")
        self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{self.dir}/sshd_config"],
                                        stdin=subprocess.DEVNULL, stderr=self.log)
        self.await_listening()
        self.home = os.path.join(work, "home")
        os.makedirs(f"{self.home}/.ssh", mode=0o700)
        shutil.copy(f"{self.dir}/known_hosts", f"{self.home}/.ssh/known_hosts")
        with open(f"{self.home}/.ssh/config", "w") as f:
            f.write(f"Host bench\n HostName 127.0.0.1\n Port {self.port}\n"
                    f" IdentityFile {self.dir}/user\n UserKnownHostsFile {self.dir}/known_hosts\n")

    def await_listening(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit("sshd did not start: " + open(f"{self.dir}/log").read())
                time.sleep(0.02)

    def ssh(self):
        """The yardstick: curve25519, since ssh's default key exchange would flatter us."""
        return ["ssh", "-F", f"{self.home}/.ssh/config", "-o", "KexAlgorithms=curve25519-sha256",
                "-c", "aes128-gcm@openssh.com", "bench"]

    def ssh_text(self):
        """The same for a shell, or rsync -e, without the host's name."""
        return " ".join(self.ssh()[:-1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


class Bench:
    def __init__(self, args):
        self.args = args
        self.rows = []
        base = os.path.abspath(args.work or os.path.join(ROOT, "build"))
        os.makedirs(base, exist_ok=True)
        self.work = tempfile.mkdtemp(prefix="bench.", dir=base)
        self.host = Host(self.work)
        self.n = 0
        self.n_settled = 0
        self.env = dict(os.environ, HOME=self.host.home, GPURUN_HOME=f"{self.work}/gpurun",
                        LC_ALL="C.UTF-8")
        self.gpurun = os.path.join(args.build, "bin/gpurun")
        self.tools = os.path.join(args.build, "tests/tools")
        self.at_end = [self.host.stop]
        self.first_making = self.making()
        print(f"# {time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
              f"{os.uname().release}; seconds unless a case says else, medians of rounds A B A B", flush=True)
        print(f"{'case':38s} {'ours':>10s} {'peer':>10s} {'ratio':>7s} {'goal':>7s}", flush=True)

    def close(self):
        for act in reversed(self.at_end):
            act()
        if not self.args.keep:
            shutil.rmtree(self.work, ignore_errors=True)

    def making(self):
        """Seconds that the file system takes for many small files, durable."""
        os.makedirs(f"{self.work}/probes", exist_ok=True)
        at = tempfile.mkdtemp(dir=f"{self.work}/probes")
        began = time.monotonic()
        for i in range(PROBE_FILES):
            with open(f"{at}/{i}", "w") as f:
                f.write("x" * 600)
        run(["sync", "-f", at])
        return time.monotonic() - began

    def room(self):
        """The share of the disk that is free."""
        disk = os.statvfs(self.work)
        return disk.f_bavail / disk.f_blocks

    def settle(self):
        """Remove what cases made, and wait until nothing of that is felt any more."""
        if self.n == self.n_settled:
            return
        self.n_settled = self.n
        keep = {self.host.dir, self.host.home, f"{self.work}/probes"}
        for entry in os.scandir(self.work):
            if entry.path not in keep and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)  # an agent may just be ending there
        run(["sync", "-f", self.work])
        deadline = time.monotonic() + SETTLE_S
        while (took := self.making()) > SETTLED * self.first_making:
            if time.monotonic() > deadline:
                print(f"# files are still made {took / self.first_making:.1f} times slower than at first", flush=True)
                break
            time.sleep(PROBE_EVERY_S)

    def wanted(self, *names):
        return not self.args.only or any(self.args.only in n for n in names)

    def fresh(self, name):
        self.n += 1
        return f"{self.work}/{name}.{self.n}"

    def empty(self):
        path = self.fresh("empty")
        os.makedirs(path)
        return path

    def home(self, home):
        return dict(self.env, GPURUN_HOME=home) if home else self.env

    def ours(self, *words, home=None, expect=None):
        return seconds([self.gpurun, "-q", *words], env=self.home(home), expect=expect)

    def add_host(self, name, home=None):
        """A host that is known: its agent is there, its environment captured by a first run."""
        agent = self.fresh("agent")
        run([self.gpurun, "-q", "host", "add", name, "bench", "--agent-home", agent], env=self.home(home))
        run([self.gpurun, "-q", "run", "--host", name, "--dir", self.empty(), "--", "true"], env=self.home(home))
        return agent

    def case(self, name, goal, ours, peer, rounds=None):
        """ours and peer: functions that return seconds (or another figure, less is better)."""
        if not self.wanted(name):
            return
        a, b = [], []
        for _ in range(rounds or self.args.rounds):
            a.append(ours())
            b.append(peer())
        self.row(name, statistics.median(a), statistics.median(b), goal)

    def row(self, name, ours, peer, goal):
        """goal None: there is none, and nothing to be met."""
        if not self.wanted(name):
            return
        if self.room() < ROOM_LEAST:
            raise SystemExit(f"{name}: less than a tenth of the disk is free: measure on a larger one (--work)")
        ratio = ours / peer
        if goal is None:
            print(f"{name:38s} {ours:10.4f} {peer:10.4f} {ratio:7.3f} {'-':>7s}", flush=True)
            return
        verdict = "met" if ratio <= goal else "MISSED"
        self.rows.append((name, verdict))
        print(f"{name:38s} {ours:10.4f} {peer:10.4f} {ratio:7.3f} {goal:7.3f}  {verdict}", flush=True)

    def tree(self, kind, scale=100):
        path = f"{self.work}/tree-{kind}-{scale}"
        if not os.path.exists(path) and kind.startswith("site"):
            self.copy_site(path, NOT_SHIPPED if kind == "site-shipped" else [], 960 * scale // 100)
        elif not os.path.exists(path):
            run([f"{self.tools}/mktree", kind, path, str(scale)])
        return path

    def copy_site(self, path, without, most_mb):
        """Real packages of this machine, until it is so much: Python's own, then compilers' and their headers."""
        os.makedirs(path)
        for i, source in enumerate(SITE):
            if megabytes(path) < most_mb and os.path.isdir(source) and megabytes(source) <= most_mb:
                run(["rsync", "-a", *(f"--exclude={name}" for name in without), f"{source}/", f"{path}/{i}-{os.path.basename(source)}"])
        n = int(run(f"find {path} -type f | wc -l"))
        print(f"# {os.path.basename(path)}: {n} files, {megabytes(path)} MB", flush=True)

    def verdict(self):
        """Say what was missed; is there nothing of it?"""
        missed = [n for n, v in self.rows if v != "met"]
        print(f"{len(self.rows) - len(missed)} met, {len(missed)} missed" + "".join(f"; {n}" for n in missed))
        return not missed


def alone(case):
    """A case that needs much of the disk: nothing of what it makes is there for the next."""
    def run_alone(b):
        case(b)
        b.settle()
    return run_alone


def main(parser, cases):
    """cases: functions of a Bench, each of which looks at bench.wanted itself. 1 where a row missed its goal,
    once all were run."""
    parser.add_argument("--build", type=os.path.abspath, default=os.path.join(ROOT, "build/dev"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="cases whose name holds this text")
    parser.add_argument("--work", help="where to put what is measured (default: build/)")
    parser.add_argument("--keep", action="store_true")
    b = Bench(parser.parse_args())
    try:
        for c in cases:
            c(b)
        return 0 if b.verdict() else 1
    finally:
        b.close()
