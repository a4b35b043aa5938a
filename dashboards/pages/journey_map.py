"""The journey map: phases as columns; channels, emotion, pain, delight and drop-off as rows."""

from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
import pandas as pd
from dash import dcc, html

from dashboards.charts import colours
from dashboards.charts.emotion_curve import emotion_curve
from dashboards.url_state import ALL_TIME, PERIODS, MapState
from warehouse.journey_map import JourneyMap

CHIPS_PER_CELL = 3
RANKED_PER_PHASE = 4
Component = Any


def frame(state: MapState, refresh_interval_ms: int) -> Component:
    """The page without its numbers: heading, choices, and what refreshes them every `refresh_interval_ms`."""
    period_labels = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
    return html.Div(
        className="page",
        children=[
            dcc.Interval(id="refresh", interval=refresh_interval_ms),
            html.Header(
                className="masthead",
                children=[
                    html.Div(
                        className="brand",
                        children=[
                            html.Span("desireline", className="wordmark"),
                            html.Span("where customers really walk", className="tagline"),
                        ],
                    ),
                    html.Div(
                        className="choices",
                        children=[
                            dmc.SegmentedControl(
                                id="period",
                                value=state.period,
                                size="sm",
                                radius="xl",
                                data=[
                                    *({"value": key, "label": period_labels[key]} for key in PERIODS),
                                    {"value": ALL_TIME, "label": "All"},
                                ],
                            ),
                            dmc.Select(
                                id="persona",
                                value=state.persona,
                                # until all are known, the one that was chosen
                                data=[state.persona] if state.persona else [],
                                placeholder="Everybody",
                                clearable=True,
                                size="sm",
                                radius="xl",
                                w=170,
                                **{"aria-label": "persona"},
                            ),
                            html.A("API", href="/docs", className="api-link"),
                        ],
                    ),
                ],
            ),
            html.Div(id="map"),
        ],
    )


def numbers(journey_map: JourneyMap, now: datetime) -> Component:
    """Everything on the page that comes from the warehouse."""
    return html.Div(
        [
            *_alert_banners(journey_map.open_alerts),
            _headline(journey_map, now),
            _map(journey_map) if journey_map.total("touchpoints") else _nothing_yet(),
        ]
    )


def apology(message: str) -> Component:
    """What stands in place of the numbers where there are none, and why."""
    return dmc.Alert(message, title="No numbers just now", color="red", variant="light", mt="lg")


def _nothing_yet() -> Component:
    return html.Div(
        className="nothing",
        children=[
            html.H2("No touchpoints in this period"),
            html.P(
                "Choose a longer period, or send some: point a Segment client at the collector, "
                "load a file, or run "
            ),
            html.Code("desireline simulate --customers 1000"),
        ],
    )


def _headline(journey_map: JourneyMap, now: datetime) -> Component:
    converted, journeys = journey_map.total("journeys_converted"), journey_map.total("journeys")
    tiles = [
        (
            "customers",
            f"{journey_map.total('customers'):,}",
            f"{journey_map.total('customers_across_channels'):,} of them on two channels or more",
        ),
        ("touchpoints", f"{journey_map.total('touchpoints'):,}", "on all channels"),
        ("journeys", f"{journeys:,}", "began in this period"),
        ("converted", _percent(converted, journeys), f"{converted:,} of these journeys"),
        ("emotion", f"{journey_map.mean_emotion:+.2f}", "mean of all touchpoints, −1 to +1"),
    ]
    return html.Div(
        className="headline",
        children=[
            *(
                html.Div(
                    className="tile",
                    children=[
                        html.Div(label, className="tile-label"),
                        html.Div(value, className="tile-value", id=f"tile-{label.replace(' ', '-')}"),
                        html.Div(note, className="tile-note"),
                    ],
                )
                for label, value, note in tiles
            ),
            html.Div(
                className="freshness", children=[html.Span(className="pulse"), _true_until(journey_map, now)]
            ),
        ],
    )


def _true_until(journey_map: JourneyMap, now: datetime) -> str:
    if journey_map.watermark is None:
        return "waiting for the first touchpoint"
    behind = now - journey_map.watermark
    until = journey_map.watermark.astimezone(UTC)
    said = f"{until:%H:%M:%S}" if behind.total_seconds() < 86_400 else f"{until:%Y-%m-%d %H:%M}"
    return f"true until {said} UTC"


def _alert_banners(open_alerts: pd.DataFrame) -> list[Component]:
    return [
        dmc.Alert(
            alert["message"],
            title=f"Abandonment of {alert['kind']} on {alert['channel']} is far above what this hour expects",
            color="red",
            radius="md",
            mt="sm",
            className="alert-banner",
        )
        for alert in open_alerts.head(3).to_dict("records")
    ]


