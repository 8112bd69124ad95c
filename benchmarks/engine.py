"""What one walker-step costs: the package, a C++ program, torch, torchsde, JAX, diffrax.

    python benchmarks/engine.py [engine.json] [--seconds 560] [--problems quartic ...]
    python benchmarks/engine.py engine.json --guarantees [--problems quartic ...]

Every contestant runs in a process of its own (contestants.py) and all take turns; the fastest of a
contestant's runs counts, once by the clock and once by the processor time it used, which is the
steadier number where the machine has other work. The ratio to the C++ program is that of runs one
after the other, ours and theirs in turn, and the median of nine such pairs. A contestant that
cannot be imported is skipped and named in the result. requirements.txt lists what the contestants
need beyond the package.

With --guarantees only the package and C++ take turns, once for each instruction set that the
processor has: the engine as it is against the C++ program, against a C++ program that keeps the
same promises, and against itself without one promise after the other (guarantees.py). Either
command leaves what the other wrote into the file alone.

The result holds one row for each (problem, contestant, mode, walkers, threads):

seconds     the fastest run by the clock; in the modes "steady" and "free", of a run cut to length
ns_useful   nanoseconds by the clock for each walker-step before absorption
ns_cpu      the same in processor time, summed over threads
ns_executed nanoseconds by the clock for each step executed, those after absorption included

and the modes are explained in contestants.py. Nothing here is a test: times are reported, and no
check of the package depends on them.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from guarantees import GUARANTEES
from problems import NAMES, PROBLEMS

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c++17", "-O3", "-shared", "-fPIC", "-pthread"]
FREE = ["-ffast-math"]
GUARDED = ["-DGUARDED", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
WIDTHS = (16, 32, 64)  # lanes of the C++ builds; the fastest counts
BUILDS = {
    "C++ reference": (FREE, WIDTHS),
    "C++ with the same": (GUARDED, WIDTHS),
    "C++ with the same, our lanes": (GUARDED, (64,)),
}
# the processor that numba and g++ are told to compile for; the one at hand without a name
INSTRUCTIONS = {
    "avx512f": ({}, "native"),
    "avx2": ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}, "haswell"),
}
PACKAGES = ("numpy", "numba", "llvmlite", "sympy", "torch", "torchsde", "jax", "diffrax")

# contestant, mode, numbers of walkers, threads, turns, seconds of a run that is cut to length
JOBS = (
    ("ours", "absorption", (10**3, 10**4), (1, 2), 5, 0),
    ("C++ reference", "absorption", (10**3, 10**4), (1, 2), 5, 0),
    ("ours", "absorption", (10**5,), (1, 2), 2, 0),
    ("C++ reference", "absorption", (10**5,), (1, 2), 2, 0),
    ("ours", "free", (4096,), (1, 2), 5, 0.1),
    ("C++ reference", "free", (4096,), (1, 2), 5, 0.1),
    ("numba loop", "absorption", (300,), (1,), 3, 0),
    ("scalar numba", "absorption", (10**3,), (1, 2), 3, 0),
    ("torch eager", "steady", (10**3, 10**4, 10**5, 10**6), (1,), 3, 0.1),
    ("torch eager", "steady", (10**5,), (2,), 3, 0.1),
    ("torch eager", "free", (10**5,), (1,), 3, 0.1),
    ("torch eager", "absorption", (10**3,), (1,), 2, 0),
    ("JAX", "steady", (10**3, 10**4, 10**5), (1,), 3, 0.1),
    ("JAX", "steady", (10**5,), (2,), 3, 0.1),
    ("JAX", "absorption", (10**3,), (1,), 1, 0),
    ("torchsde", "steady", (10**3, 10**4, 10**5), (1,), 3, 0.1),
    ("torchsde", "steady", (10**4,), (2,), 3, 0.1),
    ("diffrax", "steady", (10**3, 10**4, 10**5), (1,), 3, 0.1),
    ("diffrax", "absorption", (10**3,), (1,), 1, 0),
)
LONG_JOBS = (  # for the first problem only
    ("torchsde", "absorption", (10**3,), (1,), 1, 0),
    ("ours", "absorption", (10**6,), (1, 2), 1, 0),
    ("C++ reference", "absorption", (10**6,), (1, 2), 1, 0),
)

PAIRS = 15  # runs in turn, of the engine and of each of the others
ALONE = (*BUILDS, *(f"without {name}" for name in (*GUARANTEES, "all")))

# what a reader of the book would notice, and what the package aims at
AIMS = {
    "C++ reference, per useful step, in turn": ("at most", 1.2),
    "torch eager, per useful step, 1 thread": ("at least", 10),
    "torchsde, per useful step, 1 thread": ("at least", 25),
    "diffrax, per useful step, 1 thread": ("at least", 25),
    "a thousand walkers to absorption": ("at least", 300),
    "first call, seconds": ("at most", 3.0),
    "first call of a second process, seconds": ("at most", 0.6),
}
# besides ten thousand walkers on one thread
FURTHER = (("a thousand walkers", 10**3, 1), ("two threads", 10**4, 2))

FIRST = """
import json, sys, time
sys.path.insert(0, {here!r})
import contestants
begin, cpu = time.perf_counter(), time.process_time()
ours = contestants.Ours(1)
ours.arguments({problem!r})
ready = time.perf_counter()
ours.absorption({problem!r}, 1000, 1)
print(json.dumps(dict(import_seconds=ready - begin, seconds=time.perf_counter() - ready,
                      cpu=time.process_time() - cpu)))
