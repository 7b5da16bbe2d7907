"""Each morning: what is to be used soon, as each person wants to hear it, and once."""

from datetime import date, timedelta

import pytest
from sqlalchemy import update

from freshly.domains.notifications.jobs import DigestForAll
from freshly.domains.notifications.models import NoticeChoices
from freshly.domains.users.models import User
from tests.conftest import SentEmails

CHOICES = "/notifications/choices"


@pytest.fixture
async def alice(kitchen, db):
    alice = await kitchen.person("Alice")
    async with db.write() as session:
        await session.execute(update(User).where(User.id == alice.id).values(is_verified=True))
    return alice


def in_days(days):
    return (date.today() + timedelta(days=days)).isoformat()  # noqa: DTZ011 - settings say UTC


async def morning(jobs):
    await jobs.enqueue(DigestForAll())
    await jobs.run_due()
    assert [row.error for row in await jobs.rows() if row.error] == []


async def another_day(db):
    async with db.write() as session:
        yesterday = date.fromisoformat(in_days(-1))
        await session.execute(update(NoticeChoices).values(digest_on=yesterday))


async def told(person):
    return [(one["title"], one["message"], one["type"]) for one in
            await person.read("/notifications", type="system")]  # fmt: skip


async def test_what_expires_soon_is_told_once_a_day(alice, kitchen, jobs, db, emails):
    for name, days in (("milk", 1), ("spinach", 0), ("yoghurt", 4), ("old bread", -1)):
        await kitchen.stock(alice, name, 1, "count", expires_at=in_days(days))
    await kitchen.stock(alice, "cream", 0, "ml", expires_at=in_days(1))  # it is used up

    await morning(jobs)
    await morning(jobs)

    expected = ("2 things to use soon", "Good until: spinach (today), milk (tomorrow).", "system")
    assert await told(alice) == [expected]
    assert emails == []
    await another_day(db)
    await morning(jobs)
    assert await told(alice) == [expected, expected]


async def test_a_familys_shelves_are_told_to_each_member(alice, kitchen, jobs):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    family = await kitchen.family(alice, bob)
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(3), family_id=family["id"])

    await morning(jobs)

    day = date.fromisoformat(in_days(3)).strftime("%A")
    expected = ("1 thing to use soon", f"Good until: milk ({day}).", "system")
    assert await told(alice) == await told(bob) == [expected]
    assert await told(carol) == []


async def test_nobody_is_told_of_nothing(alice, kitchen, jobs, emails):
    await alice.patch(CHOICES, {"digest": "both"})
    await kitchen.stock(alice, "honey", 1, "kg")

    await morning(jobs)

    assert await jobs.rows("notifications.digest") == []
    assert (await told(alice), emails) == ([], [])


@pytest.mark.parametrize(
    ("chosen", "notices", "mails"),
    [("none", 0, 0), ("notification", 1, 0), ("email", 0, 1), ("both", 1, 1)],
)
async def test_each_person_chooses(alice, kitchen, jobs, emails, chosen, notices, mails):
    assert await alice.read(CHOICES) == {"digest": "notification"}
    changed = await alice.patch(CHOICES, {"digest": chosen})
    assert (changed.status_code, changed.json()) == (200, {"digest": chosen})
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(1))

    await morning(jobs)

    assert (len(await told(alice)), len(emails)) == (notices, mails)
    assert await alice.read(CHOICES) == {"digest": chosen}
    for email in emails:
        assert (email.to, email.subject) == (alice.user["email"], "Freshly: 1 thing to use soon")
        assert "Good morning Alice" in email.text
        assert "milk: good until tomorrow" in email.text


async def test_no_letter_goes_to_an_address_that_nobody_confirmed(kitchen, jobs, alice, emails):
    bob = await kitchen.person("Bob")
    refused = await bob.patch(CHOICES, {"digest": "email"})
    assert (refused.status_code, refused.json()["code"]) == (409, "email_not_confirmed")
    assert await bob.read(CHOICES) == {"digest": "notification"}

    assert (await alice.patch(CHOICES, {"digest": "email"})).status_code == 200
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(1))
    await alice.patch("/users/me", {"email": "somebody@example.com"})
    await morning(jobs)

    assert emails == []


async def test_an_unknown_choice_is_422(alice):
    assert (await alice.patch(CHOICES, {"digest": "pigeon"})).status_code == 422
    assert (await alice.patch(CHOICES, {})).json() == {"digest": "notification"}


async def test_a_letter_that_fails_is_tried_again_and_the_notice_is_not(
    alice, kitchen, jobs, app, emails
):
    class Away(SentEmails):
        async def send(self, email):
            self.sent.append(email)
            raise OSError("no route to the mail server")

    working = app.resources.mailer
    app.replace(mailer=Away())
    await alice.patch(CHOICES, {"digest": "both"})
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(1))
    await jobs.enqueue(DigestForAll())
    await jobs.run_due()
    assert len(app.resources.mailer.sent) == 1

    app.replace(mailer=working)
    await jobs.hasten()
    await jobs.run_due()

    assert (len(emails), len(await told(alice))) == (1, 1)
