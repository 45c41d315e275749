"""Run SpliceAI-class networks exactly, and an ALT only where it is wanted and can differ from REF.

The network is made of convolutions without padding, so an answer depends on the nucleotides within its reach and on
nothing else. Let ``r(k)`` be the one-sided reach of the values that enter convolution ``k``. For an ALT these values
differ from those of REF within ``r(k)`` of the change only, and the answers wanted need them within
``reach - r(k)`` of themselves only. An ALT computes where both hold and takes all else from the REF pass, whose
values right of the change lie ``len(ALT) - len(REF)`` further. Every number is that of a pass over the whole ALT
sequence, up to the order of sums.

Architecture: SpliceAI-10k of Jaganathan et al. 2019 (10.1016/j.cell.2018.12.015): a 1x1 convolution to C channels;
residual units of batch norm, ReLU, convolution, twice; after each block of units a 1x1 convolution is added to the
skip connection, from which a 1x1 convolution and a softmax give p(neither), p(acceptor) and p(donor).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from splicebert_vep_spec import NUCLEOTIDES, Edit, SpliceModel, SpliceModelInfo

from ..errors import model_failure
from ..sequence.tokens import Tokens
from .backend import Cores, full_precision

Weights = NDArray[np.float32]
Probabilities = NDArray[np.float64]
Pairs = list[tuple[Probabilities, Probabilities]]

#: ALTs in one pass: more fill a GPU, and outgrow the caches of a CPU.
_CPU_BATCH, _GPU_BATCH = 8, 64


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution: kernel (out, in, width), bias (out,) and dilation."""

    kernel: Weights
    bias: Weights
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Nucleotides on each side that an output depends on."""
        return int(self.kernel.shape[2] - 1) * self.dilation // 2


@dataclass(frozen=True, slots=True)
class ResidualStack:
    """Weights of one network.

    Args:
        stem: from one-hot A, C, G, T to the channels, width 1.
        norms: scale and shift of the batch norm before each convolution of the units: ``x * scale + shift``.
        units: the two convolutions of every residual unit, in order.
        skips: one convolution of width 1 for the stem's output and one for that of every block of units.
        head: from the channels to neither, acceptor and donor, width 1.
    """

    stem: Convolution
    norms: Sequence[tuple[Weights, Weights]]
    units: Sequence[tuple[Convolution, Convolution]]
    skips: Sequence[Convolution]
    head: Convolution

    @property
    def reach(self) -> int:
        """Nucleotides on each side that an answer depends on."""
        return sum(convolution.reach for unit in self.units for convolution in unit)

    @property
    def units_in_block(self) -> int:
        """Residual units between two skip connections."""
        return len(self.units) // (len(self.skips) - 1)


class ResidualSpliceModel(SpliceModel):
    """Average the answers of SpliceAI-class networks.

    Args:
        info: names and digest.
        stacks: the networks; all have the same reach.
        device: where they run.
        threads: CPU cores to use; None takes torch's number of threads.
    """

    def __init__(
        self, info: SpliceModelInfo, stacks: Sequence[ResidualStack], device: torch.device, threads: int | None = None
    ) -> None:
        self.info, self.reach = info, stacks[0].reach
        self._device, self._cores = device, Cores(device, threads)
        self.at_once = 2 * self._cores.count if self._cores.count > 1 else 1  # a core that is done early takes another
        self._networks = [_Network(stack, device) for stack in stacks]

    def along(self, tokens: Tokens) -> Probabilities:
        """Return p(acceptor) and p(donor), (L - 2 reach, 2) float64; raises as ``alternatives``."""
        return self._means([(tokens, ())])[0][0]

    def alternatives(self, tokens: Tokens, edits: Sequence[Edit]) -> Pairs:
        """Return the answers around each edit, before and after it.

        The REF pass is shared by all edits. It holds about 4 kB a nucleotide of each network that runs at a time: of
        one on one core, else of all.

        Raises:
            BackendError: the networks failed, e.g. for want of memory.
        """
        return self.each([(tokens, edits)])[0]

    def each(self, sequences: Sequence[tuple[Tokens, Sequence[Edit]]]) -> list[Pairs]:
        """Return the answers of ``alternatives`` for several sequences; raises as that does.

        A core takes one network of one sequence at a time, with all edits, and holds the values of that network; a
        single sequence is shared among the cores edit by edit.
        """
        found = []
        for (_, edits), (ref, alts) in zip(sequences, self._means(sequences), strict=True):
            first = [edit.start - edit.left - self.reach for edit in edits]
            pairs = zip(first, edits, alts, strict=True)
            found.append([(ref[at : at + edit.counts[0]], alt) for at, edit, alt in pairs])
        return found

    @torch.inference_mode()
    def _means(self, sequences: Sequence[_Sequence]) -> list[_Answers]:
        """Return the means of all networks."""
        networks, cores = self._networks, self._cores
        try:
            with full_precision(self._device):
                if cores.count > 1 and (len(sequences) == 1 or len(sequences) * len(networks) < cores.count):
                    of_networks = [answers for one in sequences for answers in self._shared(*one)]
                else:
                    tasks = [partial(self._of_network, *one, network) for one in sequences for network in networks]
                    of_networks = cores.map(operator.call, tasks)
        except (RuntimeError, MemoryError) as error:
            raise model_failure(error) from error
        parts = iter(of_networks)
        return [_mean([next(parts) for _ in networks]) for _ in sequences]

    def _of_network(self, tokens: Tokens, edits: Sequence[Edit], network: _Network) -> _Answers:
        """Return the answers of one network, on one core."""
        values = network.values(tokens)
        alts = [network.answers_by_reach(values, [edits[i] for i in numbers]) for numbers in self._groups(edits)]
        return network.answers_of(values), self._in_order(edits, alts)

    def _shared(self, tokens: Tokens, edits: Sequence[Edit]) -> list[_Answers]:
        """Return the answers of each network; the networks share the cores, and then groups of edits do."""
        groups, networks = self._groups(edits), self._networks
        values = self._cores.map(lambda network: network.values(tokens), networks)
        tasks = [
            partial(network.answers_by_reach, of_network, [edits[i] for i in numbers])
            for network, of_network in zip(networks, values, strict=True)
            for numbers in groups
        ]
        alts = iter(self._cores.map(operator.call, tasks))
        return [
            (network.answers_of(of_network), self._in_order(edits, [next(alts) for _ in groups]))
            for network, of_network in zip(networks, values, strict=True)
        ]

    def _groups(self, edits: Sequence[Edit]) -> list[list[int]]:
        return list(_alike(edits, _CPU_BATCH if self._device.type == "cpu" else _GPU_BATCH))

    def _in_order(self, edits: Sequence[Edit], alts: Sequence[Iterable[Probabilities]]) -> list[Probabilities]:
        """Return the answers of groups of edits in the order of the edits."""
        numbers = chain.from_iterable(self._groups(edits))
        by_number = dict(zip(numbers, chain.from_iterable(alts), strict=True))
        return [by_number[i] for i in range(len(edits))]


_Sequence = tuple[Tokens, Sequence[Edit]]
_Answers = tuple[Probabilities, list[Probabilities]]
"""Answers of REF, and of each edit."""


def _mean(parts: Sequence[_Answers]) -> _Answers:
    """Return the mean of the answers of several networks."""
    refs, alts = zip(*parts, strict=True)
    return sum(refs) / len(parts), [sum(of_edit) / len(parts) for of_edit in zip(*alts, strict=True)]


class _Network:
    """One network on its device, with the values that enter its convolutions numbered 0, 1, 2, ... in order.

    Values are (B, L, C), channels last: oneDNN convolves them about twice as fast as (B, C, L) on a CPU. Those of odd
    numbers, between the two convolutions of a unit, are kept behind their batch norm and ReLU.
    """

    def __init__(self, stack: ResidualStack, device: torch.device) -> None:
        self._device, self._stack = device, stack
        self._bases = _by_token(stack.stem).to(device)
        self._head = _placed(stack.head, device)
        self._skips = [_placed(skip, device) for skip in stack.skips]
        self._norms = [tuple(torch.from_numpy(part).to(device) for part in norm) for norm in stack.norms[::2]]
        # The second batch norm of a unit follows a convolution, and so is a part of it.
        self._units = [
            (_placed(_scaled(one, *norm), device), _placed(two, device))
            for (one, two), norm in zip(stack.units, stack.norms[1::2], strict=True)
        ]
        #: One-sided reach of values 0, 1, ...; the last are those behind the last unit.
        self.reaches = np.cumsum([0, *(c.reach for unit in stack.units for c in unit)]).tolist()

    def values(self, tokens: Tokens) -> list[torch.Tensor]:
        """Return the values (1, L - 2 r(k), C) that enter each convolution of the units, and those behind the last."""
        x = self._embedded(tokens[None])
        found = []
        for i, (_, two) in enumerate(self._stack.units):
            hidden = self._first(i, x)
            found += [x, hidden]
            trim = (x.shape[1] - hidden.shape[1]) // 2 + two.reach
            x = self._second(i, hidden).add_(x[:, trim : x.shape[1] - trim])
        return [*found, x]

    def answers_of(self, values: Sequence[torch.Tensor]) -> Probabilities:
        """Return p(acceptor) and p(donor) wherever the last values are, (L - 2 reach, 2)."""
        length = values[-1].shape[1]
        step = 2 * self._stack.units_in_block
        taps = [value[:, (value.shape[1] - length) // 2 :][:, :length] for value in values[::step]]
        answers: Probabilities = self._answers(taps)[0]
        return answers

    def answers_by_reach(self, ref: Sequence[torch.Tensor], edits: Sequence[Edit]) -> Probabilities:
        """Return p(acceptor) and p(donor) behind the change, (B, n, 2), of edits that are alike: see ``_alike``.

        Coordinates are ALT's, counted from the start of the change.
        """
        first, inserted = -edits[0].left, len(edits[0].bases)
        last, shift = inserted + edits[0].right, inserted - (edits[0].end - edits[0].start)
        reach = self.reaches[-1]

        def computed(k: int) -> tuple[int, int]:
            """Return the stretch of values k that can differ from REF's and that the answers wanted need."""
            near, far = self.reaches[k], reach - self.reaches[k]
            low = max(-near, first - far)
            return low, max(low, min(inserted + near, last + far))

        def piece(k: int, low: int, high: int, own: torch.Tensor, start: int, end: int) -> torch.Tensor:
            """Return values k of [low, high): ALT's own of [start, end), REF's on both sides of it."""
            there, offset = ref[k][0], self.reaches[k]

            def of_ref(a: int, b: int, moved: int) -> list[torch.Tensor]:
                starts = [edit.start + a - moved - offset for edit in edits]
                return [torch.stack([there[s : s + b - a] for s in starts])] if b > a else []

            begin = max(low, start) - start
            parts = [
                *of_ref(low, min(high, start), 0),
                own[:, begin : max(begin, min(high, end) - start)],
                *of_ref(max(low, end), high, shift),
            ]
            return torch.cat(parts, dim=1)

        x = self._embedded(np.array([edit.bases for edit in edits], dtype=np.uint8))
        start, end = 0, inserted
        taps = [piece(0, first, last, x, start, end)]
        for i, (one, two) in enumerate(self._stack.units):
            k = 2 * i
            low, high = computed(k + 1)
            hidden = self._first(i, piece(k, low - one.reach, high + one.reach, x, start, end))
            inner, outer = computed(k + 2)
            change = self._second(i, piece(k + 1, inner - two.reach, outer + two.reach, hidden, low, high))
            x = change.add_(piece(k, inner, outer, x, start, end))
            start, end = inner, outer
            if (i + 1) % self._stack.units_in_block == 0:
                taps.append(piece(k + 2, first, last, x, start, end))
        return self._answers(taps)

    def _embedded(self, tokens: Tokens) -> torch.Tensor:
        """Return the values of tokens (B, L), before the first unit."""
        return self._bases[torch.from_numpy(tokens.astype(np.int64)).to(self._device)]

    def _first(self, unit: int, x: torch.Tensor) -> torch.Tensor:
        """Return what the second convolution of a unit is to take: x behind batch norm, ReLU and convolution, twice."""
        scale, shift = self._norms[unit]
        inner = torch.addcmul(shift, x, scale).relu_()
        return _convolved(inner, self._units[unit][0], self._stack.units[unit][0]).relu_()

    def _second(self, unit: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return what a unit adds to its input."""
        return _convolved(hidden, self._units[unit][1], self._stack.units[unit][1])

    def _answers(self, taps: Sequence[torch.Tensor]) -> Probabilities:
        """Return p(acceptor) and p(donor), (B, n, 2) float64, from the values of the skip connections, (B, n, C)."""
        skip = torch.stack([_pointwise(x, skip) for x, skip in zip(taps, self._skips, strict=True)]).sum(dim=0)
        found = torch.softmax(_pointwise(skip, self._head), dim=2)[:, :, 1:]
        answers: Probabilities = found.double().cpu().numpy()
        return answers


_Placed = tuple[torch.Tensor, torch.Tensor]
"""Kernel (out, in, 1, width), channels last, and bias (out,) of a convolution, on the device."""


def _placed(convolution: Convolution, device: torch.device) -> _Placed:
    kernel = torch.from_numpy(convolution.kernel)[:, :, None].to(device, memory_format=torch.channels_last)
    return kernel, torch.from_numpy(convolution.bias).to(device)


def _scaled(convolution: Convolution, scale: Weights, shift: Weights) -> Convolution:
    """Return a convolution and the batch norm behind it as one."""
    kernel, bias = convolution.kernel * scale[:, None, None], convolution.bias * scale + shift
    return Convolution(kernel, bias, convolution.dilation)


def _by_token(stem: Convolution) -> torch.Tensor:
    """Return what a convolution of width 1 over one-hot bases makes of each token, (vocabulary, C)."""
    found = np.tile(stem.bias, (NUCLEOTIDES.stop, 1))
    found[NUCLEOTIDES] += stem.kernel[:, :, 0].T
    return torch.from_numpy(found)


def _convolved(x: torch.Tensor, placed: _Placed, convolution: Convolution) -> torch.Tensor:
    """Return a convolution of x, (B, L - 2 reach, C); nothing where x is too short for any answer."""
    if x.shape[1] <= 2 * convolution.reach:
        return x[:, :0]
    found = functional.conv2d(x.transpose(1, 2)[:, :, None], *placed, dilation=(1, convolution.dilation))
    return found[:, :, 0].transpose(1, 2)


def _pointwise(x: torch.Tensor, placed: _Placed) -> torch.Tensor:
    """Return a convolution of width 1, of (B, L, C)."""
    kernel, bias = placed
    return functional.linear(x, kernel[:, :, 0, 0], bias)


def _alike(edits: Sequence[Edit], size: int) -> Iterator[list[int]]:
    """Yield numbers of edits that one pass can take together: as many bases out and in, and the same answers wanted."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, edit in enumerate(edits):
        shape = (edit.end - edit.start, len(edit.bases), edit.left, edit.right)
        groups.setdefault(shape, []).append(i)
    for numbers in groups.values():
        left = iter(numbers)
        while batch := list(islice(left, size)):
            yield batch


def scale_and_shift(parts: Mapping[str, Weights], epsilon: float) -> tuple[Weights, Weights]:
    """Return a batch norm in inference as ``x * scale + shift``, from its mean, variance, gamma and beta."""
    scale = parts["gamma"] / np.sqrt(parts["variance"].astype(np.float64) + epsilon)
    return scale.astype(np.float32), (parts["beta"] - parts["mean"] * scale).astype(np.float32)
