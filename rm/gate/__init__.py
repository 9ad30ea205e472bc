"""The gate: checks on findings, policies with waivers, the verdict, and which model becomes the champion."""
