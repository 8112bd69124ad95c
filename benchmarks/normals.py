"""The engine's own normals: 10⁹ draws against the exact distribution, and their independence.

    python benchmarks/normals.py [normals.json] [--walkers 1000000]

A thousand normals from each of a million walkers with neighbouring numbers, through the generated
module's ``seeds``, ``draw`` and ``normal_pair``. Reported with two-sided p-values:

* moments 1 to 8;
* counts beyond 3, 4, 5, 5.5 and 6 standard deviations, against the exact normal (Box and
  Muller's transform of a uniform number of at least 2^-32 reaches 6.66);
* correlations at lags 1 to 8 within a walker's stream, and at lags 0 to 8 between the streams of
  walkers i and i + 1, of the normals and of their squares;
* overlaps: no state of the generator whose third word ends in eight zero bits (one in 256) occurs
  in two places. Two streams that share m states are missed with probability (255/256)^m.

The smallest of these p-values is reported with Bonferroni's correction; the seed is fixed.
"""

import argparse
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numba import njit
from scipy import special, stats

LENGTH, LAGS, MARKED = 1000, 8, np.uint32(0xFF)
TAILS = (3.0, 4.0, 5.0, 5.5, 6.0)


def engine():
    """The generated module of some problem; all share the random numbers."""
    from ddt_utils import catalog, noise, simulate

    well = catalog.quartic()
    options = dict(start=-1, exit=well.variables[0] > 1, step=0.01)
    return simulate.Problem(well, noise.WhiteNoise(0.25), **options).program().module


def counter(module):
    """A compiled function that draws the streams of some walkers and sums up."""
    seeds, draw, normal_pair = module.seeds, module.draw, module.normal_pair

    @njit
    def fill(seed, walker, z, marks, found):
        a, b, c, d = seeds(np.uint64(seed), walker)
        for k in range(0, LENGTH, 2):
            u, a, b, c, d = draw(a, b, c, d)
            if c & MARKED == 0 and found < marks.size:
                marks[found] = (np.uint64(a) << np.uint64(32) | np.uint64(b)) ^ (
                    np.uint64(d) * np.uint64(0x9E3779B97F4A7C15)
                )
                found += 1
            w, a, b, c, d = draw(a, b, c, d)
            if c & MARKED == 0 and found < marks.size:
                marks[found] = (np.uint64(a) << np.uint64(32) | np.uint64(b)) ^ (
                    np.uint64(d) * np.uint64(0x9E3779B97F4A7C15)
                )
                found += 1
            z[k], z[k + 1] = normal_pair(u, w)
        return found

    @njit(fastmath=True)
    def products(first, second, lag):
        plain = squares = 0.0
        for k in range(LENGTH - lag):
            p = first[k] * second[k + lag]
            plain += p
            squares += (first[k] * first[k] - 1) * (second[k + lag] * second[k + lag] - 1)
        return plain, squares

    @njit(fastmath=True)
    def powers(z, sums):
        s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = 0.0
        for k in range(LENGTH):
            x = z[k]
            x2 = x * x
            x4 = x2 * x2
            s1 += x
            s2 += x2
            s3 += x2 * x
            s4 += x4
            s5 += x4 * x
            s6 += x4 * x2
            s7 += x4 * x2 * x
            s8 += x4 * x4
        for i, s in enumerate((s1, s2, s3, s4, s5, s6, s7, s8)):
            sums[i] += s

    @njit(nogil=True)
    def count(seed, first, last, marks, sums, beyond, within, between):
        here, before, found = np.empty(LENGTH), np.empty(LENGTH), 0
        fill(seed, first, before, marks, 0)  # counted by whoever has the walkers before
        for walker in range(first + 1, last + 1):
            found = fill(seed, walker, here, marks, found)
            powers(here, sums)
            for k in range(LENGTH):
                size = abs(here[k])
                if size > 3.0:
                    for i in range(len(TAILS)):
                        beyond[i] += size > TAILS[i]
            for lag in range(LAGS + 1):
                if lag:
                    p, q = products(here, here, lag)
                    within[0, lag - 1] += p
                    within[1, lag - 1] += q
                p, q = products(before, here, lag)
                between[0, lag] += p
                between[1, lag] += q
            here, before = before, here
        return found

    return count


def two_sided(score):
    return float(special.erfc(abs(score) / math.sqrt(2)))


def poisson(count, expected):
    below, above = stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected)
    return float(min(1.0, 2 * min(below, above)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", help="a JSON file; standard output without it")
    parser.add_argument("--walkers", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=2018)
    options = parser.parse_args()
    begin, walkers = time.perf_counter(), options.walkers
    count = counter(engine())

    def part(first, last):
        room = (last - first) * LENGTH // 200 + 1000  # 1 in 256 is expected
        results = (
            np.zeros(8),
            np.zeros(len(TAILS), np.int64),
            np.zeros((2, LAGS)),
            np.zeros((2, LAGS + 1)),
        )
        marks = np.zeros(room, np.uint64)
        found = count(options.seed, first, last, marks, *results)
        return marks[:found], *results

    part(0, 1)
    edges = np.linspace(0, walkers, 4 * (os.cpu_count() or 1) + 1).astype(int)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(part, edges[:-1], edges[1:]))
    marks = np.concatenate([p[0] for p in parts])
    sums, beyond, within, between = (sum(p[i] for p in parts) for i in range(1, 5))
    draws, result, values = walkers * LENGTH, {}, []

    def entry(value, p, **more):
        values.append(p)
        return {"value": float(f"{value:.6g}"), **more, "p": float(f"{p:.3g}")}

    for k in range(1, 9):
        exact = 0.0 if k % 2 else float(special.factorial2(k - 1))
        error = math.sqrt((special.factorial2(2 * k - 1) - exact**2) / draws)
        mean = sums[k - 1] / draws
        p = two_sided((mean - exact) / error)
        result[f"moment {k}"] = entry(mean, p, exact=exact, standard_error=float(f"{error:.3g}"))
    for threshold, seen in zip(TAILS, beyond, strict=True):
        exact = draws * float(special.erfc(threshold / math.sqrt(2)))
        p, more = poisson(int(seen), exact), {"expected": round(exact, 2)}
        result[f"beyond {threshold:g}"] = entry(int(seen), p, **more)
    for name, table, lags in (
        ("within a stream", within, range(1, LAGS + 1)),
        ("between neighbours", between, range(LAGS + 1)),
    ):
        for row, what, variance in ((0, "normals", 1.0), (1, "squares", 4.0)):
            for column, lag in enumerate(lags):
                pairs = walkers * (LENGTH - lag)
                correlation = table[row, column] / (pairs * variance)
                p = two_sided(correlation * math.sqrt(pairs))
                result[f"{what} {name}, lag {lag}"] = entry(correlation, p)
    repeated = len(marks) - len(np.unique(marks))
    answer = {
        "draws": draws,
        "walkers": walkers,
        "seed": options.seed,
        "statistics": result,
        "smallest_p_after_bonferroni": float(f"{min(1.0, min(values) * len(values)):.3g}"),
        "marked_states": len(marks),
        "expected_marked_states": draws / 256,
        "states_seen_twice": int(repeated),
        "largest_possible": round(math.sqrt(2 * 32 * math.log(2)), 3),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    text = json.dumps(answer, indent=1) + "\n"
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
