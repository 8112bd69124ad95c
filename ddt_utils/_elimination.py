r"""Chains with absorption, solved by an elimination that never subtracts.

The states of a chain are taken out one after another, and what passes through a state that is gone
is given to those that are left (W. K. Grassmann, M. I. Taksar and D. P. Heyman, Operations Research
33, 1107, 1985). Where others compute :math:`1-p` the sum of the other probabilities stands, so
that a wait of :math:`e^{40}` steps has as many digits as the probabilities themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Eliminated:
    """A chain whose states were taken out, from the last to the first.

    Args:
        passed: above the diagonal the share of a later state's visits that come from an earlier
            one, below it the probabilities of the chain that was left; shape (n, n).
        onward: the probability to leave a state for an earlier one or for good, shape (n,).
    """

    passed: np.ndarray
    onward: np.ndarray

    def times(self, reward) -> np.ndarray:
        r"""What is collected on the way: t in t = r + P t.

        Args:
            reward: r, collected at each visit, not negative, shape (n,).

        Returns:
            t, shape (n,).
        """
        collected = np.array(reward, dtype=float)
        for k in range(collected.size - 1, 0, -1):
            collected[:k] += self.passed[:k, k] * collected[k]
        for k in range(collected.size):
            collected[k] += self.passed[k, :k] @ collected[:k]
            collected[k] /= self.onward[k]
        return collected

    def resting(self) -> np.ndarray:
        """Where a chain without absorption rests, shape (n,), its sum one."""
        shares = np.zeros(self.onward.size)
        shares[0] = 1.0
        for k in range(1, shares.size):
            shares[k] = shares[:k] @ self.passed[:k, k]
            if shares[k] > 1e250:  # only ratios matter
                shares[: k + 1] /= shares[k]
        return shares / shares.sum()


def eliminated(matrix, leak) -> Eliminated:
    """Take the states of a chain out, one after another.

    Args:
        matrix: probabilities of a step from i to j, not negative, shape (n, n); overwritten.
        leak: the probability to be absorbed from each state, to its own digits, shape (n,); all
            zero for a chain that rests.

    Returns:
        What answers questions about the chain.

    Raises:
        ArithmeticError: from one of the states the walker goes nowhere else.
    """
    leak, onward = np.array(leak, dtype=float), np.zeros(len(leak))
    for k in range(len(leak) - 1, -1, -1):
        onward[k] = matrix[k, :k].sum() + leak[k]
        if k == 0:
            break
        if not onward[k] > 0:
            raise ArithmeticError(
                f"a walker must be able to leave every state, but state {k} of {len(leak)} leads "
                "nowhere; is there a place without noise and without drift, or so little noise "
                "that the chance to come back is below 1e-308?"
            )
        rows, columns = np.flatnonzero(matrix[:k, k]), np.flatnonzero(matrix[k, :k])
        if not rows.size:
            continue
        matrix[:k, k] /= onward[k]
        top = rows[0]
        leak[top:k] += matrix[top:k, k] * leak[k]
        if columns.size:
            left, right = columns[0], columns[-1] + 1
            matrix[top:k, left:right] += np.outer(matrix[top:k, k], matrix[k, left:right])
    return Eliminated(matrix, onward)
