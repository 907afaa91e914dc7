"""Deploying, and taking back what was deployed: prepare, judge, advance.

`prepare` gathers what must hold outside of the database, without a lock. `judge` reads the release under its lock, has the
gate judge it together with those findings, and begins the plan; `rollback` does that for the way back, which waits for
nobody outside. `advance` carries the steps out, with `planning` and `preflight` before the first one. `step_clicks` are the
buttons of a step. A new precondition of a deploy is a field of `DeployFindings`, gathered in `prepare` and judged in
`bot.domain.gate`.
"""
