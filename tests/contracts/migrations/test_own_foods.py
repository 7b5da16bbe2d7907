"""The migration own_foods gives each food to the households that use it, on both databases."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from tests.conftest import _on_server
from tests.contracts.migrations.test_migrations import downgrade, postgres_database, rows, upgrade

__all__ = ["postgres_database"]
# 1 Ann, in family 1; 2 Ben, in family 2; 3 Mallory, who made what others use.
ROWS = """
INSERT INTO users (id, email, hashed_password, password_reset_attempts)
VALUES (1, 'a@example.com', 'x', 0), (2, 'b@example.com', 'x', 0), (3, 'm@example.com', 'x', 0);
INSERT INTO families (id, display_name, invite_code) VALUES (1, 'A', '100001'), (2, 'B', '100002');
INSERT INTO family_memberships (family_id, user_id, role) VALUES (1, 1, 'owner'), (2, 2, 'owner');
INSERT INTO ingredients (id, name) VALUES (900, 'quinoa of old'), (999, 'unused');
INSERT INTO foods (ingredient_id, aliases, nutrition, source) VALUES (900, '{}', '{}', 'test');
INSERT INTO ingredients
    (id, name, created_by_user_id, density_g_per_ml, avg_weight_per_unit_g, food_id)
VALUES (901, 'Kimchi', 3, 1000, 5, NULL), (902, 'Natto', 1, 0.5, 7, NULL),
    (903, 'natto', 2, NULL, NULL, NULL), (904, 'Old quinoa', 3, 2, 3, 900),
    (905, 'Pills of Mallory', 3, NULL, NULL, NULL), (906, 'Liquorice', 3, NULL, NULL, NULL);
INSERT INTO pantry_items (id, family_id, owner_user_id, ingredient_id) VALUES
    (1, 1, NULL, 901), (2, NULL, 2, 901), (3, 1, NULL, 902), (4, 1, NULL, 903), (5, 2, NULL, 902),
    (6, NULL, 2, 904), (7, 2, NULL, 900);
