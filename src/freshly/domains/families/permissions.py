"""The table of permissions in a family. Authorization and `GET /users/me/permissions` read it."""

from collections.abc import Mapping
from enum import StrEnum

from freshly.domains.families.models import Role


class Permission(StrEnum):
    USE_HOUSEHOLD = "use_household"  # pantry, foods, lists, plan slots; add plans and recipes
    SEE_MEMBERS = "see_members"
    MANAGE_PLANS = "manage_plans"
    MANAGE_RECIPES = "manage_recipes"  # also those of other members
    INVITE = "invite"
    CHANGE_ROLES = "change_roles"  # between member and admin
    REMOVE_MEMBERS = "remove_members"
    CHANGE_OWNERS = "change_owners"
    SEE_PROFILES = "see_profiles"  # what members share, and the meals that they attached
    DELETE_FAMILY = "delete_family"


LOWEST_ROLE: Mapping[Permission, Role] = {
    Permission.USE_HOUSEHOLD: Role.MEMBER,
    Permission.SEE_MEMBERS: Role.MEMBER,
    Permission.MANAGE_PLANS: Role.ADMIN,
    Permission.MANAGE_RECIPES: Role.ADMIN,
    Permission.INVITE: Role.ADMIN,
    Permission.CHANGE_ROLES: Role.ADMIN,
    Permission.REMOVE_MEMBERS: Role.ADMIN,
    Permission.CHANGE_OWNERS: Role.OWNER,
    Permission.SEE_PROFILES: Role.OWNER,
    Permission.DELETE_FAMILY: Role.OWNER,
}


def may(role: Role | None, permission: Permission) -> bool:
    """Return whether the role gives the permission. A user outside the family has no role."""
    return role is not None and role.rank >= LOWEST_ROLE[permission].rank


def allowed(role: Role) -> list[Permission]:
    """Return the permissions of a role, in the order of the table."""
    return [permission for permission in Permission if may(role, permission)]
