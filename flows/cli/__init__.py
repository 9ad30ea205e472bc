"""The command line, ``rmflow``: `app` has the commands, the other modules what they do, `screen` the output."""
