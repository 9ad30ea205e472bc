"""Where independent parts of a stage's work are done: in this process, or by the workers of a Ray cluster.

What comes out is the same. The process that started the stage alone writes to tables and seals manifests.
"""
