"""The measurements of `bench/` that a test can afford: they still run on the tables of today."""

from bench.queries import measure_database


def test_the_measurement_of_the_queries_runs(database_url, capsys):
    """The measurement fails here if a table or a statement has changed, and not only when it is needed."""
    figures = measure_database(database_url, releases_total=20, audit_rows=100)

    assert [figure.holds for figure in figures] == [True] * 4
    assert "filled in" in capsys.readouterr().out