INSERT INTO grocery_lists (id, family_id, owner_user_id) VALUES (1, 2, NULL), (2, NULL, 1);
INSERT INTO grocery_list_items (id, grocery_list_id, ingredient_id) VALUES (1, 1, 901), (2, 2, 902);
INSERT INTO grocery_needs (id, grocery_list_id, ingredient_id, meal_name, needed_on)
VALUES (1, 1, 901, 'Soup', '2030-01-07');
INSERT INTO recipes (id, family_id, title) VALUES (1, 2, 'Soup');
INSERT INTO recipe_ingredients (id, recipe_id, ingredient_id) VALUES (1, 1, 901);
INSERT INTO user_preferences (user_id, allergen_ingredient_ids, disliked_ingredient_ids)
VALUES (1, {avoided}, {none}), (2, {none}, {disliked})
"""
REFERRING = {
    "pantry_items": "SELECT r.id, {name}, {owner} FROM pantry_items r",
    "items": "SELECT r.id, {name}, {owner} FROM grocery_list_items r",
    "needs": "SELECT r.id, {name}, {owner} FROM grocery_needs r",
    "recipes": "SELECT r.id, {name}, {owner} FROM recipe_ingredients r",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'freshly.db'}"
    return request.getfixturevalue("postgres_database")


def execute(url, sql):
    if not url.startswith("sqlite"):
        arrays = {"none": "'{}'", "avoided": "'{906,901,77}'", "disliked": "'{903}'"}
        asyncio.run(_on_server(url, filled(sql, arrays)))
        return
    lists = {"none": "'[]'", "avoided": "'[906, 901, 77]'", "disliked": "'[903]'"}
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.executescript(filled(sql, lists))


def filled(sql, values):
    for name, value in values.items():
        sql = sql.replace("{" + name + "}", value)
    return sql


def read(url, query):
    if not url.startswith("sqlite"):
        return rows(url, query)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(query).fetchall()


def foods(url):
    """Return the ingredient of each row, by table and id, as name and owner."""
    name = "i.name"
    owner = "coalesce('f' || i.family_id, 'p' || i.owner_user_id, '-')"
    joined = " JOIN ingredients i ON i.id = r.ingredient_id ORDER BY r.id"
    return {
        table: [
            tuple(row[1:]) for row in read(url, f"{query.format(name=name, owner=owner)}{joined}")
        ]
        for table, query in REFERRING.items()
    }


def preferences(url):
    query = (
        "SELECT allergen_ingredient_ids, disliked_ingredient_ids FROM user_preferences"
        " ORDER BY user_id"
    )
    found = read(url, query)
    return [[json.loads(v) if isinstance(v, str) else list(v) for v in row] for row in found]


def test_each_household_gets_its_own_row_of_a_food(url, tmp_path):
    upgrade(url, tmp_path, "foods_in_use")
    execute(url, ROWS)

    upgrade(url, tmp_path, "own_foods")

    after = foods(url)
    assert after["pantry_items"] == [
        ("Kimchi", "f1"),
        ("Kimchi", "p2"),
        ("Natto", "f1"),
        ("Natto", "f1"),  # "natto", which the family had, too
        ("Natto", "f2"),
        ("Old quinoa", "p2"),
        ("quinoa of old", "-"),
    ]
    assert after["items"] == [("Kimchi", "f2"), ("Natto", "p1")]
    assert after["needs"] == after["recipes"] == [("Kimchi", "f2")]
    # Facts count for the household of the user who gave them, and only if a food can have them.
    facts = "SELECT DISTINCT density_g_per_ml, avg_weight_per_unit_g FROM ingredients WHERE {where}"
    of_strangers = "name IN ('Kimchi', 'Old quinoa') AND coalesce(owner_user_id, 0) <> 3"
    assert read(url, facts.format(where=of_strangers)) == [(None, None)]
    assert read(url, facts.format(where="name = 'Natto' AND family_id = 1")) == [(0.5, 7)]
    assert read(url, facts.format(where="name = 'Kimchi' AND owner_user_id = 3")) == [(None, 5)]
    # An unused food stays with its maker, or without an owner.
    unused = "SELECT name, owner_user_id FROM ingredients WHERE id IN (905, 999) ORDER BY id"
    assert [tuple(row) for row in read(url, unused)] == [("Pills of Mallory", 3), ("unused", None)]


def test_preferences_name_the_foods_of_their_user(url, tmp_path):
    upgrade(url, tmp_path, "foods_in_use")
    execute(url, ROWS)

    upgrade(url, tmp_path, "own_foods")

    [(avoided, none), (_, disliked)] = preferences(url)
    visible = dict(
        read(url, "SELECT id, name FROM ingredients WHERE owner_user_id = 1 OR family_id = 1")
    )
    assert ([visible.get(one, one) for one in avoided], none) == (["Liquorice", "Kimchi", 77], [])
    own = dict(
        read(url, "SELECT id, name FROM ingredients WHERE owner_user_id = 2 OR family_id = 2")
    )
    assert [own[one].lower() for one in disliked] == ["natto"]


def test_going_back_makes_one_row_of_each_name_again(url, tmp_path):
    upgrade(url, tmp_path, "foods_in_use")
    execute(url, ROWS)
    upgrade(url, tmp_path, "own_foods")
    names = {table: [name for name, _ in found] for table, found in foods(url).items()}

    downgrade(url, "foods_in_use")

    duplicates = "SELECT name FROM ingredients GROUP BY name HAVING count(*) > 1"
    assert read(url, duplicates) == []
    joined = "SELECT i.name FROM {} r JOIN ingredients i ON i.id = r.ingredient_id ORDER BY r.id"
    of_pantry = [name for (name,) in read(url, joined.format("pantry_items"))]
    assert of_pantry == names["pantry_items"]
    upgrade(url, tmp_path, "own_foods")
    assert {table: [name for name, _ in found] for table, found in foods(url).items()} == names


def test_an_adopted_database_keeps_the_rows_that_the_catalogue_needs(url, tmp_path):
    upgrade(url, tmp_path, "foods_in_use")
    execute(
        url,
        """
        INSERT INTO users (id, email, hashed_password, password_reset_attempts)
        VALUES (1, 'a@example.com', 'x', 0), (2, 'b@example.com', 'x', 0);
        INSERT INTO ingredients (id, name, density_g_per_ml)
        VALUES (901, 'Flour', 0.6), (902, 'Tomatoes', NULL), (903, 'flour', NULL);
        INSERT INTO pantry_items (id, owner_user_id, ingredient_id)
        VALUES (1, 1, 901), (2, 2, 901), (3, 1, 902), (4, 2, 902), (5, 2, 903)
        """,
    )

    upgrade(url, tmp_path, "head")

    assert foods(url)["pantry_items"] == [
        ("Flour", "-"),
        ("Flour", "-"),
        ("Tomatoes", "p1"),
        ("Tomatoes", "p2"),
        ("flour", "p2"),
    ]
    linked = (
        "SELECT f.name, count(*) FROM ingredients i JOIN ingredients f ON f.id = i.food_id"
        " GROUP BY f.name ORDER BY f.name"
    )
    assert [tuple(row) for row in read(url, linked)] == [("Flour", 1), ("tomato", 2)]
