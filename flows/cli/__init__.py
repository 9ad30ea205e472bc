"""The command line, ``rmflow``: `app` has the commands, `audits` the audits of files, `screen` the output."""
