"""Use cases, one a file; the only code that combines store, steps and rules. No transaction is held across a network call.

A flow that a person starts takes (tx, deps, actor, …), changes rows in that one transaction, and returns the sentence for
the person or raises a RefusedError. A flow that a worker carries out takes (deps, job) and opens its own.
"""
