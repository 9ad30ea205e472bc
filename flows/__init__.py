"""Flows: the order of the tasks, and the command line."""

import tasks  # noqa: F401 - sets the environment that Prefect reads when it is imported, so before any flow is
