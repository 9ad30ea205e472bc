"""Prefect tasks: each is a call into `rm`, with what needs Prefect or MLflow."""

from tasks import environment

environment.apply()
