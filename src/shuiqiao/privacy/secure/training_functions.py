"""The functions of joint training, each a fixed text of StableHLO in a few numbers: every party writes its own.

Rule: docs/spec/training.md [TRAIN-2], [TRAIN-5] to [TRAIN-8]. None of them depends on what is secret, in its shape or
in how often it is run: how training goes tells nothing. Numbers have 18 bits behind the point; sums over many rows are
brought down before they are squared or divided.

    b   columns of the bank's indicators        t   columns of the bureau's
    n   rows, of which the first m are trained on; the rest is held out
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shuiqiao.privacy.secure.joint import JointFunction

_SQUARED_ROWS: Final = 4_096
"""A sum over so many rows has a square that has room, 36 bits behind the point, in a word of 64."""


class _Text:
    """Lines of one function. Every value is a tensor of numbers with a point; its name is its place."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        self._lines: list[str] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.inputs = [self._named(shape) for shape in shapes]

    def shape_of(self, value: str) -> tuple[int, ...]:
        return self._shapes[value]

    def apply(self, operation: str, *values: str) -> str:
        """Of each number, or of each pair of two tensors of one shape."""
        kind = self._kind(values[0])
        return self._said(self.shape_of(values[0]), f"stablehlo.{operation} {', '.join(values)} : {kind}")

    def constant(self, shape: tuple[int, ...], value: float) -> str:
        return self._said(shape, f"stablehlo.constant dense<{value:.9e}> : {_kind(shape)}")

    def table(self, rows: Sequence[Sequence[float]]) -> str:
        words = ", ".join("[" + ", ".join(f"{each:.9e}" for each in row) + "]" for row in rows)
        shape = (len(rows), len(rows[0]))
        return self._said(shape, f"stablehlo.constant dense<[{words}]> : {_kind(shape)}")

    def vector(self, values: Sequence[float]) -> str:
        words = ", ".join(f"{each:.9e}" for each in values)
        return self._said((len(values),), f"stablehlo.constant dense<[{words}]> : {_kind((len(values),))}")

    def times(self, value: str, factor: float) -> str:
        return self.apply("multiply", value, self.constant(self.shape_of(value), factor))

    def plus(self, value: str, summand: float) -> str:
        return self.apply("add", value, self.constant(self.shape_of(value), summand))

    def spread(self, value: str, shape: tuple[int, ...], *, along: Sequence[int]) -> str:
        """Repeat a tensor; along: where its dimensions go."""
        places = ", ".join(map(str, along))
        return self._said(
            shape, f"stablehlo.broadcast_in_dim {value}, dims = [{places}] : ({self._kind(value)}) -> {_kind(shape)}"
        )

    def product(self, left: str, right: str, *, over: tuple[int, int]) -> str:
        """Sum over one dimension of each."""
        kept = [size for place, size in enumerate(self.shape_of(left)) if place != over[0]]
        kept += [size for place, size in enumerate(self.shape_of(right)) if place != over[1]]
        shape = tuple(kept)
        return self._said(
            shape,
            f"stablehlo.dot_general {left}, {right}, contracting_dims = [{over[0]}] x [{over[1]}] : "
            f"({self._kind(left)}, {self._kind(right)}) -> {_kind(shape)}",
        )

    def turned(self, value: str) -> str:
        """Change rows and columns."""
        shape = tuple(reversed(self.shape_of(value)))
        return self._said(
            shape, f"stablehlo.transpose {value}, dims = [1, 0] : ({self._kind(value)}) -> {_kind(shape)}"
        )

    def part(self, value: str, *bounds: tuple[int, int]) -> str:
        shape = tuple(last - first for first, last in bounds)
        words = ", ".join(f"{first}:{last}" for first, last in bounds)
        return self._said(shape, f"stablehlo.slice {value} [{words}] : ({self._kind(value)}) -> {_kind(shape)}")

    def joined(self, *values: str, along: int) -> str:
        shape = list(self.shape_of(values[0]))
        shape[along] = sum(self.shape_of(value)[along] for value in values)
        kinds = ", ".join(self._kind(value) for value in values)
        return self._said(
            tuple(shape),
            f"stablehlo.concatenate {', '.join(values)}, dim = {along} : ({kinds}) -> {_kind(tuple(shape))}",
        )

    def flag(self, relation: str, left: str, right: str) -> str:
        """1 where the relation holds, else 0."""
        shape = self.shape_of(left)
        truth = self._truth(relation, left, right)
        return self._said(shape, f"stablehlo.convert {truth} : ({_kind(shape, 'i1')}) -> {_kind(shape)}")

    def greater(self, left: str, right: str, *others: tuple[str, str]) -> list[str]:
        """Return for each pair, the first among them, what stands at the side where the first pair is greater."""
        shape = self.shape_of(left)
        truth = self._truth("GE", left, right)
        return [
            self._said(shape, f"stablehlo.select {truth}, {one}, {other} : {_kind(shape, 'i1')}, {_kind(shape)}")
            for one, other in ((left, right), *others)
        ]

    def function(self, name: str, *outputs: str) -> JointFunction:
        takes = ", ".join(f"{value}: {self._kind(value)}" for value in self.inputs)
        gives = ", ".join(self._kind(value) for value in outputs)
        body = "\n".join(f"    {line}" for line in self._lines)
        text = (
            f"module @{name} {{\n  func.func @main({takes}) -> ({gives}) {{\n{body}\n"
            f"    return {', '.join(outputs)} : {gives}\n  }}\n}}\n"
        )
        return JointFunction(name=name, text=text)

    def _truth(self, relation: str, left: str, right: str) -> str:
        kind = self._kind(left)
        name = f"%c{len(self._lines)}"
        self._lines.append(
            f"{name} = stablehlo.compare {relation}, {left}, {right} : ({kind}, {kind}) -> "
            f"{_kind(self.shape_of(left), 'i1')}"
        )
        return name

    def _said(self, shape: tuple[int, ...], words: str) -> str:
        name = self._named(shape)
        self._lines.append(f"{name} = {words}")
        return name

    def _named(self, shape: tuple[int, ...]) -> str:
        name = f"%v{len(self._shapes)}"
        self._shapes[name] = shape
        return name

    def _kind(self, value: str) -> str:
        return _kind(self.shape_of(value))


