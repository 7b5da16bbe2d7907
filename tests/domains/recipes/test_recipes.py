"""Recipes of a family, and diet tags."""

import pytest


@pytest.fixture
async def home(kitchen):
    names = ("Olga", "Adam", "Wanda", "Mia", "Mallory")
    users = [await kitchen.person(name) for name in names]
    household = await kitchen.family(*users[:4])

    class Home:
        owner, admin, writer, member, mallory = users
        family = household

        @classmethod
        async def recipe(cls, title="Pea soup", **fields):
            body = {"family_id": cls.family["id"], "title": title, **fields}
            return await cls.writer.post_ok("/recipes", body)

    members = f"/families/{household['id']}/members"
    role = await Home.owner.patch(f"{members}/{Home.admin.id}/role", {"role": "admin"})
    assert role.status_code == 200
    return Home


async def test_a_recipe_of_a_member_is_visible_to_the_family(home):
    recipe = await home.recipe(description="Green", instructions="Boil.", servings=4)

    assert set(recipe) == {
        *("id", "family_id", "title", "description", "instructions", "servings"),
        *("created_by_user_id", "created_at"),
    }
    assert recipe["created_by_user_id"] == home.writer.id
    assert await home.member.read(f"/recipes/{recipe['id']}") == recipe
    assert await home.member.read("/recipes") == [recipe]


async def test_recipes_are_sorted_by_title_and_found_by_a_part_of_it(home):
    for title in ("Soup of leeks", "Äpple pie", "100% rye bread", "Pea soup"):
        await home.recipe(title)

    async def titles(**query):
        return [recipe["title"] for recipe in await home.member.read("/recipes", **query)]

    assert sorted(await titles()) == sorted(
        ["Soup of leeks", "Äpple pie", "100% rye bread", "Pea soup"]
    )
    assert await titles(q="SOUP") == ["Pea soup", "Soup of leeks"]
    assert await titles(q="äPP") == ["Äpple pie"]
    assert await titles(q="0% r") == ["100% rye bread"]
    assert await titles(q="%") == ["100% rye bread"]
    assert await titles(q="_") == []
    assert await titles(q="soup", limit=1, offset=1) == ["Soup of leeks"]
    assert len(await titles(family_id=home.family["id"])) == 4
    for invalid in ({"limit": 0}, {"limit": 201}, {"offset": -1}, {"q": "\0"}):
        assert (await home.member.get("/recipes", params=invalid)).status_code == 422


async def test_strangers_and_former_members_cannot_see_or_change_recipes(home):
    path = f"/recipes/{(await home.recipe())['id']}"
    family = home.family["id"]
    await home.member.delete(f"/families/{family}/members/{home.member.id}")

    for person in (home.mallory, home.member):
        assert await person.read("/recipes") == []
        assert (await person.get("/recipes", params={"family_id": family})).status_code == 403
        responses = [
            await person.get(path),
            await person.patch(path, {"title": "Mine"}),
            await person.delete(path),
        ]
        assert [response.status_code for response in responses] == [404] * 3
        body = {"family_id": family, "title": "Mine"}
        assert (await person.post("/recipes", body)).status_code == 403


async def test_only_the_author_and_the_familys_owner_and_admins_change_a_recipe(home):
    path = f"/recipes/{(await home.recipe(servings=2))['id']}"

    assert (await home.member.patch(path, {"title": "Mine"})).status_code == 403
    assert (await home.member.delete(path)).status_code == 403
    for n, person in enumerate((home.writer, home.admin, home.owner)):
        changed = await person.patch(path, {"title": f"Title {n}", "servings": None})
        assert (changed.json()["title"], changed.json()["servings"]) == (f"Title {n}", 2)
    assert (await home.admin.delete(path)).status_code == 204
    assert (await home.owner.get(path)).status_code == 404


async def test_an_invalid_recipe_is_refused(home):
    for invalid in (
        {"title": "x"},
        {"title": "x" * 201},
        {"servings": 0},
        {"description": "x" * 501},
    ):
        body = {"family_id": home.family["id"], "title": "Soup", **invalid}
        assert (await home.writer.post("/recipes", body)).status_code == 422


async def test_signed_in_users_can_read_the_diet_tags(home, client):
    tags = await home.mallory.read("/diet-tags")

    assert {"id": tags[0]["id"], "code": "vegetarian", "display_name": "Vegetarian"} in tags
    assert [tag["id"] for tag in tags] == sorted(tag["id"] for tag in tags)
    assert await home.mallory.read(f"/diet-tags/{tags[0]['id']}") == tags[0]
    assert (await home.mallory.get("/diet-tags/99999")).status_code == 404
    assert (await client.get("/diet-tags")).status_code == 401
