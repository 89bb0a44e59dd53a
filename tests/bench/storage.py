"""make bench-storage: snapshots and restores against restic, borg, casync and tar, and whole runs of the large trees.

Every first snapshot and every restore goes to a fresh place; those of an unchanged tree
to the one that the same tool has filled. Peers are followed by sync -f: ours are durable.

    storage.py [--build DIR] [--rounds N] [--only TEXT] [--work DIR] [--keep]

Of each tree also what the other peers take, once; those rows have no goal.

--only growth: ours alone, snapshots, restores and runs, at more and more of each tree (tiny up to 16 times, big up to 4;
site has no more than it has).

Status 1 where a goal was missed, after all rows.
"""

import argparse
import os
import statistics
import sys

from common import alone, digest, main, measured, megabytes, run, seconds
from runs import runs

# kind: (first, unchanged, restore, bytes kept); None: PERF has no such row.
GOALS = {
    "small": (None, None, None, None),
    "ds": (("borg", 0.4), ("borg", 0.15), ("casync", 0.7), None),
    "tiny": (("restic", 0.25), ("casync", 0.35), ("casync", 0.85), ("restic", 0.7)),
    "site": (("borg", 0.6), None, None, ("restic", 1.05)),
    "big": (("borg", 0.7), ("restic", 0.05), None, None),
}


def bytes_below(directory, only=None):
    total = 0
    for d, _, files in os.walk(directory):
        total += sum(os.lstat(os.path.join(d, f)).st_blocks * 512 for f in files if only is None or f == only)
    return total


def kept(tool):
    """Bytes that the tree costs. Ours is counted with its keys, its scan cache and the reserve that it
    gives back on a full disk; of restic and borg the repository alone, without its cache."""
    return bytes_below(tool.place)


class Ours:
    def __init__(self, b, place):
        self.b, self.place = b, place
        self.env = dict(b.env, GPURUN_HOME=place)
        self.id = None
        self.peak_kib = 0
        self.has_host = False

    def make(self):
        os.makedirs(self.place)

    def snapshot(self, tree):
        took, said, peak = measured([self.b.gpurun, "-q", "snap", "take", tree], self.env)
        self.id = said.split()[-1]
        self.peak_kib = max(self.peak_kib, peak)
        return took

    def restore(self, to):
        return seconds([self.b.gpurun, "-q", "snap", "get", self.id, "-o", to], env=self.env)

    def run(self, tree):
        """A job of it on a host that it is sent to (which stands by then, and has nothing of it at first)."""
        if not self.has_host:
            self.b.add_host("growing", self.place)
            self.has_host = True
        return self.b.ours("run", "--host", "growing", "--dir", tree, "--", "true", home=self.place, expect=b"")


