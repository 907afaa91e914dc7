"""Sequences of what people and systems do, judged by the policy written a second time."""
