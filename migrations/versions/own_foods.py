"""Give each food that users added to the households that use it, a row for each of them.

The catalogue keeps its rows: those with a row in `foods`, and in a database of the existing app
those with the name of a food that is added to the catalogue after the migrations. Each other row
goes to the household that uses it. The maker's household comes first; each further household gets
a copy, without the facts that the maker gave it. A row that no household uses goes to its maker; if
the maker is unknown, it stays without owner, and no user sees it.
"""

# ruff: noqa: S608 - the SQL is made of constants of this file and of the catalogue

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types
from freshly.domains.ingredients.catalogue import foods

revision = "own_foods"
down_revision = "foods_in_use"

# SQLAlchemy cannot read these indexes when SQLite copies a table.
EXPRESSIONS = {
    "ix_ingredients_name_lower": ("ingredients", "lower(name)"),
    "ix_users_email_lower": ("users", "lower(email)"),
}
OWNER_COLUMNS = {"family_id": "families", "owner_user_id": "users"}
NO_OWNER = "family_id IS NULL AND owner_user_id IS NULL"
LISTS = ("grocery_list_items", "grocery_needs", "grocery_reservations")
PREFERENCES = ("allergen_ingredient_ids", "disliked_ingredient_ids")
FACTS = ("avg_weight_per_unit_g", "density_g_per_ml")
COPIED = (
    "name, category, created_at, canonical_unit_type, canonical_unit, avg_weight_per_unit_g,"
    " density_g_per_ml, pieces_per_package, food_id"
)
# The families of a user: `{user}` is the user's id.
FAMILIES = "(SELECT h.family_id FROM family_memberships h WHERE h.user_id = {user})"
IS_MAKER = (
    "CASE WHEN i.created_by_user_id IS NULL OR u.owner_user_id = i.created_by_user_id"
    f" OR u.family_id IN {FAMILIES.format(user='i.created_by_user_id')} THEN 1 ELSE 0 END"
)


def _owner(table: str) -> str:
    """Return the SQL of a key of the owner: "f7" or "p7"."""
    return (
        f"CASE WHEN {table}.family_id IS NOT NULL THEN 'f' || {table}.family_id"
        f" ELSE 'p' || {table}.owner_user_id END"
    )


def upgrade() -> None:
    _change_table(upgrade=True)
    _create_moves()
    _add_moves()
    _choose_rows()
    _copy_rows()
    _set_owners()
    _point_to_targets(
        "{owner} = m.owner", "m.owner_user_id = p.user_id OR m.family_id IN {families}"
    )
    op.execute(
        "DELETE FROM ingredients WHERE id IN (SELECT ingredient_id FROM food_moves)"
        " AND id NOT IN (SELECT target_id FROM food_moves)"
    )
    op.drop_table("food_moves")
    _create_unique_names()


def downgrade() -> None:
    """Make the rows of one name one row again, that of the catalogue if it has one."""
    for name in ("catalogue", "owner", "family"):
        op.drop_index(f"uq_ingredients_{name}_name", "ingredients")
    _create_moves()
    op.execute(
        "INSERT INTO food_moves (ingredient_id, target_id, is_maker)"
        f" SELECT id, first_value(id) OVER (PARTITION BY name ORDER BY CASE WHEN {NO_OWNER}"
        " THEN 0 ELSE 1 END, id), 0 FROM ingredients"
    )
    _point_to_targets("1 = 1", "1 = 1")
    op.execute(
        "UPDATE ingredients SET food_id = (SELECT m.target_id FROM food_moves m"
        " WHERE m.ingredient_id = ingredients.food_id) WHERE food_id IS NOT NULL"
    )
    op.execute("UPDATE ingredients SET food_id = NULL WHERE food_id = id")
    not_kept = "NOT IN (SELECT target_id FROM food_moves)"
    op.execute(f"DELETE FROM ingredient_measures WHERE ingredient_id {not_kept}")
    op.execute(f"DELETE FROM ingredients WHERE id {not_kept}")
    op.drop_table("food_moves")
    _change_table(upgrade=False)


def _change_table(*, upgrade: bool) -> None:
    on_sqlite = op.get_context().dialect.name == "sqlite"
    indexes = EXPRESSIONS.items() if on_sqlite else ()
    for index, (table, _) in indexes:
        op.drop_index(index, table)
    with op.batch_alter_table("ingredients") as ingredients:
        if upgrade:
            ingredients.drop_constraint("ingredients_name_key", type_="unique")
            ingredients.add_column(Column("shelf_life", types.Json))
            for column, target in OWNER_COLUMNS.items():
                ingredients.add_column(Column(column, sa.Integer()))
                ingredients.create_foreign_key(
                    f"ingredients_{column}_fkey", target, [column], ["id"], ondelete="CASCADE"
                )
            ingredients.create_check_constraint(
                "ck_ingredients_one_owner", "family_id IS NULL OR owner_user_id IS NULL"
            )
        else:
            ingredients.drop_constraint("ck_ingredients_one_owner", type_="check")
            for column in OWNER_COLUMNS:
                ingredients.drop_constraint(f"ingredients_{column}_fkey", type_="foreignkey")
                ingredients.drop_column(column)
            ingredients.drop_column("shelf_life")
            ingredients.create_unique_constraint("ingredients_name_key", ["name"])
    for index, (table, expression) in indexes:
        op.create_index(index, table, [sa.text(expression)])


