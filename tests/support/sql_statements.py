"""How much SQL is sent."""

from freshly.chassis.observability.metrics import registry


class Statements:
    """How much SQL is sent while it is entered, as the operator's metrics have it."""

    number = 0

    def __enter__(self):
        self._before = self._sent()
        return self

    def __exit__(self, *_):
        self.number = self._sent() - self._before

    @staticmethod
    def _sent():
        return registry.get_sample_value("freshly_sql_statements_total")
