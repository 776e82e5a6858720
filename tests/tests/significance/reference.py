"""The same statistics from SciPy; where it has none (Holm, the bootstrap), written down anew from their definitions."""

import json
import sys

import numpy
from scipy import stats


def two_proportions(old, old_n, new, new_n):
    pooled = (old * old_n + new * new_n) / (old_n + new_n)
    z = (new - old) / numpy.sqrt(pooled * (1 - pooled) * (1 / old_n + 1 / new_n))
    # The chi-squared test without a correction is the same test, by another way.
    table = [[old * old_n, old_n - old * old_n], [new * new_n, new_n - new * new_n]]
    return z, stats.chi2_contingency(table, correction=False).pvalue


def welch(old, old_error, old_n, new, new_error, new_n):
    found = stats.ttest_ind_from_stats(
        new, new_error * numpy.sqrt(new_n), new_n, old, old_error * numpy.sqrt(old_n), old_n, equal_var=False
    )
    return found.statistic, found.pvalue


def means_above(old, old_error, old_n, new, new_error, new_n, bound):
    found = stats.ttest_ind_from_stats(
        new - bound,
        new_error * numpy.sqrt(new_n),
        new_n,
        old,
        old_error * numpy.sqrt(old_n),
        old_n,
        equal_var=False,
        alternative="greater",
    )
    return found.statistic, found.pvalue


def proportions_above(old_successes, old_n, new_successes, new_n, bound):
    # SciPy has no such test; Agresti and Caffo's interval, written down anew, excludes the bound where this is small.
    old, new = (old_successes + 1) / (old_n + 2), (new_successes + 1) / (new_n + 2)
    error = numpy.sqrt(old * (1 - old) / (old_n + 2) + new * (1 - new) / (new_n + 2))
    return (new - old - bound) / error, stats.norm.sf(new - old, loc=bound, scale=error)


def standard_errors(old, old_error, new, new_error):
    z = (new - old) / numpy.hypot(old_error, new_error)
    return z, 2 * stats.norm.sf(abs(z))


def mcnemar(old_only, new_only):
    return new_only, stats.binomtest(old_only, old_only + new_only, 0.5).pvalue


MASK = (1 << 64) - 1


def bootstrap(differences):
    state = 0

    def draw(count):
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return ((mixed ^ (mixed >> 31)) * count) >> 64

    values = numpy.array(differences)
    count, resamples = len(values), 10_000
    below = above = 1
    for _ in range(resamples):
        mean = sum(values[draw(count)] for _ in range(count))
        below += mean <= 0
        above += mean >= 0
    return values.mean(), min(1.0, 2 * min(below, above) / (resamples + 1))


def holm(*p):
    order = numpy.argsort(p, kind="stable")
    corrected, least = [1.0] * len(p), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, p[index] * (len(p) - rank)))
        corrected[index] = least
    # By the definition, and by SciPy's step-down of Bonferroni's adjustment where nothing is tied.
    return corrected


cases = json.load(sys.stdin)
json.dump([[float(x) for x in globals()[case["what"]](*case["with"])] for case in cases], sys.stdout)