def _create_unique_names() -> None:
    lower_name = sa.text("lower(name)")
    for name, column in (("family", "family_id"), ("owner", "owner_user_id")):
        index = f"uq_ingredients_{name}_name"
        op.create_index(index, "ingredients", [column, lower_name], unique=True)
    op.create_index(
        "uq_ingredients_catalogue_name",
        "ingredients",
        ["name"],
        unique=True,
        postgresql_where=sa.text(NO_OWNER),
        sqlite_where=sa.text(NO_OWNER),
    )


def _create_moves() -> None:
    """Create the table that says to which row each household's rows refer afterwards."""
    op.create_table(
        "food_moves",
        Column("id", sa.Integer(), primary_key=True),
        Column("ingredient_id", sa.Integer(), nullable=False, index=True),
        Column("family_id", sa.Integer()),
        Column("owner_user_id", sa.Integer()),
        Column("owner", sa.Text()),
        Column("name_key", sa.Text()),
        Column("is_maker", sa.Integer(), nullable=False),
        Column("target_id", sa.Integer(), index=True),
    )
    op.create_index("ix_food_moves_owner", "food_moves", ["owner", "name_key"])


def _add_moves() -> None:
    of_lists = [
        f"SELECT r.ingredient_id, l.family_id, l.owner_user_id FROM {table} r"
        " JOIN grocery_lists l ON l.id = r.grocery_list_id"
        for table in LISTS
    ]
    of_recipes = (
        "SELECT r.ingredient_id, c.family_id, CAST(NULL AS integer)"
        " FROM recipe_ingredients r JOIN recipes c ON c.id = r.recipe_id"
    )
    _insert_moves(
        " UNION ".join(
            (
                "SELECT ingredient_id, family_id, owner_user_id FROM pantry_items",
                *of_lists,
                of_recipes,
            )
        )
    )
    # A user may have chosen any name while Freshly showed them all. The existing app showed none.
    _insert_moves(
        f"SELECT p.ingredient_id, CAST(NULL AS integer) AS family_id, p.user_id AS owner_user_id"
        f" FROM ({_preferred()}) p WHERE NOT EXISTS (SELECT 1 FROM food_moves m"
        " WHERE m.ingredient_id = p.ingredient_id AND (m.owner_user_id = p.user_id"
        f" OR m.family_id IN {FAMILIES.format(user='p.user_id')}))",
        "i.created_by_user_id IS NOT NULL",
    )
    _insert_moves(
        "SELECT id AS ingredient_id, CAST(NULL AS integer) AS family_id,"
        " created_by_user_id AS owner_user_id FROM ingredients"
        " WHERE created_by_user_id IS NOT NULL AND id NOT IN"
        " (SELECT ingredient_id FROM food_moves WHERE is_maker = 1)"
    )


def _insert_moves(uses: str, where: str = "1 = 1") -> None:
    """Insert a row for each use of an ingredient that is not of the catalogue."""
    names = ", ".join("'" + food.name.lower().replace("'", "''") + "'" for food in foods())
    op.execute(
        "INSERT INTO food_moves"
        " (ingredient_id, family_id, owner_user_id, owner, name_key, is_maker)"
        f" SELECT u.ingredient_id, u.family_id, u.owner_user_id, {_owner('u')}, lower(i.name),"
        f" {IS_MAKER} FROM ({uses}) u JOIN ingredients i ON i.id = u.ingredient_id WHERE {where}"
        " AND i.id NOT IN (SELECT ingredient_id FROM foods)"
        " AND i.id NOT IN (SELECT min(c.id) FROM ingredients c WHERE c.created_by_user_id IS NULL"
        f" AND lower(c.name) IN ({names}) AND lower(c.name) NOT IN (SELECT lower(d.name)"
        " FROM ingredients d JOIN foods f ON f.ingredient_id = d.id) GROUP BY lower(c.name))"
    )


def _preferred() -> str:
    """Return the SQL of the ingredients in the preferences of users."""
    elements = (
        "SELECT CAST(e.value AS integer) AS ingredient_id, user_id"
        " FROM user_preferences, json_each({column}) e"
        if op.get_context().dialect.name == "sqlite"
        else "SELECT unnest({column}) AS ingredient_id, user_id FROM user_preferences"
    )
    return " UNION ".join(elements.format(column=column) for column in PREFERENCES)


