"""Figures in Prometheus' text: order, escapes, numbers, nothing for what is not known."""

from __future__ import annotations

from pancode.reports.figures import Figure, Sample, format_exposition

CATALOGUE = {
    "a_total": Figure("counter", "of a \\ and\na line", ("node",)),
    "b": Figure("gauge", "never seen"),
    "c_seconds": Figure("gauge", "how long"),
}


def test_text_follows_the_catalogue_and_leaves_out_what_is_not_known() -> None:
    samples = [
        Sample("c_seconds", 0.1, {}),
        Sample("a_total", 3.0, {"node": 'say "hi"\\\n'}),
        Sample("a_total", 10.0**20, {"node": "n2"}),
    ]
    assert format_exposition(CATALOGUE, samples) == (
        "# HELP a_total of a \\\\ and\\na line\n"
        "# TYPE a_total counter\n"
        'a_total{node="say \\"hi\\"\\\\\\n"} 3\n'
        'a_total{node="n2"} 100000000000000000000\n'
        "# HELP c_seconds how long\n"
        "# TYPE c_seconds gauge\n"
        "c_seconds 0.1\n"
    )


def test_nothing_is_nothing() -> None:
    assert format_exposition(CATALOGUE, []) == ""
