"""Statistics in constant memory against all the times, and against Python's whole numbers."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddt_utils import catalog, simulate
from ddt_utils.escape import CENSORED, DIVERGED, ESCAPED, EscapeTimes
from ddt_utils.noise import WhiteNoise
from ddt_utils.simulate.statistics import _BINS, EscapeStatistics, _bin, _edges, tally

WELL = catalog.quartic()
(x,) = WELL.variables
FREE = simulate.Problem(WELL, WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
PROBABILITIES = np.r_[0.001, np.arange(0.01, 1, 0.01), 0.999]


def both(steps, status, step=0.01):
    """The same walkers as all their times and as statistics."""
    steps, status = np.asarray(steps, np.int64), np.asarray(status, np.int8)
    shown = np.where(status == 0, CENSORED, status)
    times = EscapeTimes(steps * step, shown, np.zeros((len(steps), 1)), step, "none")
    return times, tally(steps, status, step, "none")


@pytest.fixture(scope="module", params=[None, 12.0], ids=["free", "censored"])
def pair(request):
    """One run of 20,000 walkers, kept and not."""
    problem = replace(FREE, max_time=request.param)
    options = dict(walkers=20_000, seed=5)
    return tuple(simulate.Run(problem, keep=k, **options).finish().result() for k in (True, False))


# -------------------------------------------------------- against all the times of one run


def test_counts_and_totals_are_those_of_the_times(pair):
    times, kept = pair
    steps = np.rint(times.times / 0.01).astype(np.int64).tolist()
    for name, end in (("escaped", ESCAPED), ("censored", CENSORED), ("diverged", DIVERGED)):
        assert getattr(kept, name) == np.count_nonzero(times.status == end)
    assert kept.walkers == 20_000
    assert kept.total_steps == sum(steps)
    assert kept.total_squares == sum(t * t for t in steps)
    assert kept.total_time == pytest.approx(times.total_time, rel=1e-12)
    assert (kept.step, kept.bias_correction) == (times.step, times.bias_correction)


def test_estimates_are_those_of_numpy_and_scipy(pair):
    times, kept = pair
    escaped = np.count_nonzero(times.status == ESCAPED)
    mean = times.times.sum() / escaped
    free = escaped == 20_000
    stderr = stats.sem(times.times) if free else mean / escaped**0.5
    assert kept.mean == pytest.approx(mean, rel=1e-12)
    assert kept.stderr == pytest.approx(stderr, rel=1e-12)
    assert kept.rate == pytest.approx(1 / mean, rel=1e-12)
    assert kept.rate_stderr == pytest.approx(stderr / mean**2, rel=1e-12)
    for level in (0.5, 0.95, 0.999):
        tail = (1 - level) / 2
        law = stats.chi2(2 * escaped)
        expected = 2 * times.times.sum() / law.isf(tail), 2 * times.times.sum() / law.ppf(tail)
        assert kept.interval(level) == pytest.approx(expected, rel=1e-9)
    for name in ("mean", "stderr", "rate", "rate_stderr"):
        assert getattr(kept, name) == pytest.approx(getattr(times, name), rel=1e-12)
    assert kept.interval() == pytest.approx(times.interval(), rel=1e-12)


def test_quantiles_are_within_a_64th_of_the_sorted_times(pair):
    """Where the times give a quantile that is not in the bin of a censored one; else refused."""
    times, kept = pair
    order, given_ = np.sort(times.times), 0
    for probability in PROBABILITIES:
        exact = order[int(np.ceil(probability * len(order))) - 1]
        if times.censored and exact >= 12.0 * 63 / 64:
            if exact > 12 - 1e-9:
                with pytest.raises(ValueError, match="hidden by censoring"):
                    kept.quantile(probability)
            continue
        given_ += 1
        found = kept.quantile(probability)
        assert abs(found - exact) <= exact / 64
        assert found == pytest.approx(times.quantile(probability), rel=1 / 64)
    assert given_ > 30
    if not times.censored:
        assert kept.median == kept.quantile(0.5) == pytest.approx(times.median, rel=1 / 64)


def score(times, status):
    """The Cox–Oakes test, written out from the exact times."""
    gone = status == ESCAPED
    d, u = gone.sum(), times * gone.sum() / times.sum()
    information = d * np.pi**2 / 6
    if not gone.all():
        information = d + (u * np.log(u) ** 2).sum() - (u * np.log(u)).sum() ** 2 / d
    return (d + np.log(u[gone]).sum() - (u * np.log(u)).sum()) / np.sqrt(information)


def test_exponentiality_is_that_of_the_times(pair):
    """A time replaced by the mean of its bin, of relative width w ≤ 1/64, changes ln u by w²/24 or
    1e-5 of second order, which is corrected; uncorrected the statistic moves by 1e-3 or more."""
    times, kept = pair
    found = kept.exponentiality()
    assert found.statistic == pytest.approx(score(times.times, times.status), abs=2e-4)
    assert found.statistic == pytest.approx(times.exponentiality().statistic, abs=2e-4)
    assert found.p_value == pytest.approx(times.exponentiality().p_value, rel=1e-2, abs=1e-12)


@pytest.mark.parametrize("limit", [None, 700])
@pytest.mark.parametrize("mean", [2, 40, 3e3, 1e7])
def test_exponentiality_for_short_and_long_times(mean, limit):
    """Few steps are kept exactly; long times in bins. Against the exact times, at 200,000 walkers;
    without the correction of second order the statistic is wrong by 5e-3 at 1e7 steps."""
    rng = np.random.default_rng(3)
    steps = np.ceil(rng.exponential(mean, 200_000)).astype(np.int64)
    top = 10 * mean if limit is None else min(limit, mean)
    status = np.where(steps > top, 0, ESCAPED) if limit else np.full(len(steps), ESCAPED)
    steps = np.minimum(steps, int(top)) if limit else steps
    _, kept = both(steps, status)
    assert (kept.censored > 0) == (limit is not None)
    exact = score(steps * 0.01, status)
    assert kept.exponentiality().statistic == pytest.approx(exact, abs=5e-4)


def test_survival_is_exact_at_the_edges_and_between_its_neighbours(pair):
    times, kept = pair
    if kept.censored:
        with pytest.raises(ValueError, match="hidden by"):
            kept.survival(1.0)
        return
    steps = np.sort(np.rint(times.times / 0.01).astype(np.int64))
    low, width = _edges()
    edges = np.unique((low + width - 1)[(low > 8) & (low < 4 * steps[-1])])
    exact = 1 - np.searchsorted(steps, edges, side="right") / len(steps)
    assert kept.survival(edges * 0.01) == pytest.approx(exact, abs=1e-9)
    assert np.all(kept.survival([-1.0, 0.0]) == 1) and kept.survival(1e9) == 0
    places = np.arange(1, 5000)
    above = 1 - np.searchsorted(steps, places * 62 // 64 - 1, side="right") / len(steps)
    below = 1 - np.searchsorted(steps, places * 66 // 64 + 1, side="right") / len(steps)
    found = kept.survival(places * 0.01)
    assert np.all((below - 1e-12 <= found) & (found <= above + 1e-12))


# ------------------------------------------------------------------------- whole numbers


def test_sums_are_those_of_python_integers_up_to_61_bits():
    rng = np.random.default_rng(1)
    for top in (1, 7, 20, 31, 32, 40, 53, 61):
        steps = rng.integers(1, 2**top, size=3000, endpoint=True)
        status = rng.choice([ESCAPED, CENSORED, DIVERGED, 0], size=3000)
        _, kept = both(steps, status)
        inside = [int(t) for t, s in zip(steps, status, strict=True) if s != DIVERGED]
        assert kept.total_steps == sum(inside)
        assert kept.total_squares == sum(t * t for t in inside)
        assert kept.walkers == 3000


def test_bins_are_summed_exactly():
    """With times of all sizes, the sum of a bin stays below 2^63, as all work ever done does."""
    rng = np.random.default_rng(2)
    steps = np.exp2(rng.uniform(0, 47, 50_000)).astype(np.int64)
    status = rng.choice([ESCAPED, CENSORED, 0], size=len(steps))
    kept = both(steps, status)[1]
    counts, sums = [[{}, {}] for _ in range(2)]
    for t, row in zip(steps.tolist(), np.where(status == ESCAPED, 0, 1).tolist(), strict=True):
        octave = t.bit_length() - 1
        place = octave * 64 + ((t << 6) >> octave) - 64
        counts[row][place] = counts[row].get(place, 0) + 1
        sums[row][place] = sums[row].get(place, 0) + t
    for row in range(2):
        filled = np.flatnonzero(kept.counts[row])
        assert (
            dict(zip(filled.tolist(), kept.counts[row, filled].tolist(), strict=True))
            == (counts[row])
        )
        assert dict(zip(filled.tolist(), kept.sums[row, filled].tolist(), strict=True)) == sums[row]


def test_bins_and_edges_agree():
    """At every power of two ± 1, every edge of a bin ± 1, and random numbers of every size."""
    powers = [2**k + d for k in range(62) for d in (-1, 0, 1)]
    edges = [(2**k * m >> 6) + d for k in range(6, 62) for m in range(64, 128) for d in (-1, 0)]
    rng = np.random.default_rng(4)
    random = np.exp2(rng.uniform(0, 62, 100_000)).astype(np.int64).tolist()
    numbers = [t for t in powers + edges + random if t >= 1]
    bins = _bin(np.array(numbers, np.int64)).tolist()
    low, width = ([int(v) for v in part] for part in _edges())
    for t, k in zip(numbers, bins, strict=True):
        octave = t.bit_length() - 1
        assert k == octave * 64 + ((t << 6) >> octave) - 64
        assert low[k] <= t < low[k] + width[k]
        assert width[k] == max(1, 2 ** (octave - 6))
    assert 0 <= min(bins) and max(bins) < _BINS


# --------------------------------------------------------------------------------- adding

ENDS = st.sampled_from([ESCAPED, CENSORED, DIVERGED])
STEPS = st.one_of(st.integers(1, 300), st.integers(1, 2**40))
PART = st.lists(st.tuples(STEPS, ENDS), max_size=8)


def of(part):
    steps, status = zip(*part, strict=True) if part else ((), ())
    return tally(np.array(steps, np.int64), np.array(status, np.int8), 0.01, "none")


@settings(max_examples=150, deadline=None)
@given(PART, PART, PART)
def test_adding_is_that_of_the_walkers_in_any_order(a, b, c):
    whole = of(a + b + c)
    assert (of(a) + of(b)) + of(c) == of(a) + (of(b) + of(c)) == whole
    assert of(b) + of(a) == of(a) + of(b)
    assert of(a) + of([]) == of(a)
    assert hash(of(c) + of(b) + of(a)) == hash(whole)


@settings(max_examples=150, deadline=None)
@given(PART)
def test_text_and_pickles_keep_everything(part):
    kept = of(part)
    for copy in (EscapeStatistics.from_json(kept.to_json()), pickle.loads(pickle.dumps(kept))):
        assert copy == kept
        assert np.array_equal(copy.counts, kept.counts) and copy.counts.dtype == np.int64
        assert np.array_equal(copy.sums, kept.sums) and copy.sums.dtype == np.int64
        assert copy.to_json() == kept.to_json()
        assert (copy + kept).walkers == 2 * kept.walkers


def test_every_field_tells_statistics_apart():
    kept = of([(5, ESCAPED), (9, CENSORED), (7, DIVERGED)])
    for name in ("escaped", "censored", "diverged", "total_steps", "total_squares"):
        assert replace(kept, **{name: getattr(kept, name) + 1}) != kept
    for name in ("counts", "sums"):
        other = getattr(kept, name).copy()
        other[0, np.flatnonzero(kept.counts[0])] += 1
        assert replace(kept, **{name: other}) != kept
    assert replace(kept, step=0.02) != kept and replace(kept, bias_correction="other") != kept
    assert kept != "statistics"


def test_adding_changes_neither_part():
    a, b = of([(5, ESCAPED)]), of([(5, ESCAPED), (9, CENSORED)])
    before = a.to_json(), b.to_json()
    assert (a + b).escaped == 2
    assert (a.to_json(), b.to_json()) == before


def test_different_steps_and_corrections_do_not_add():
    a = tally(np.array([5]), np.array([ESCAPED]), 0.01, "none")
    with pytest.raises(ValueError, match=r"got 0\.01 and 0\.02"):
        a + replace(a, step=0.02)
    with pytest.raises(ValueError, match="shifted"):
        a + replace(a, bias_correction="shifted")
    with pytest.raises(TypeError):
        a + 1


# ------------------------------------------------------------------------ what is refused


def test_nothing_is_estimated_from_diverged_walkers():
    times, kept = both([5, 9, 7], [ESCAPED, DIVERGED, ESCAPED])
    assert (kept.escaped, kept.censored, kept.diverged, kept.walkers) == (2, 0, 1, 3)
    for both_refuse in (times, kept):
        for ask in ("mean", "stderr", "rate", "median"):
            with pytest.raises(ValueError, match="diverged"):
                getattr(both_refuse, ask)
        with pytest.raises(ValueError, match="diverged"):
            both_refuse.exponentiality()


def test_too_few_escapes_and_bad_arguments_are_named():
    _, kept = both([5, 9], [ESCAPED, 0])
    with pytest.raises(ValueError, match="at least 2 walkers must escape"):
        _ = kept.stderr
    with pytest.raises(ValueError, match="at least 10"):
        kept.exponentiality()
    with pytest.raises(ValueError, match="hidden by censoring"):
        kept.quantile(0.9)
    for wrong in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match="probability must be .* above 0, below 1"):
            kept.quantile(wrong)
    with pytest.raises(ValueError, match="level must be a finite real number, above 0, below 1"):
        kept.interval(1.5)
    nobody = of([])
    assert nobody.walkers == 0
    with pytest.raises(ValueError, match="at least 1 walkers must escape"):
        _ = nobody.mean


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(STEPS, st.sampled_from([ESCAPED, ESCAPED, 0])), min_size=1, max_size=30),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]),
)
def test_a_quantile_is_given_only_where_the_times_give_it(part, probability):
    """Whatever was censored: never where the times refuse, and then within a 64th."""
    times, kept = both(*zip(*part, strict=True))
    try:
        found = kept.quantile(probability)
    except ValueError:
        return
    exact = times.quantile(probability)
    assert abs(found - exact) <= exact / 64
