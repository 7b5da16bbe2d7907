"""The names of this server, as a request may know them."""

from contextvars import ContextVar

# Set for each request by `TrustedHosts`: names and addresses, without ports and brackets.
own_hosts: ContextVar[frozenset[str]] = ContextVar("own_hosts", default=frozenset())
