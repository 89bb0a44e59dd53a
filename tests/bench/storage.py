"""make bench-storage: snapshots and restores against restic, borg, casync and tar, and whole runs of the large trees.

Every first snapshot and every restore goes to a fresh place; those of an unchanged tree
to the one that the same tool has filled. Peers are followed by sync -f: ours are durable.

    storage.py [--build DIR] [--rounds N] [--only TEXT] [--work DIR] [--keep]

--only growth: ours alone, at more and more of each tree.
"""

import argparse
import os
import sys

from common import digest, main, measured, run, seconds
from runs import runs

# kind: (first, unchanged, restore, bytes kept); None: PERF has no such row.
GOALS = {
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
    gives back on a full disk; of restic the repository alone, without its cache."""
    total = bytes_below(tool.place)
    reserve = bytes_below(tool.place, "reserve")
    if reserve > 0:
        print(f"# {reserve / 1e6:.1f} MB of it are the reserve; without it {(total - reserve) / 1e6:.1f} MB", flush=True)
    return total


class Ours:
    def __init__(self, b, place):
        self.b, self.place = b, place
        self.env = dict(b.env, GPURUN_HOME=place)
        self.id = None
        self.peak_kib = 0

    def make(self):
        os.makedirs(self.place)

    def snapshot(self, tree):
        took, said, peak = measured([self.b.gpurun, "-q", "snap", "take", tree], self.env)
        self.id = said.split()[-1]
        self.peak_kib = max(self.peak_kib, peak)
        return took

    def restore(self, to):
        return seconds([self.b.gpurun, "-q", "snap", "get", self.id, "-o", to], env=self.env)


class Borg:
    def __init__(self, b, place):
        self.place, self.n, self.peak_kib = place, 0, 0
        self.env = dict(b.env, BORG_BASE_DIR=f"{place}.home", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")

    def make(self):
        run(["borg", "init", "-e", "none", self.place], env=self.env)

    def snapshot(self, tree):
        self.n += 1
        took, _, peak = measured(["borg", "create", "-C", "lz4", f"{self.place}::{self.n}", tree], self.env)
        self.peak_kib = max(self.peak_kib, peak)
        return took + seconds(["sync", "-f", self.place])


class Restic:
    def __init__(self, b, place):
        self.place = place
        self.env = dict(b.env, RESTIC_PASSWORD="bench", RESTIC_CACHE_DIR=f"{place}.cache")

    def make(self):
        run(["restic", "-q", "init", "-r", self.place], env=self.env)

    def snapshot(self, tree):
        return seconds(f"restic -q backup -r {self.place} {tree} && sync -f {self.place}", env=self.env)


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


PEERS = {"borg": Borg, "restic": Restic, "casync": Casync}


def fresh(b, kind):
    tool = (Ours if kind == "ours" else PEERS[kind])(b, b.fresh(kind))
    tool.make()
    return tool


def first(b, kind, who, tree, tools):
    fresh_one = fresh(b, who)
    tools[who] = fresh_one
    return fresh_one.snapshot(tree)


def trees(kind):
    goals = GOALS[kind]
    names = [f"snapshot {kind}, first", f"snapshot {kind}, unchanged", f"restore {kind}", f"bytes kept {kind}, MB",
             f"peak memory {kind}, largest process, KiB"]

    def case(b):
        if not b.wanted(*names):
            return
        tree, tools = b.tree(kind), {}
        peers = {g[0] for g in goals if g is not None} | ({"borg"} if kind == "tiny" else set())
        rounds = min(b.args.rounds, 3)
        b.case(names[0], goals[0][1], lambda: first(b, kind, "ours", tree, tools),
               lambda: first(b, kind, goals[0][0], tree, tools), rounds=rounds)
        for who in peers | {"ours"}:
            if who not in tools:
                first(b, kind, who, tree, tools)
        if goals[1] is not None:
            b.case(names[1], goals[1][1], lambda: tools["ours"].snapshot(tree),
                   lambda: tools[goals[1][0]].snapshot(tree), rounds=rounds)
        if goals[2] is not None:
            places = []

            def ours():
                places.append(b.fresh("restored"))
                return tools["ours"].restore(places[-1])

            b.case(names[2], goals[2][1], ours, lambda: tools[goals[2][0]].restore(b.fresh("restored")), rounds=rounds)
            if places and digest(places[-1]) != digest(tree):
                raise SystemExit(f"{kind} was not restored as it was")
        if goals[3] is not None:
            b.row(names[3], kept(tools["ours"]) / 1e6, kept(tools[goals[3][0]]) / 1e6, goals[3][1])
        if kind == "tiny":
            b.row(names[4], tools["ours"].peak_kib, tools["borg"].peak_kib, 0.25)
    return case


# kind: scales in percent. With --only growth the larger ones, too.
GROWTH = {"ds": ((25, 100, 400), ()), "tiny": ((25, 100, 400), (1600,)), "big": ((25, 100), (400,))}
# Time may grow so much faster than the tree from one size to the next, memory so much at all.
FASTER, MORE_MEMORY = 1.5, 2.0


def growth(b):
    """Ours only: does time grow as the work does, and memory not?"""
    if b.args.only and b.args.only not in "growth":
        return
    print(f"{'growth':12s} {'size':>6s} {'first':>9s} {'again':>9s} {'restore':>9s} {'peak KiB':>10s}", flush=True)
    for kind, (scales, more) in GROWTH.items():
        last = None
        for scale in scales + (more if b.args.only else ()):
            tree = b.tree(kind, scale)
            tool = fresh(b, "ours")
            took = [tool.snapshot(tree), tool.snapshot(tree), tool.restore(b.fresh("restored"))]
            print(f"{kind:12s} {scale / 100:5g}x {took[0]:9.3f} {took[1]:9.3f} {took[2]:9.3f} {tool.peak_kib:10d}", flush=True)
            if last is not None:
                times = max((t / u) / (scale / last[0]) for t, u in zip(took, last[1]))
                b.row(f"growth {kind} to {scale / 100:g}x, time/size", times, 1, FASTER)
                b.row(f"growth {kind} to {scale / 100:g}x, memory", tool.peak_kib, last[2], MORE_MEMORY)
            last = (scale, took, tool.peak_kib)


if __name__ == "__main__":
    sys.exit(main(argparse.ArgumentParser(description="the snapshot store against its peers"),
                  [trees("ds"), trees("site"), trees("tiny"), trees("big"), runs("site"), runs("big"), growth]))