def _kind(shape: tuple[int, ...], element: str = "f32") -> str:
    return f"tensor<{'x'.join((*map(str, shape), element))}>"


def logistic_step(*, rows: int, bank: int, bureau: int, rate: float) -> JointFunction:
    """Take one step of logistic regression on some rows.

    Inputs: indicators of bank and bureau, labels, weights of bank and bureau, intercept. Outputs: the three, moved by
    ``rate`` times the mean gradient.
    """
    text = _Text((rows, bank), (rows, bureau), (rows,), (bank,), (bureau,), (1,))
    ours, theirs, labels, our_weights, their_weights, intercept = text.inputs
    odds = _log_odds(text, ours, theirs, our_weights, their_weights, intercept)
    missed = text.apply("subtract", labels, text.apply("logistic", odds))
    moved = [
        text.apply("add", weights, text.times(text.product(missed, held, over=(0, 0)), rate / rows))
        for weights, held in ((our_weights, ours), (their_weights, theirs))
    ]
    ones = text.constant((rows, 1), 1.0)
    shift = text.times(text.product(missed, ones, over=(0, 0)), rate / rows)
    return text.function("logistic_step", *moved, text.apply("add", intercept, shift))


def logistic_score(*, rows: int, bank: int, bureau: int) -> JointFunction:
    """Return log odds of some rows. Inputs: indicators of bank and bureau, weights of both, intercept."""
    text = _Text((rows, bank), (rows, bureau), (bank,), (bureau,), (1,))
    return text.function("logistic_score", _log_odds(text, *text.inputs))


def _log_odds(text: _Text, ours: str, theirs: str, our_weights: str, their_weights: str, intercept: str) -> str:
    together = text.apply(
        "add", text.product(ours, our_weights, over=(1, 0)), text.product(theirs, their_weights, over=(1, 0))
    )
    (rows,) = text.shape_of(together)
    return text.apply("add", together, text.spread(intercept, (rows,), along=[0]))


