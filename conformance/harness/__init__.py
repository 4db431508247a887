"""What every protocol's suites share: the broker under test, the table of cases, how suites are run and judged."""
