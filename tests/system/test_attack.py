"""The short form of `./run attack`: hostile clients get no memory, and others are answered."""

import pytest

from attack.__main__ import allow_many_files, run_attack
from attack.attacks import ATTACKS

SHORT = (
    "long-paths",
    "pipelining",
    "endless-heads",
    "half-open",
    "unread-answers",
    "large-picture",
)


@pytest.mark.parametrize("name", SHORT)
def test_an_attack_takes_little_memory_and_others_are_answered(name):
    allow_many_files()

    outcome = run_attack(ATTACKS[name], short=True)

    assert outcome.missed == [], outcome.cells()


def test_every_attack_has_a_lowercase_name_and_a_description():
    assert len(ATTACKS) > 12
    assert all(attack.tried and attack.name.islower() for attack in ATTACKS.values())