def tree_gradients(*, rows: int, trained: int) -> JointFunction:
    """Return gradient and curvature of the log loss of the rows trained on.

    Inputs: log odds of all rows, labels of those trained on.
    """
    text = _Text((rows,), (trained,))
    odds, labels = text.inputs
    rate = text.apply("logistic", text.part(odds, (0, trained)))
    curvature = text.apply("multiply", rate, text.apply("subtract", text.constant((trained,), 1.0), rate))
    return text.function("tree_gradients", text.apply("subtract", rate, labels), curvature)


def tree_level(
    *, rows: int, trained: int, bank: int, bureau: int, nodes: int, penalty: float, least: int
) -> JointFunction:
    """Split every node of one level where that gains most, or leave it whole.

    Inputs: columns [value <= cut] of bank and bureau (rows x b, rows x t), membership of rows in nodes (rows x nodes, 0
    or 1), gradient and curvature of the rows trained on. Outputs: membership in twice as many nodes (those below the
    cut first), the column chosen for each node (b + t for none), and the same as the bureau may know it (-1 for what is
    not its own). penalty: added to curvatures. least: rows trained on that each side of a split has.
    """
    columns = bank + bureau
    text = _Text((rows, bank), (rows, bureau), (rows, nodes), (trained,), (trained,))
    ours, theirs, members, gradient, curvature = text.inputs
    learners = text.part(members, (0, trained), (0, nodes))
    measures = [
        *(
            text.apply("multiply", learners, text.spread(each, (trained, nodes), along=[0]))
            for each in (gradient, curvature)
        ),
        learners,
    ]
    # The library takes a product over rows many times faster with a table first that has few columns.
    below = [
        text.joined(
            text.product(measure, text.part(ours, (0, trained), (0, bank)), over=(0, 0)),
            text.product(measure, text.part(theirs, (0, trained), (0, bureau)), over=(0, 0)),
            along=1,
        )
        for measure in measures
    ]
    totals = [text.product(measure, text.constant((trained,), 1.0), over=(0, 0)) for measure in measures]
    chosen = _best(text, _gains(text, below, totals, trained=trained, penalty=penalty, least=least))
    shape = (nodes, columns + 1)
    places = text.spread(text.vector(list(map(float, range(columns + 1)))), shape, along=[1])
    picks = text.flag("EQ", places, text.spread(chosen, shape, along=[0]))
    whole = text.part(picks, (0, nodes), (columns, columns + 1))
    goes = text.apply(
        "add",
        _held(text, ours, text.part(picks, (0, nodes), (0, bank))),
        _held(text, theirs, text.part(picks, (0, nodes), (bank, columns))),
    )
    every = text.product(text.constant((rows, 1), 1.0), whole, over=(1, 1))
    low = text.apply("multiply", members, text.apply("add", goes, every))
    split = text.joined(low, text.apply("subtract", members, low), along=1)
    # Of the bureau's columns the place from one on, else nothing, then one less.
    numbers = [float(place - bank + 1) if bank <= place < columns else 0.0 for place in range(columns + 1)]
    own = text.product(picks, text.vector(numbers), over=(1, 0))
    return text.function("tree_level", split, chosen, text.plus(own, -1.0))


def _held(text: _Text, columns: str, picks: str) -> str:
    """Return rows x nodes: what each row has in the column that each node picked."""
    return text.product(columns, text.turned(picks), over=(1, 0))


def _scale(trained: int) -> float:
    """Return in what units sums over so many rows are taken."""
    return 1.0 / (1 << max(0, (trained - 1).bit_length() - (_SQUARED_ROWS - 1).bit_length()))