def _map(journey_map: JourneyMap) -> Component:
    phases = journey_map.phase_names
    columns = {"gridTemplateColumns": f"112px repeat({len(phases)}, minmax(0, 1fr))"}
    rows: list[Component] = [
        html.Div(className="map-row heads", style=columns, children=[_label(""), *_heads(journey_map)]),
        html.Div(
            className="map-row curve",
            style={"gridTemplateColumns": "112px minmax(0, 1fr)"},
            children=[
                _label("Emotion", "★ moment of truth"),
                dcc.Graph(
                    id="emotion-curve",
                    figure=emotion_curve(journey_map.touchpoints, phases),
                    config={"displayModeBar": False, "responsive": True},
                    style={"height": "260px"},
                ),
            ],
        ),
        *(
            html.Div(
                className="map-row lane",
                style=columns,
                children=[
                    _label(channel.capitalize(), "touchpoints"),
                    *(_chips(journey_map.touchpoints, channel, phase) for phase in phases),
                ],
            )
            for channel in journey_map.channels
        ),
        html.Div(
            className="map-row pains",
            style=columns,
            children=[
                _label("Pain points", "long: hurts many; red: hurts much"),
                *(_pains(journey_map.pain_points, phase) for phase in phases),
            ],
        ),
        html.Div(
            className="map-row delights",
            style=columns,
            children=[
                _label("Delight", "how often"),
                *(_delights(journey_map.delights, phase) for phase in phases),
            ],
        ),
        html.Div(
            className="map-row drops",
            style=columns,
            children=[
                _label("Drop-off", "out of the phase"),
                *(_drop_off(journey_map, phase) for phase in phases),
            ],
        ),
    ]
    return html.Div(className="map", children=rows)


def _label(title: str, note: str = "") -> Component:
    return html.Div(
        className="row-label",
        children=[html.Div(title), html.Div(note, className="row-note")] if title else [],
    )


def _heads(journey_map: JourneyMap) -> list[Component]:
    heads = []
    for number, phase in enumerate(journey_map.phase_names, start=1):
        of_phase = journey_map.phase(phase)
        forward = _percent(of_phase["journeys_forward"], of_phase["journeys"])
        heads.append(
            html.Div(
                className="phase-head",
                children=[
                    html.Div(phase, className="phase-name"),
                    html.Div(
                        className="phase-figures",
                        children=[
                            html.B(f"{of_phase['journeys']:,}"),
                            " journeys",
                            html.Br(),
                            f"{_duration(of_phase['median_ms'])} in phase",
                        ],
                    ),
                    html.Div(f"{forward} move on ›", className="phase-forward")
                    if number < len(journey_map.phase_names)
                    else html.Div("the last phase", className="phase-forward last"),
                ],
            )
        )
    return heads


def _chips(touchpoints: pd.DataFrame, channel: str, phase: str) -> Component:
    cell = touchpoints[(touchpoints["channel"] == channel) & (touchpoints["phase"] == phase)]
    top = cell.nlargest(CHIPS_PER_CELL, "touchpoints")
    rest = len(cell) - len(top)
    return html.Div(
        className="cell",
        children=[
            *(
                html.Div(
                    className="chip",
                    title=f"emotion {row['emotion']:+.2f}, {row['customers']:,} customers",
                    style={"borderLeftColor": colours.of_weight(row["emotion"])},
                    children=[
                        html.Span(row["type"].replace("_", " "), className="chip-name"),
                        html.Span(_short(row["touchpoints"]), className="chip-count"),
                    ],
                )
                for row in top.to_dict("records")
            ),
            html.Div(f"+ {rest} more" if rest > 0 else "", className="more"),
        ],
    )


def _pains(pain_points: pd.DataFrame, phase: str) -> Component:
    of_phase = pain_points[pain_points["phase"] == phase].nlargest(RANKED_PER_PHASE, "hurt")
    most = pain_points["hurt"].max() if len(pain_points) else 1.0
    return html.Div(
        className="cell",
        children=[
            html.Div(
                className="bar",
                title=f"{row['customers']:,} customers, mean severity {row['severity']:.2f}",
                children=[
                    html.Div(
                        className="bar-fill",
                        # as long as it hurts all together, as red as it hurts each time
                        style={
                            "width": f"{max(4.0, 100 * row['hurt'] / most):.0f}%",
                            "background": colours.of_severity(row["severity"]),
                        },
                    ),
                    html.Span(row["kind"].replace("_", " "), className="bar-name"),
                    html.Span(_short(row["pain_points"]), className="bar-count"),
                ],
            )
            for row in of_phase.to_dict("records")
        ]
        or [html.Div("none", className="more")],
    )


def _delights(delights: pd.DataFrame, phase: str) -> Component:
    of_phase = delights[delights["phase"] == phase].nlargest(CHIPS_PER_CELL, "delights")
    return html.Div(
        className="cell",
        children=[
            html.Div(
                className="chip",
                style={"borderLeftColor": colours.DELIGHT},
                children=[
                    html.Span(row["kind"].replace("_", " "), className="chip-name"),
                    html.Span(_short(row["delights"]), className="chip-count"),
                ],
            )
            for row in of_phase.to_dict("records")
        ]
        or [html.Div("none", className="more")],
    )


def _drop_off(journey_map: JourneyMap, phase: str) -> Component:
    of_phase = journey_map.phase(phase)
    rate = of_phase["drop_offs"] / of_phase["journeys"] if of_phase["journeys"] else 0.0
    pain = of_phase["pain_before_drop_off"]
    return html.Div(
        className="cell drop",
        children=[
            html.Div(
                _percent(of_phase["drop_offs"], of_phase["journeys"]),
                className="drop-rate",
                style={"color": colours.of_severity(min(1.0, rate * 2))},
            ),
            html.Div(f"{of_phase['drop_offs']:,} fell silent", className="drop-note"),
            html.Div(f"{of_phase['recoveries']:,} came back", className="drop-note good"),
            html.Div(
                f"{of_phase['drop_offs_after_pain']:,} after {pain.replace('_', ' ')}" if pain else "",
                className="drop-note pain",
            ),
        ],
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _short(number: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 10_000)):
        if number >= size:
            return f"{number / (1_000_000 if unit == 'M' else 1_000):.1f} {unit}"
    return f"{number:,}"


def _duration(ms: float | None) -> str:
    if ms is None or pd.isna(ms):
        return "–"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms / 1000:.0f} s"