class Borg:
    compression = "lz4"

    def __init__(self, b, place):
        self.place, self.n, self.peak_kib = place, 0, 0
        self.env = dict(b.env, BORG_BASE_DIR=f"{place}.home", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")

    def make(self):
        run(["borg", "init", "-e", "none", self.place], env=self.env)

    def snapshot(self, tree):
        self.n += 1
        took, _, peak = measured(["borg", "create", "-C", self.compression, f"{self.place}::{self.n}", tree], self.env)
        self.peak_kib = max(self.peak_kib, peak)
        return took + seconds(["sync", "-f", self.place])

    def restore(self, to):
        os.makedirs(to)
        return seconds(["borg", "extract", f"{self.place}::{self.n}"], env=self.env, cwd=to)


class BorgZstd(Borg):
    compression = "zstd"


class Restic:
    def __init__(self, b, place):
        self.place = place
        self.env = dict(b.env, RESTIC_PASSWORD="bench", RESTIC_CACHE_DIR=f"{place}.cache")

    def make(self):
        run(["restic", "-q", "init", "-r", self.place], env=self.env)

    def snapshot(self, tree):
        return seconds(f"restic -q backup -r {self.place} {tree} && sync -f {self.place}", env=self.env)

    def restore(self, to):
        return seconds(["restic", "-q", "restore", "latest", "-r", self.place, "--target", to], env=self.env)


class Casync:
    def __init__(self, b, place):
        self.place, self.index, self.env = place, f"{place}/tree.caidx", b.env

    def make(self):
        os.makedirs(self.place)

    def snapshot(self, tree):
        return seconds(f"casync make --store={self.place}/store.castr {self.index} {tree} >/dev/null && sync -f {self.place}",
                       env=self.env)

    def restore(self, to):
        os.makedirs(to)
        return seconds(f"casync extract --store={self.place}/store.castr {self.index} {to}", env=self.env)


class Tar:
    """Keeps no two trees in the room of one, nor checks anything: what copying costs at least."""

    def __init__(self, b, place):
        self.place, self.file, self.env = place, f"{place}/tree.tar", b.env

    def make(self):
        os.makedirs(self.place)

    def snapshot(self, tree):
        return seconds(f"tar -C {tree} -cf {self.file} . && sync -f {self.file}", env=self.env)

    def restore(self, to):
        os.makedirs(to)
        return seconds(["tar", "-C", to, "-xf", self.file], env=self.env)


PEERS = {"borg": Borg, "borg zstd": BorgZstd, "restic": Restic, "casync": Casync, "tar": Tar}


def fresh(b, kind):
    tool = (Ours if kind == "ours" else PEERS[kind])(b, b.fresh(kind.replace(" ", "-")))
    tool.make()
    return tool


def first(b, who, tree, tools):
    tools[who] = fresh(b, who)
    return tools[who].snapshot(tree)


def restored(b, tool, tree, checked):
    """Restore to a fresh place; the first of each tool's is compared with what was kept."""
    to = b.fresh("restored")
    took = tool.restore(to)
    if tool not in checked:
        checked.add(tool)
        at = to + tree if os.path.isdir(to + tree) else to  # borg and restic keep the whole path
        if digest(at) != digest(tree):
            raise SystemExit(f"{type(tool).__name__} did not restore {tree} as it was")
    return took


def against(b, name, peer, goal, figures, ours, theirs, rounds):
    """One operation: in turn with the peer that PERF names, then once each of the others, which have no goal."""
    if not b.wanted(name):
        return
    if peer is not None:
        took = []
        b.case(name, goal, lambda: took.append(ours()) or took[-1], lambda: theirs(peer), rounds=rounds)
        figure = statistics.median(took)
    else:
        figure = statistics.median([ours() for _ in range(rounds)])
    for who in figures:
        if who != peer:
            b.row(f"{name}: {who}", figure, theirs(who), None)


def trees(kind):
    goals = GOALS[kind]
    operations = [f"snapshot {kind}, first", f"snapshot {kind}, unchanged", f"restore {kind}"]
    kept_name = f"bytes kept {kind}, MB"
    memory = f"peak memory {kind}, largest process, KiB"

    def case(b):
        if not b.wanted(*operations, kept_name, memory):
            return
        tree, tools, checked = b.tree(kind), {}, set()
        rounds = min(b.args.rounds, 3)

        def one(i, act):
            peer, goal = goals[i] if goals[i] is not None else (None, None)
            against(b, operations[i], peer, goal, PEERS, lambda: act("ours"), act, rounds)

        one(0, lambda who: first(b, who, tree, tools))
        for who in ["ours", *PEERS]:
            if who not in tools:
                first(b, who, tree, tools)
        one(1, lambda who: tools[who].snapshot(tree))
        one(2, lambda who: restored(b, tools[who], tree, checked))
        for who in PEERS:
            goal = goals[3][1] if goals[3] is not None and goals[3][0] == who else None
            b.row(kept_name if goal is not None else f"{kept_name}: {who}",
                  kept(tools["ours"]) / 1e6, kept(tools[who]) / 1e6, goal)
        b.row(memory, tools["ours"].peak_kib, tools["borg"].peak_kib, 0.25 if kind == "tiny" else None)
    return case


# kind: scales in percent. With --only growth the larger ones, too.
GROWTH = {"small": ((25, 100, 400), ()), "ds": ((25, 100, 400), ()), "site": ((25, 100), ()),
          "tiny": ((25, 100, 400), (1600,)), "big": ((25, 100), (400,))}
# Time may grow so much faster than the tree from one size to the next, memory so much at all.
FASTER, MORE_MEMORY = 1.5, 2.0


def repeated(act):
    """Of what can be done again: a first time also waits for the disk to take what was made before it."""
    return statistics.median([act() for _ in range(3)])


def growth(b):
    """Ours only: does time grow as the work does, and memory not?"""
    if b.args.only and b.args.only not in "growth":
        return
    print(f"{'growth':12s} {'size':>6s} {'first':>9s} {'again':>9s} {'restore':>9s} {'run':>9s} {'again':>9s} {'peak KiB':>10s}",
          flush=True)
    for kind, (scales, more) in GROWTH.items():
        last = None
        for scale in scales + (more if b.args.only else ()):
            tree = b.tree(kind, scale)
            tool = fresh(b, "ours")
            took = [tool.snapshot(tree), repeated(lambda: tool.snapshot(tree)), tool.restore(b.fresh("restored")),
                    tool.run(tree), repeated(lambda: tool.run(tree))]
            print(f"{kind:12s} {scale / 100:5g}x {' '.join(f'{t:9.3f}' for t in took)} {tool.peak_kib:10d}", flush=True)
            if last is not None:
                grown = scale / last[0] if kind != "site" else megabytes(tree) / last[3]
                times = max((t / u) / grown for t, u in zip(took, last[1]))
                b.row(f"growth {kind} to {scale / 100:g}x, time/size", times, 1, FASTER)
                b.row(f"growth {kind} to {scale / 100:g}x, memory", tool.peak_kib, last[2], MORE_MEMORY)
            last = (scale, took, tool.peak_kib, megabytes(tree))


if __name__ == "__main__":
    sys.exit(main(argparse.ArgumentParser(description="the snapshot store against its peers"),
                  [alone(c) for c in (trees("small"), trees("ds"), trees("site"), trees("tiny"), trees("big"),
                                      runs("site"), runs("big"), growth)]))
