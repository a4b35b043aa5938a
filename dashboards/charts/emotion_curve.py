"""The emotion curve: how the touchpoints of each phase feel, from left to right as customers meet them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts import colours

POINTS_PER_PHASE = 5
_LABEL_HEIGHT = 0.15  # of an emotion from -1 to +1
_LABEL_DISTANCE = 0.12  # of its middle from its point
_LETTER_WIDTH = 0.03  # of a phase, on a page that is 1,100 pixels wide
_MARK_WIDTH = 0.05
_LINE_HEIGHT = 0.03
_STRETCHES = 8  # of the line between two points
_WORSE = 4  # a label or a point under a label, than the curve
_BEND = 0.02  # less is straight on


def emotion_curve(touchpoints: pd.DataFrame, phases: Sequence[str]) -> go.Figure:
    """Draw one point per touchpoint type and phase, coloured by its emotion, with a band of the middle 80 %.

    `touchpoints` has the columns of `warehouse.journey_map.JourneyMap.touchpoints`; every phase takes one
    unit of the x axis, so that the curve lines up with a grid of equal columns.
    """
    points = _points(touchpoints, phases)
    figure = go.Figure()
    for column in range(len(phases)):
        if column % 2:
            figure.add_vrect(
                x0=column, x1=column + 1, fillcolor="rgba(34,48,43,0.035)", line_width=0, layer="below"
            )
    figure.add_hline(y=0, line_color="rgba(34,48,43,0.25)", line_width=1, line_dash="dot")
    if not points.empty:
        figure.add_trace(_band(points))
        figure.add_trace(_curve(points, len(phases)))
    figure.update_layout(
        height=260,
        margin={"l": 0, "r": 0, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hoverlabel={"bgcolor": colours.PAPER, "font": {"color": colours.INK, "size": 13}},
        font={"color": colours.INK, "size": 11},
        uirevision="emotion",
    )
    figure.update_xaxes(range=[0, len(phases)], visible=False, fixedrange=True)
    figure.update_yaxes(range=[-1.25, 1.25], visible=False, fixedrange=True)
    return figure


def _points(touchpoints: pd.DataFrame, phases: Sequence[str]) -> pd.DataFrame:
    """The types most met in each phase, in the order they are met, with their place on the x axis."""
    placed = []
    for column, phase in enumerate(phases):
        of_phase = touchpoints[touchpoints["phase"] == phase]
        by_type = (
            of_phase.assign(
                sum_weight=of_phase["emotion"] * of_phase["touchpoints"],
                sum_place=of_phase["place"] * of_phase["touchpoints"],
                sum_low=of_phase["emotion_p10"] * of_phase["touchpoints"],
                sum_high=of_phase["emotion_p90"] * of_phase["touchpoints"],
            )
            .groupby("type", as_index=False)
            .agg(
                {
                    "touchpoints": "sum",
                    "sum_weight": "sum",
                    "sum_place": "sum",
                    "sum_low": "sum",
                    "sum_high": "sum",
                    "moment_of_truth": "max",
                }
            )
        )
        for measure in ("weight", "place", "low", "high"):
            by_type[measure] = by_type[f"sum_{measure}"] / by_type["touchpoints"]
        # what is met often, and what is felt strongly, makes the curve
        by_type["prominence"] = by_type["touchpoints"] * (0.25 + by_type["weight"].abs())
        by_type = by_type.nlargest(POINTS_PER_PHASE, "prominence")
        by_type = by_type.sort_values(["place", "type"])
        by_type["x"] = [column + (k + 0.5) / len(by_type) for k in range(len(by_type))]
        by_type["phase"] = phase
        if len(by_type):
            placed.append(by_type)
    return pd.concat(placed, ignore_index=True) if placed else pd.DataFrame()


def _band(points: pd.DataFrame) -> go.Scatter:
    xs = [*points["x"], *points["x"][::-1]]
    ys = [*points["high"], *points["low"][::-1]]
    return go.Scatter(
        x=xs,
        y=ys,
        fill="toself",
        mode="lines",
        line={"width": 0, "shape": "spline", "smoothing": 0.6},
        fillcolor="rgba(120,130,120,0.14)",
        hoverinfo="skip",
    )


def _curve(points: pd.DataFrame, width: int) -> go.Scatter:
    return go.Scatter(
        x=points["x"],
        y=points["weight"],
        mode="lines+markers+text",
        line={"shape": "spline", "smoothing": 0.8, "color": "rgba(34,48,43,0.55)", "width": 2.5},
        marker={
            "size": [18 if moment else 12 for moment in points["moment_of_truth"]],
            "symbol": ["star" if moment else "circle" for moment in points["moment_of_truth"]],
            "color": [colours.of_weight(weight) for weight in points["weight"]],
            "line": {"color": colours.PAPER, "width": 2},
        },
        text=[str(name).replace("_", " ") for name in points["type"]],
        textposition=_beside(points, width),
        textfont={"size": 10, "color": colours.MUTED},
        customdata=points[["phase", "touchpoints", "low", "high"]],
        hovertemplate="<b>%{text}</b> · %{customdata[0]}<br>emotion %{y:+.2f}"
        " (%{customdata[2]:+.2f} … %{customdata[3]:+.2f})<br>%{customdata[1]:,} touchpoints<extra></extra>",
        cliponaxis=False,
    )


class _Box(NamedTuple):
    """In units of the axes."""

    left: float
    right: float
    bottom: float
    top: float

    def overlap(self, other: "_Box") -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.top, other.top) - max(self.bottom, other.bottom)
        return wide * high if wide > 0 and high > 0 else 0.0


def _beside(points: pd.DataFrame, width: int) -> list[str]:
    """Where each label stands: where it covers least of the labels before it, of the points and of the curve,
    preferably outside the bend, and never cut off by the edges at 0 and `width`.
    """
    xs, ys = points["x"].to_list(), points["weight"].to_list()
    marks = [
        _Box(x - _MARK_WIDTH / 2, x + _MARK_WIDTH / 2, y - _LABEL_HEIGHT / 2, y + _LABEL_HEIGHT / 2)
        for x, y in zip(xs, ys, strict=True)
    ]
    curve = list(_along_the_curve(xs, ys))
    taken: list[_Box] = []
    chosen = []
    for k, (x, y, name) in enumerate(zip(xs, ys, points["type"], strict=True)):
        before, after = ys[max(k - 1, 0)], ys[min(k + 1, len(ys) - 1)]
        bend = y - (before + after) / 2
        above = bend > _BEND or (abs(bend) <= _BEND and k % 2 == 0)
        sides = ("top", "bottom") if above else ("bottom", "top")
        boxes = {
            f"{side} {along}": _label(x, y, len(name), side, along)
            for along in ("center", "right", "left")
            for side in (*sides, "middle")
            if (side, along) != ("middle", "center")
        }
        within = {at: box for at, box in boxes.items() if box.left >= 0 and box.right <= width} or boxes
        worse = [*taken, *marks[:k], *marks[k + 1 :]]
        covered = {
            at: round(_WORSE * sum(map(box.overlap, worse)) + sum(map(box.overlap, curve)), 4)
            for at, box in within.items()
        }
        at = min(covered, key=covered.__getitem__)
        chosen.append(at)
        taken.append(within[at])
    return chosen


def _along_the_curve(xs: Sequence[float], ys: Sequence[float]) -> Iterator[_Box]:
    """The line between neighbouring points, as boxes of its breadth."""
    for (x, to_x), (y, to_y) in zip(pairwise(xs), pairwise(ys), strict=True):
        stops = [x + (to_x - x) * n / _STRETCHES for n in range(_STRETCHES + 1)]
        heights = [y + (to_y - y) * n / _STRETCHES for n in range(_STRETCHES + 1)]
        for (left, right), two in zip(pairwise(stops), pairwise(heights), strict=True):
            yield _Box(left, right, min(two) - _LINE_HEIGHT / 2, max(two) + _LINE_HEIGHT / 2)


def _label(x: float, y: float, letters: int, side: str, along: str) -> _Box:
    wide = letters * _LETTER_WIDTH
    aside = _MARK_WIDTH / 2 if side == "middle" else 0.0
    left = x - {"left": wide + aside, "center": wide / 2, "right": -aside}[along]
    middle = y + {"top": _LABEL_DISTANCE, "middle": 0.0, "bottom": -_LABEL_DISTANCE}[side]
    return _Box(left, left + wide, middle - _LABEL_HEIGHT / 2, middle + _LABEL_HEIGHT / 2)
