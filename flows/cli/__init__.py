"""The command line, ``rmflow``: `app` has the commands, `audits` those on audits of files, `screen` what is shown."""
