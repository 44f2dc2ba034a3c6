"""Table 1 of the paper for any set of cases: every method on every case, one set of measures, one table."""
