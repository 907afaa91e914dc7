"""Sequences through the real flows on PostgreSQL: no deploy past the specification, and nobody authorised gets stuck."""

from typing import Any

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from tests.fix_bot import World
from tests.fix_sequences import chosen_seed, sequences
from tests.fix_tags import Tags
from tests.property.everything import Everything

SEQUENCES, STEPS = 25, 15


def test_random_sequences_keep_to_the_specification_and_end(world: World, tags: Tags) -> None:
    """Commands, clicks, role changes, time, waivers, runs, moved tags, freezes, restarts and rollbacks in any order
    keep to the specification, and an authorised person always gets on.
    """
    machine: Any = seed(chosen_seed())(lambda: Everything(world, tags))
    run_state_machine_as_test(machine, settings=sequences(SEQUENCES, STEPS))