def _gains(
    text: _Text, below: Sequence[str], totals: Sequence[str], *, trained: int, penalty: float, least: int
) -> str:
    """Return nodes x columns + 1: what each cut gains, -1 where a side has too few rows; last 0, for no split.

    below, totals: gradients, curvatures and rows, below each cut (nodes x columns) and in all (nodes).
    """
    shape = text.shape_of(below[0])
    nodes, scale = shape[0], _scale(trained)

    def worth(gradient: str, curvature: str) -> str:
        scaled = text.times(gradient, scale)
        weight = text.times(text.plus(curvature, penalty), scale)
        return text.apply("divide", text.apply("multiply", scaled, scaled), weight)

    wholes = [text.spread(total, shape, along=[0]) for total in totals]
    above = [text.apply("subtract", whole, part) for whole, part in zip(wholes, below, strict=True)]
    sides = text.apply("add", worth(*below[:2]), worth(*above[:2]))
    gain = text.apply("subtract", sides, worth(*wholes[:2]))
    bound = text.constant(shape, least - 0.5)
    enough = text.apply("multiply", text.flag("GE", below[2], bound), text.flag("GE", above[2], bound))
    kept = text.plus(text.apply("multiply", text.plus(gain, 1.0), enough), -1.0)
    return text.joined(kept, text.constant((nodes, 1), 0.0), along=1)


def _best(text: _Text, gains: str) -> str:
    """Return for each node the place of its greatest gain, by comparing halves."""
    nodes, count = text.shape_of(gains)
    places = text.spread(text.vector(list(map(float, range(count)))), (nodes, count), along=[1])
    size = 1 << (count - 1).bit_length()
    if size > count:
        gains = text.joined(gains, text.constant((nodes, size - count), -1.0), along=1)
        places = text.joined(places, text.constant((nodes, size - count), 0.0), along=1)
    while size > 1:
        half = size // 2
        (one, other), (here, there) = (
            (text.part(each, (0, nodes), (0, half)), text.part(each, (0, nodes), (half, size)))
            for each in (gains, places)
        )
        gains, places = text.greater(one, other, (here, there))
        size = half
    return text.product(places, text.constant((1,), 1.0), over=(1, 0))


def tree_leaves(*, rows: int, trained: int, leaves: int, rate: float, penalty: float) -> JointFunction:
    """Return the leaves' values, and the log odds of all rows with the tree added.

    Inputs: log odds of all rows, membership in leaves, gradient and curvature of the rows trained on.
    """
    text = _Text((rows,), (rows, leaves), (trained,), (trained,))
    odds, members, gradient, curvature = text.inputs
    learners = text.part(members, (0, trained), (0, leaves))
    pull = text.times(text.product(gradient, learners, over=(0, 0)), -rate * _scale(trained))
    weight = text.times(text.plus(text.product(curvature, learners, over=(0, 0)), penalty), _scale(trained))
    values = text.apply("divide", pull, weight)
    return text.function("tree_leaves", values, text.apply("add", odds, text.product(members, values, over=(1, 0))))


def bucket_counts(*, rows: int, first: int, edges: Sequence[float], least: int) -> JointFunction:
    """Count rows by score, from row ``first`` of ``rows`` on, all of them and those that are bad.

    Inputs: log odds of all rows, labels of those counted. Outputs: rows and bad rows of each bucket (below the first
    edge, between two, from the last one on), and 1 for each bucket of at least ``least`` rows.
    """
    counted, buckets = rows - first, len(edges) + 1
    text = _Text((rows,), (counted,))
    odds, labels = text.inputs
    table = (counted, len(edges))
    scores = text.spread(text.part(odds, (first, rows)), table, along=[0])
    reached = text.flag("GE", scores, text.spread(text.vector(edges), table, along=[1]))
    everyone = text.constant((counted,), 1.0)
    found = []
    for each in (everyone, labels):
        above = text.product(each, reached, over=(0, 0))
        total = text.product(each, text.constant((counted, 1), 1.0), over=(0, 0))
        none = text.constant((1,), 0.0)
        found.append(text.apply("subtract", text.joined(total, above, along=0), text.joined(above, none, along=0)))
    enough = text.flag("GE", found[0], text.constant((buckets,), least - 0.5))
    return text.function("bucket_counts", *found, enough)


def merged_counts(*, groups: Sequence[int]) -> JointFunction:
    """Add buckets up by group. groups: of each bucket the number of its group. Inputs and outputs: rows, bad rows."""
    text = _Text((len(groups),), (len(groups),))
    into = text.table([[float(group == number) for number in range(max(groups) + 1)] for group in groups])
    return text.function("merged_counts", *(text.product(each, into, over=(0, 0)) for each in text.inputs))