def _choose_rows() -> None:
    """Give each row to one household, and each household one row for a name in any case."""
    op.execute(
        "UPDATE food_moves SET target_id = ingredient_id WHERE id IN (SELECT id FROM (SELECT id,"
        " row_number() OVER (PARTITION BY ingredient_id ORDER BY is_maker DESC, CASE WHEN family_id"
        " IS NULL THEN 1 ELSE 0 END, id) AS place FROM food_moves) ranked WHERE place = 1)"
    )
    op.execute(
        "UPDATE food_moves SET target_id = (SELECT min(m.target_id) FROM food_moves m"
        " WHERE m.owner = food_moves.owner AND m.name_key = food_moves.name_key)"
    )


def _copy_rows() -> None:
    copied = ", ".join(f"i.{column.strip()}" for column in COPIED.split(","))
    op.execute(
        f"INSERT INTO ingredients ({COPIED}, created_by_user_id, family_id, owner_user_id)"
        f" SELECT {copied}, i.created_by_user_id, m.family_id, m.owner_user_id"
        " FROM (SELECT min(id) AS id FROM food_moves WHERE target_id IS NULL"
        " GROUP BY owner, name_key) g JOIN food_moves m ON m.id = g.id"
        " JOIN ingredients i ON i.id = m.ingredient_id"
    )
    op.execute(
        "UPDATE food_moves SET target_id = (SELECT i.id FROM ingredients i WHERE lower(i.name) ="
        " food_moves.name_key AND (i.family_id = food_moves.family_id"
        " OR i.owner_user_id = food_moves.owner_user_id)) WHERE target_id IS NULL"
    )


def _set_owners() -> None:
    owner = "(SELECT m.{column} FROM food_moves m WHERE m.target_id = ingredients.id LIMIT 1)"
    values = ", ".join(f"{column} = {owner.format(column=column)}" for column in OWNER_COLUMNS)
    op.execute(f"UPDATE ingredients SET {values} WHERE id IN (SELECT target_id FROM food_moves)")
    # The facts of a stranger do not count. Those of the catalogue's food do.
    of_food = "(SELECT f.{column} FROM ingredients f WHERE f.id = ingredients.food_id)"
    values = ", ".join(
        f"{column} = {of_food.format(column=column)}"
        for column in ("category", "canonical_unit_type", "canonical_unit")
    )
    op.execute(
        f"UPDATE ingredients SET {values}, avg_weight_per_unit_g = NULL, density_g_per_ml = NULL,"
        " pieces_per_package = NULL, created_by_user_id = NULL WHERE id IN (SELECT target_id"
        " FROM food_moves GROUP BY target_id HAVING max(is_maker) = 0)"
    )
    # Facts that were copied from the catalogue's food, or that no food has.
    for column, smallest, largest in (
        ("avg_weight_per_unit_g", "0.001", "20000"),
        ("density_g_per_ml", "0.05", "3"),
    ):
        op.execute(
            f"UPDATE ingredients SET {column} = NULL WHERE id IN (SELECT target_id FROM food_moves)"
            f" AND ({column} < {smallest} OR {column} > {largest}"
            f" OR {column} = {of_food.format(column=column)})"
        )


def _point_to_targets(of_owner: str, of_user: str) -> None:
    """Let all rows refer to the targets. The conditions say which move `m` is for which row."""
    target = (
        "(SELECT min(m.target_id) FROM food_moves m {join}"
        " WHERE m.ingredient_id = {table}.ingredient_id AND {where})"
    )
    joins = {
        "pantry_items": ("", of_owner.format(owner=_owner("pantry_items"))),
        "recipe_ingredients": (
            "JOIN recipes c ON c.id = recipe_ingredients.recipe_id",
            of_owner.format(owner="'f' || c.family_id"),
        ),
        **{
            table: (
                f"JOIN grocery_lists l ON l.id = {table}.grocery_list_id",
                of_owner.format(owner=_owner("l")),
            )
            for table in LISTS
        },
    }
    for table, (join, where) in joins.items():
        found = target.format(table=table, join=join, where=where)
        op.execute(
            f"UPDATE {table} SET ingredient_id = coalesce({found}, ingredient_id)"
            " WHERE ingredient_id IN (SELECT ingredient_id FROM food_moves)"
        )
    families = FAMILIES.format(user="p.user_id")
    for column in PREFERENCES:
        _point_preferences(column, of_user.format(families=families))


def _point_preferences(column: str, of_user: str) -> None:
    on_sqlite = op.get_context().dialect.name == "sqlite"
    element = "e.value" if on_sqlite else "e.ingredient_id"
    moved = (
        f"coalesce((SELECT min(m.target_id) FROM food_moves m WHERE m.ingredient_id = {element}"
        f" AND ({of_user})), {element})"
    )
    elements = (
        f"(SELECT json_group_array({moved}) FROM json_each(p.{column}) e)"
        if on_sqlite
        else f"ARRAY(SELECT {moved} FROM unnest(p.{column}) WITH ORDINALITY"
        " AS e(ingredient_id, place) ORDER BY e.place)"
    )
    op.execute(f"UPDATE user_preferences AS p SET {column} = {elements}")
