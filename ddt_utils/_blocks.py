"""The random numbers of replicas, a block of iterations at a time; and a block as a CUDA graph."""

from __future__ import annotations

import numpy as np

from ddt_utils import streams


class Blocks:
    """What a rule draws, for every replica that moves.

    Args:
        rule: the rule.
        samples: m, of the data.
        size: n, the number of parameters.
        seed: of the training.
        first: the number of the first replica.
        like: a tensor of the precision and in the place where numbers are needed.
    """

    def __init__(self, rule, samples: int, size: int, *, seed: int, first: int, like):
        """Nothing is drawn yet."""
        self._draw, self.length = rule.draws(samples, size)
        self._seed, self._first, self._like = seed, first, like.new_zeros(())
        self._here = like.device.type == "cpu" or not rule.on_device
        self._kept = (-1, None, None)

    def of(self, rows, iteration: int) -> dict:
        """The numbers of some replicas for the block in which an iteration lies.

        Args:
            rows: which, in order, counted from the first.
            iteration: any of the block.

        Returns:
            Tensors of shape (R, length, ...) by name; one without a name has the name "".
        """
        block = iteration // self.length
        known, those, drawn = self._kept
        if known != block or (rows is not those and not np.isin(rows, those).all()):
            drawn = self._drawn(rows, block)
        elif rows is not those and rows.size < those.size:
            drawn = {name: part[np.searchsorted(those, rows)] for name, part in drawn.items()}
        self._kept = (block, rows, drawn)
        return drawn

    def at(self, drawn: dict, iteration: int):
        """The numbers of one iteration, as a rule takes them.

        Args:
            drawn: what :meth:`of` returned.
            iteration: which one.

        Returns:
            A tensor, or tensors by name.
        """
        rows = {name: part[:, iteration % self.length] for name, part in drawn.items()}
        return rows.get("", rows)

    def _drawn(self, rows, block):
        import torch

        which = (self._seed, "training", self._first + np.asarray(rows, dtype=object), block)
        if self._here:
            parts = [_named(self._draw(g)) for g in streams.each(*which)]
            whole = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
            drawn = {name: torch.from_numpy(part) for name, part in whole.items()}
        else:
            drawn = _named(self._draw(streams.Streams(*which, device=self._like.device)))
        kinds = {name: (self._like if v.is_floating_point() else v) for name, v in drawn.items()}
        place = self._like.device
        return {name: v.to(place, kinds[name].dtype) for name, v in drawn.items()}


class Captured:
    """One iteration of replicas as a CUDA graph, which is launched at once and waits for nobody.

    Args:
        step: (θ, state, draw, iteration) → (θ, state), with no work on the host.
        theta: the parameters.
        state: what the rule carries.
        draw: the numbers of one iteration, by name.
    """

    def __init__(self, step, theta, state, draw):
        """Try the step three times beside, as CUDA graphs need it, then record it."""
        import torch

        self._theta, self._draw = theta.clone(), {k: v.clone() for k, v in draw.items()}
        self._state = {k: v.clone() for k, v in state.items()}
        self._iteration = torch.zeros((), dtype=torch.float64, device=theta.device)
        given = (self._theta, self._state, self._draw.get("", self._draw), self._iteration)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(*given)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            found, after = step(*given)
            for name in self._state:
                self._state[name].copy_(after[name])
            self._theta.copy_(found)
            self._iteration += 1

    def run(self, theta, state, drawn: dict, places: range, iteration: int):
        """Some iterations of one block.

        Args:
            theta: the parameters.
            state: what the rule carries.
            drawn: the numbers of the block, by name.
            places: which of its rows.
            iteration: how many iterations there were before.

        Returns:
            The new parameters and the new state.
        """
        self._theta.copy_(theta)
        self._iteration.fill_(iteration)
        for name, part in state.items():
            self._state[name].copy_(part)
        for place in places:
            for name, part in drawn.items():
                self._draw[name].copy_(part[:, place])
            self._graph.replay()
        return self._theta.clone(), {name: part.clone() for name, part in self._state.items()}


def _named(drawn) -> dict:
    """What a rule drew, by name."""
    return drawn if isinstance(drawn, dict) else {"": drawn}
