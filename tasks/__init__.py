"""Prefect tasks: thin, each one call into `rm`, with what only Prefect and MLflow have."""

from tasks import environment

environment.apply()
