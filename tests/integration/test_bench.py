"""The measurements of `bench/` that a test can afford: they still run on the tables of today."""

from bench.queries import measure_database


def test_the_queries_are_measured_on_the_tables_of_today(database_url, capsys):
    """A new column or a changed statement breaks this, and not first the next measurement."""
    figures = measure_database(database_url, releases_total=20, audit_rows=100)

    assert [figure.holds for figure in figures] == [True] * 4
    assert "filled in" in capsys.readouterr().out
