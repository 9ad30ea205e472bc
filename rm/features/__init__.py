"""The battery: features of a response that can be seen without understanding it, and kinds of prompts.

`battery` is the table of all features; a new one is a line there. Knows texts, no reward and no label. May import
`rm.stats` and the packages before it.
"""
