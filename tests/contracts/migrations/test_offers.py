"""Older offers keep the meal as it was when the migration ran."""

import json
import sqlite3
from contextlib import closing

from freshly.domains.meals.models import Meal
from tests.contracts.migrations.test_adoption import adopted, adopted_template
from tests.contracts.migrations.test_migrations import postgres_database, rows, upgrade

__all__ = ["adopted", "adopted_template", "postgres_database"]


def test_offers_of_an_adopted_database_hold_their_meals(adopted):
    stored = rows(
        adopted,
        """SELECT offered_meal::text, name, m.instructions::text
           FROM meal_share_requests r JOIN meals m ON m.id = r.meal_id""",
    )

    assert stored
    for offered, name, instructions in stored:
        meal = Meal.from_snapshot(json.loads(offered), 1)
        assert (meal.name, meal.instructions) == (name, json.loads(instructions))


def test_offers_of_an_older_database_of_sqlite_hold_their_meals(tmp_path):
    path = tmp_path / "freshly.db"
    url = f"sqlite:///{path}"
    upgrade(url, tmp_path, "shared_profiles")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """
            INSERT INTO users (id, email, hashed_password, password_reset_attempts)
            VALUES (1, 'a@example.com', 'x', 0), (2, 'b@example.com', 'x', 0);
            INSERT INTO meals (id, created_by_user_id, name, calories, meal_type, ingredients,
                               instructions, tags, macros, is_favorite)
            VALUES (5, 1, 'Soup', 1, 'Dinner', '[{"name": "pea", "amount": "1"}]', '["Stir."]',
                    'null', NULL, 1);
            INSERT INTO meal_share_requests (id, meal_id, sender_user_id, recipient_user_id, status)
            VALUES (7, 5, 1, 2, 'pending');
            INSERT INTO notifications (user_id, type, title, message, related_meal_id, is_read)
            VALUES (2, 'meal_share_request', 't', 'm', 5, 0);
            """
        )

    upgrade(url, tmp_path, "head")

    with closing(sqlite3.connect(path)) as connection:
        ((offered,),) = connection.execute("SELECT offered_meal FROM meal_share_requests")
        assert connection.execute("SELECT related_meal_name FROM notifications").fetchall() == [
            ("Soup",)
        ]
    snapshot = json.loads(offered)
    meal = Meal.from_snapshot(snapshot, 2)
    assert snapshot.keys() == meal.snapshot().keys()
    assert (meal.name, meal.meal_type, meal.tags) == ("Soup", "Dinner", None)
    assert (meal.ingredients, meal.instructions) == (
        [{"name": "pea", "amount": "1"}],
        ["Stir."],
    )