"""


class Team:
    """The contestants' processes, started when first asked."""

    def __init__(self, environment):
        self.environment, self.members, self.skipped = environment, {}, {}

    def ask(self, name, threads, **job):
        """The answer to one job, or None where the contestant is not here."""
        if (name, threads) not in self.members:
            limit = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
            self.members[name, threads] = subprocess.Popen(
                [sys.executable, str(HERE / "contestants.py"), name, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self.environment | limit,
            )
            ready = json.loads(self.members[name, threads].stdout.readline() or "{}")
            if not ready.get("ready"):
                self.skipped[name] = ready.get("error", "its process ended")
        if name in self.skipped:
            return None
        member = self.members[name, threads]
        print(json.dumps(job), file=member.stdin, flush=True)
        return json.loads(member.stdout.readline() or '{"failed": "its process ended"}')

    def dismiss(self):
        for member in self.members.values():
            member.stdin.close()
            member.wait(timeout=30)


def compiled_reference(folder, processor="native", names=("C++ reference",)):
    """Paths of the C++ builds by name and lanes, and how long one took to compile."""
    compiler, builds, seconds = shutil.which("g++"), {}, None
    for name in names if compiler else ():
        builds[name], (promises, widths) = {}, BUILDS[name]
        for width in widths:
            path = str(Path(folder) / f"{processor} {len(builds)} {width}.so")
            options = [*FLAGS, f"-march={processor}", *promises, f"-DLANES={width}"]
            begin = time.perf_counter()
            command = [compiler, *options, str(HERE / "reference.cpp"), "-o", path]
            subprocess.run(command, check=True)
            seconds, builds[name][f"{width} lanes"] = time.perf_counter() - begin, path
    return builds, seconds


def first_calls(folder, problems):
    """Seconds of the first call with an empty cache and in a second process; the least count."""
    result = {}
    for problem in problems:
        for turn in range(2 if problem == NAMES[0] else 1):
            cache = Path(folder) / f"cache {problem} {turn}"
            for which in ("empty cache", "filled cache"):
                run = subprocess.run(
                    [sys.executable, "-c", FIRST.format(here=str(HERE), problem=problem)],
                    env=os.environ | {"DDT_UTILS_CACHE": str(cache)},
                    capture_output=True,
                    text=True,
                )
                if run.returncode:
                    return {"failed": run.stderr.strip().splitlines()[-1][:300]}
                seen = json.loads(run.stdout.splitlines()[-1])
                best = result.setdefault(problem, {}).setdefault(which, seen)
                for key, value in seen.items():
                    best[key] = round(min(best[key], value), 3)
    return result


def collect(team, problems, deadline):
    """All jobs in turn while there is time; under load, the first turn may remain incomplete."""
    rows, turns = {}, max(job[4] for job in JOBS)
    for turn in range(turns):
        for problem in problems:
            jobs = JOBS + (LONG_JOBS if problem == NAMES[0] else ())
            for name, mode, sizes, teams, repeats, budget in jobs:
                one_dimensional = PROBLEMS[problem].dimension == 1
                if turn >= repeats or ("numba" in name and not one_dimensional):
                    continue
                for walkers in sizes:
                    for threads in teams:
                        if threads > (os.cpu_count() or 1):
                            continue
                        if time.perf_counter() > deadline:
                            return rows
                        key = problem, name, mode, walkers, threads
                        job = dict(problem=problem, mode=mode, walkers=walkers, budget=budget)
                        seen = team.ask(name, threads, seed=turn + 1, **job)
                        if seen is not None:
                            merge(rows.setdefault(key, {"runs": 0}), seen)
        print(f"turn {turn + 1} done", file=sys.stderr)
    return rows


def in_turn(team, problem, others, walkers, threads):
    """Our cost per useful step over that of each of the others, run by run; the median of each.

    One who has no such run is left out; nothing comes back where we have none ourselves.
    """
    job = dict(problem=problem, mode="absorption", walkers=walkers, budget=0)
    found = {name: {"ns_useful": [], "ns_cpu": []} for name in others}
    for turn in range(PAIRS):
        seen = {name: team.ask(name, threads, seed=turn + 1, **job) for name in ("ours", *found)}
        here = {name: one for name, one in seen.items() if one and "failed" not in one}
        if "ours" not in here:
            return {}
        found = {name: ratios for name, ratios in found.items() if name in here}
        for name, ratios in found.items():
            for column, key in (("ns_useful", "seconds"), ("ns_cpu", "cpu")):
                ours, theirs = (here[n][key] / here[n]["useful"] for n in ("ours", name))
                ratios[column].append(ours / theirs)
    return {
        name: {k: round(statistics.median(v), 3) for k, v in ratios.items()}
        | {f"{k}, each": [round(x, 3) for x in v] for k, v in ratios.items()}
        for name, ratios in found.items()
    }


def pairs(team, problems, deadline):
    """Ratios of our cost per step to the C++ program's, by problem and threads."""
    result = {}
    for problem in problems:
        for threads in {1, min(2, os.cpu_count() or 1)}:
            if time.perf_counter() > deadline:
                return result
            found = in_turn(team, problem, ["C++ reference"], 10**4, threads)
            for ratios in found.values():
                result[f"{problem}, {threads} thread{'s'[: threads - 1]}"] = ratios
    return result


def guarantees(folder, problems):
    """What each guarantee costs, by instruction set and problem."""
    about, sets = machine(), {}
    for name, (environment, processor) in INSTRUCTIONS.items():
        if name not in about["instruction_set"]:
            continue
        builds, _ = compiled_reference(folder, processor, BUILDS)
        environment = environment | {"DDT_UTILS_CACHE": str(Path(folder) / f"cache {name}")}
        team = Team(os.environ | environment | {"DDT_REFERENCE": json.dumps(builds)})
        if not builds:
            team.skipped |= dict.fromkeys(BUILDS, "no g++ on this machine")
        sets[name] = {problem: {} for problem in problems}
        for problem, ratios in sets[name].items():
            ratios |= in_turn(team, problem, ALONE, 10**4, 1)
            for label, walkers, threads in FURTHER:
                if threads <= (os.cpu_count() or 1):
                    found = in_turn(team, problem, ["C++ reference"], walkers, threads)
                    ratios |= {f"{other}, {label}": found[other] for other in found}
            print(f"{name}, {problem}: {medians(ratios)}", file=sys.stderr)
        team.dismiss()
    about["load_after"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    flags = {name: " ".join(FLAGS + promises) for name, (promises, _) in BUILDS.items()}
    return {"machine": about, "flags": flags, "pairs": PAIRS, "instructions": sets}


def medians(ratios):
    """The ratios in processor time, to be read while one waits."""
    return {name: ratio["ns_cpu"] for name, ratio in ratios.items()}


def merge(row, seen):
    """Keep the least of what was measured."""
    if "failed" in seen:
        row["failed"] = seen["failed"]
        return
    useful, executed = seen["useful"], seen["executed"] or math.nan
    row["runs"] += 1
    costs = {
        "seconds": seen["seconds"],
        "cpu_seconds": seen["cpu"],
        "ns_useful": seen["seconds"] / useful * 1e9,
        "ns_cpu": seen["cpu"] / useful * 1e9,
        "ns_executed": seen["seconds"] / executed * 1e9,
    }
    for key, value in costs.items():
        if not math.isnan(value):
            row[key] = min(row.get(key, math.inf), value)
    if "mean" in seen and row["runs"] == 1:
        row["mean_steps"], row["standard_error"] = seen["mean"], seen["error"]
    for key in ("preparation", "build"):
        if key in seen:
            row[key] = seen[key]


def verdicts(rows, problems, first, turns):
    """Ratios to our engine, by processor time and by the clock, for each problem."""

    def least(problem, name, modes, column, walkers=None, threads=1):
        found = [
            row[column]
            for (p, n, mode, size, team), row in rows.items()
            if (p, n, team) == (problem, name, threads)
            and mode in modes
            and walkers in (None, size)
            and column in row
        ]
        return min(found, default=math.nan)

    result = {}
    for aim, (sense, bound) in AIMS.items():
        values = {}
        for problem in problems:
            other = aim.split(",")[0]
            if aim.startswith("first"):
                which = "filled cache" if "second process" in aim else "empty cache"
                seen = first.get(problem, {}).get(which, {})
                values[problem] = {k: seen.get(k, math.nan) for k in ("seconds", "cpu")}
            elif other == "C++ reference":
                values = {k: {c: v[c] for c in ("ns_useful", "ns_cpu")} for k, v in turns.items()}
            elif other == "a thousand walkers to absorption":
                for rival in ("torch eager", "torchsde", "JAX", "diffrax"):
                    values[f"{problem}, {rival}"] = {
                        column: least(problem, rival, ["absorption"], column, 1000)
                        / least(problem, "ours", ["absorption"], column, 1000)
                        for column in ("seconds", "cpu_seconds")
                    }
            else:
                values[problem] = {}
                for column in ("ns_useful", "ns_cpu"):
                    ours = least(problem, "ours", ["absorption"], column)
                    values[problem][column] = least(problem, other, ["steady"], column) / ours
        rounded = {
            k: {c: float(f"{x:.3g}") for c, x in v.items() if not math.isnan(x)}
            for k, v in values.items()
        }
        rounded = {k: v for k, v in rounded.items() if v}
        met = {
            k: all(x <= bound if sense == "at most" else x >= bound for x in v.values())
            for k, v in rounded.items()
        }
        result[aim] = {"aim": f"{sense} {bound:g}", "values": rounded, "met": met}
    return result


def agreement(rows, problems):
    """How many standard errors each contestant's mean time is from our largest ensemble's."""
    result = {}
    for problem in problems:
        ours = {k[3]: r for k, r in rows.items() if k[:3] == (problem, "ours", "absorption")}
        best = ours[max(ours)] if ours else {}
        for key, row in rows.items():
            if key[0] == problem and key[1] != "ours" and "mean_steps" in row and best:
                error = math.hypot(row["standard_error"], best["standard_error"])
                name = f"{problem}, {key[1]}, {key[3]} walkers, {key[4]} threads"
                result[name] = round((row["mean_steps"] - best["mean_steps"]) / error, 2)
    return result


def machine():
    """Processor, cores, instruction set, versions and load."""
    information = {"model name": platform.processor(), "flags": ""}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in information:
                information[name.strip()] = value.strip()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    if shutil.which("g++"):
        seen = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout
        versions["g++"] = seen.splitlines()[0]
    flags = set(information["flags"].split())
    return {
        "processor": information["model name"] or platform.machine(),
        "cores": os.cpu_count(),
        "instruction_set": [f for f in ("sse2", "fma", "avx2", "avx512f") if f in flags],
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def write(result, path):
    """The result as JSON, into the file or to standard output."""
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if path:
        Path(path).write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", help="a JSON file; standard output without it")
    parser.add_argument("--seconds", type=float, default=480, help="no new run after these")
    parser.add_argument("--problems", nargs="*", default=NAMES, choices=NAMES)
    parser.add_argument("--guarantees", action="store_true", help="only what each of them costs")
    options = parser.parse_args()
    begin, about = time.perf_counter(), machine()
    kept = {}
    if options.output and Path(options.output).exists():
        kept = json.loads(Path(options.output).read_text(encoding="utf-8"))
    if options.guarantees:
        with tempfile.TemporaryDirectory() as folder:
            kept["guarantees"] = guarantees(folder, options.problems)
        kept["guarantees"]["minutes"] = round((time.perf_counter() - begin) / 60, 2)
        return write(kept, options.output)
    with tempfile.TemporaryDirectory() as folder:
        builds, seconds = compiled_reference(folder)
        first = first_calls(folder, options.problems)
        cache = {"DDT_UTILS_CACHE": str(Path(folder) / "cache")}
        team = Team(os.environ | cache | {"DDT_REFERENCE": json.dumps(builds)})
        if not builds:
            team.skipped["C++ reference"] = "no g++ on this machine"
        turns = pairs(team, options.problems, begin + options.seconds / 3)
        rows = collect(team, options.problems, begin + options.seconds)
        team.dismiss()
    about["load_after"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    names = ("problem", "contestant", "mode", "walkers", "threads")
    keep = {"runs", "failed", "build"}
    result = {
        "machine": about,
        "problems": {n: vars(PROBLEMS[n]) for n in options.problems},
        "reference": {
            "flags": " ".join([*FLAGS, "-march=native", *FREE]),
            "compile_seconds": seconds and round(seconds, 2),
        },
        "skipped": team.skipped,
        "first_call": first,
        "in_turn": turns,
        "aims": verdicts(rows, options.problems, first, turns),
        "standard_errors_from_ours": agreement(rows, options.problems),
        "rows": [
            dict(zip(names, key, strict=True))
            | {k: v if k in keep else float(f"{v:.4g}") for k, v in row.items()}
            for key, row in sorted(rows.items())
        ],
        "minutes": round((time.perf_counter() - begin) / 60, 2),
    }
    if "guarantees" in kept:
        result["guarantees"] = kept["guarantees"]
    write(result, options.output)
    for name, score in result["standard_errors_from_ours"].items():
        if abs(score) > 5:  # by chance once in 1.7 million comparisons
            print(f"not the same problem: {name}, {score} standard errors", file=sys.stderr)
    for aim, verdict in result["aims"].items():
        print(f"{aim} ({verdict['aim']}): {verdict['values']}", file=sys.stderr)


if __name__ == "__main__":
    main()
