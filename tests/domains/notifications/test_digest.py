"""The morning digest names food that expires soon, once a day, as each user chose."""

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


async def run_morning_digest(jobs):
    await jobs.enqueue(DigestForAll())
    await jobs.run_due()
    assert [row.error for row in await jobs.rows() if row.error] == []


async def begin_next_day(db):
    async with db.write() as session:
        yesterday = date.fromisoformat(in_days(-1))
        await session.execute(update(NoticeChoices).values(digest_on=yesterday))


async def digests_of(person):
    return [(digest["title"], digest["message"], digest["type"]) for digest in
            await person.read("/notifications", type="system")]  # fmt: skip


async def test_food_that_expires_soon_is_in_one_digest_a_day(alice, kitchen, jobs, db, emails):
    for name, days in (("milk", 1), ("spinach", 0), ("yoghurt", 4), ("old bread", -1)):
        await kitchen.stock(alice, name, 1, "count", expires_at=in_days(days))
    await kitchen.stock(alice, "cream", 0, "ml", expires_at=in_days(1))  # used up

    await run_morning_digest(jobs)
    await run_morning_digest(jobs)

    expected = ("2 things to use soon", "Good until: spinach (today), milk (tomorrow).", "system")
    assert await digests_of(alice) == [expected]
    assert emails == []
    await begin_next_day(db)
    await run_morning_digest(jobs)
    assert await digests_of(alice) == [expected, expected]


async def test_each_member_gets_a_digest_of_the_familys_pantry(alice, kitchen, jobs):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    family = await kitchen.family(alice, bob)
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(3), family_id=family["id"])

    await run_morning_digest(jobs)

    day = date.fromisoformat(in_days(3)).strftime("%A")
    expected = ("1 thing to use soon", f"Good until: milk ({day}).", "system")
    assert await digests_of(alice) == await digests_of(bob) == [expected]
    assert await digests_of(carol) == []


async def test_without_food_that_expires_no_digest_is_sent(alice, kitchen, jobs, emails):
    await alice.patch(CHOICES, {"digest": "both"})
    await kitchen.stock(alice, "honey", 1, "kg")

    await run_morning_digest(jobs)

    assert await jobs.rows("notifications.digest") == []
    assert (await digests_of(alice), emails) == ([], [])


@pytest.mark.parametrize(
    ("chosen", "notification_count", "email_count"),
    [("none", 0, 0), ("notification", 1, 0), ("email", 0, 1), ("both", 1, 1)],
)
async def test_each_user_chooses_how_to_get_the_digest(
    alice, kitchen, jobs, emails, chosen, notification_count, email_count
):
    assert await alice.read(CHOICES) == {"digest": "notification"}
    changed = await alice.patch(CHOICES, {"digest": chosen})
    assert (changed.status_code, changed.json()) == (200, {"digest": chosen})
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(1))

    await run_morning_digest(jobs)

    assert (len(await digests_of(alice)), len(emails)) == (notification_count, email_count)
    assert await alice.read(CHOICES) == {"digest": chosen}
    for email in emails:
        assert (email.to, email.subject) == (alice.user["email"], "Freshly: 1 thing to use soon")
        assert "Good morning Alice" in email.text
        assert "milk: good until tomorrow" in email.text


async def test_no_digest_is_emailed_to_an_unconfirmed_address(kitchen, jobs, alice, emails, db):
    bob = await kitchen.person("Bob")
    refused = await bob.patch(CHOICES, {"digest": "email"})
    assert (refused.status_code, refused.json()["code"]) == (409, "email_not_confirmed")
    assert await bob.read(CHOICES) == {"digest": "notification"}

    assert (await alice.patch(CHOICES, {"digest": "email"})).status_code == 200
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(1))
    async with db.write() as session:
        await session.execute(update(User).where(User.id == alice.id).values(is_verified=False))
    await run_morning_digest(jobs)

    assert emails == []


async def test_an_unknown_choice_for_the_digest_is_422(alice):
    assert (await alice.patch(CHOICES, {"digest": "pigeon"})).status_code == 422
    assert (await alice.patch(CHOICES, {})).json() == {"digest": "notification"}


async def test_a_failed_digest_email_is_retried_without_a_second_notification(
    alice, kitchen, jobs, app, emails
):
    class FailingMailer(SentEmails):
        async def send(self, email):
            self.sent.append(email)
            raise OSError("no route to the mail server")

    working_mailer = app.resources.mailer
    app.replace(mailer=FailingMailer())
    await alice.patch(CHOICES, {"digest": "both"})
    await kitchen.stock(alice, "milk", 1, "l", expires_at=in_days(1))
    await jobs.enqueue(DigestForAll())
    await jobs.run_due()
    assert len(app.resources.mailer.sent) == 1

    app.replace(mailer=working_mailer)
    await jobs.hasten()
    await jobs.run_due()

    assert (len(emails), len(await digests_of(alice))) == (1, 1)
