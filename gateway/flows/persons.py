"""Persons: every key under which the store may know somebody, where `convert.person_key` is the one they are recorded by."""

from typing import TYPE_CHECKING

from gateway.event import Person
from gateway.flows.convert import person_key

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms

__all__ = ["keys_of"]


def keys_of(house: "House", rooms: "SiteRooms", person: Person | None) -> tuple[bytes, ...]:
    """One key for the site's own number of a person, and one for each e-mail address; none for nobody."""
    if person is None:
        return ()
    parts = [Person(email=(email,)) for email in person.email]
    if person.external_id is not None:
        parts.insert(0, Person(external_id=person.external_id))
    found = [key for part in parts if (key := person_key(house, rooms, part)) is not None]
    return tuple(dict.fromkeys(found))
