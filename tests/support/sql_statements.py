"""Counts SQL statements."""

from freshly.chassis.observability.metrics import registry


class Statements:
    """Counts the statements that are sent inside the context, with the metric for operators."""

    number = 0

    def __enter__(self):
        self._before = self._total()
        return self

    def __exit__(self, *_):
        self.number = self._total() - self._before

    @staticmethod
    def _total():
        return registry.get_sample_value("freshly_sql_statements_total")
