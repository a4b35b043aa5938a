"""The emotion curve: how the touchpoints of each phase feel, from left to right as customers meet them."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts import colours

POINTS_PER_PHASE = 5
_LABEL_HEIGHT = 0.15  # of an emotion from -1 to +1
_LABEL_DISTANCE = 0.12  # of its middle from its point


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
        figure.add_trace(_curve(points))
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


def _curve(points: pd.DataFrame) -> go.Scatter:
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
        # above where it feels good and below where it hurts, away from the curve
        textposition=_beside(points["weight"].to_list()),
        textfont={"size": 10, "color": colours.MUTED},
        customdata=points[["phase", "touchpoints", "low", "high"]],
        hovertemplate="<b>%{text}</b> · %{customdata[0]}<br>emotion %{y:+.2f}"
        " (%{customdata[2]:+.2f} … %{customdata[3]:+.2f})<br>%{customdata[1]:,} touchpoints<extra></extra>",
        cliponaxis=False,
    )


def _beside(weights: Sequence[float]) -> list[str]:
    """Where each label stands: outside the bend of the curve, never on the label before it or cut off."""
    sides: list[str] = []
    heights: list[float] = []
    for k, weight in enumerate(weights):
        before = weights[k - 1] if k else weight
        after = weights[k + 1] if k + 1 < len(weights) else weight
        bend = weight - (before + after) / 2
        side = "top" if bend > 0.02 or (abs(bend) <= 0.02 and k % 2 == 0) else "bottom"
        at = {"top": weight + _LABEL_DISTANCE, "bottom": weight - _LABEL_DISTANCE}
        if heights and abs(at[side] - heights[-1]) < _LABEL_HEIGHT:
            side = max(at, key=lambda one: abs(at[one] - heights[-1]))
        sides.append(side)
        heights.append(at[side])
    # the first and the last stand at the edge of the drawing
    along = ["right", *["center"] * (len(sides) - 2), "left"] if len(sides) > 1 else ["center"]
    return [f"{side} {place}" for side, place in zip(sides, along, strict=True)]
