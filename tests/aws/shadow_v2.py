"""Shadows through `IotShadowClientV2`, the classic one and a named one."""

from awsiot import iotshadow
from awsiot.iotshadow import IotShadowClientV2, ShadowState

from harness import BOTH_KINDS, DEADLINE_S, OnLink, check, each_of, equal, main, recent, true
from sdk import Link, refused, second_generation, stream


class Shadow(OnLink):
    """One shadow of one new thing, with the calls of the SDK for its kind."""

    def __init__(self, fleet, named):
        self.thing = fleet.thing("shadow")
        self.name = "settings" if named else None
        self.link = Link(fleet, self.thing)
        self.client = second_generation(IotShadowClientV2, self.link)
        self._middle = "Named" if named else ""
        self._call = "named_shadow" if named else "shadow"

    def _request(self, kind, **fields):
        if self.name:
            fields["shadow_name"] = self.name
        return getattr(iotshadow, kind)(thing_name=self.thing, **fields)

    def get(self):
        return getattr(self.client, f"get_{self._call}")(self._request(f"Get{self._middle}ShadowRequest"))

    def delete(self):
        return getattr(self.client, f"delete_{self._call}")(self._request(f"Delete{self._middle}ShadowRequest"))

    def update(self, version=None, **sections):
        for section in list(sections):
            sections[f"{section}_is_nullable"] = True
        request = self._request(f"Update{self._middle}ShadowRequest", state=ShadowState(**sections), version=version)
        return getattr(self.client, f"update_{self._call}")(request)

    def updated(self, version=None, **sections):
        return self.update(version, **sections).result(DEADLINE_S)

    def got(self):
        return self.get().result(DEADLINE_S)

    def deltas(self):
        create = getattr(self.client, f"create_{self._call}_delta_updated_stream")
        return stream(create, self._request(f"{self._middle}ShadowDeltaUpdatedSubscriptionRequest"))

    def documents(self):
        create = getattr(self.client, f"create_{self._call}_updated_stream")
        return stream(create, self._request(f"{self._middle}ShadowUpdatedSubscriptionRequest"))


# A check for the classic shadow and one for a named shadow.
both = each_of(Shadow, BOTH_KINDS)


def sections(state):
    return {"desired": state.desired, "reported": state.reported}


def leaves(metadata):
    """Metadata without the times, each of which must be of now."""
    if isinstance(metadata, dict) and set(metadata) == {"timestamp"} and isinstance(metadata["timestamp"], int):
        recent(metadata["timestamp"])
        return "time"
    if isinstance(metadata, dict):
        return {key: leaves(value) for key, value in metadata.items()}
    if isinstance(metadata, list):
        return [leaves(value) for value in metadata]
    raise AssertionError(f"no metadata: {metadata!r}")


@both("S1 get of a missing shadow is refused with 404 and its name")
def _(shadow):
    error = refused(shadow.get())
    equal(error.code, 404)
    equal(error.message, f"No shadow exists with name: '{shadow.name or shadow.thing}'")
    true(error.client_token, "the token is not echoed")


@both("delete of a missing shadow is refused with 404")
def _(shadow):
    equal(refused(shadow.delete()).code, 404)


@both("S2 the first update answers version 1 and only what was sent")
def _(shadow):
    answer = shadow.updated(desired={"color": "red", "list": [1, {"a": 2}]})
    equal(answer.version, 1)
    equal(sections(answer.state), {"desired": {"color": "red", "list": [1, {"a": 2}]}, "reported": None})
    equal(leaves(answer.metadata.desired), {"color": "time", "list": ["time", {"a": "time"}]})
    equal(answer.metadata.reported, None)
    recent(int(answer.timestamp.timestamp()))
    second = shadow.updated(reported={"seen": True})
    equal(second.version, 2)
    equal(sections(second.state), {"desired": None, "reported": {"seen": True}})


@both("get answers both sections, the difference and the metadata")
def _(shadow):
    shadow.updated(desired={"color": "red", "size": 3}, reported={"color": "blue", "size": 3, "extra": 1})
    answer = shadow.got()
    equal(answer.version, 1)
    equal(answer.state.desired, {"color": "red", "size": 3})
    equal(answer.state.reported, {"color": "blue", "size": 3, "extra": 1})
    equal(answer.state.delta, {"color": "red"})
    equal(leaves(answer.metadata.desired), {"color": "time", "size": "time"})
    equal(leaves(answer.metadata.reported), {"color": "time", "size": "time", "extra": "time"})


@both("S3 documents name the previous version, and none the first time")
def _(shadow):
    documents = shadow.documents()
    shadow.updated(desired={"a": 1})
    first = documents.take()
    equal(first.previous, None)
    equal((first.current.version, first.current.state.desired), (1, {"a": 1}))
    shadow.updated(reported={"b": 2})
    second = documents.take()
    equal((second.previous.version, sections(second.previous.state)), (1, {"desired": {"a": 1}, "reported": None}))
    equal((second.current.version, sections(second.current.state)), (2, {"desired": {"a": 1}, "reported": {"b": 2}}))
    recent(int(second.timestamp.timestamp()))


@both("S4 S5 S6 a delta comes only where there is a difference, and repeats in full")
def _(shadow):
    deltas = shadow.deltas()
    shadow.updated(desired={"a": 1, "b": {"c": 1, "d": 1}})
    first = deltas.take()
    equal((first.version, first.state), (1, {"a": 1, "b": {"c": 1, "d": 1}}))
    shadow.updated(reported={"a": 1, "b": {"c": 2, "d": 1}})
    second = deltas.take()
    equal((second.version, second.state), (2, {"b": {"c": 1}}))
    equal(leaves(second.metadata), {"b": {"c": "time"}})
    shadow.updated(reported={"unrelated": 5})
    third = deltas.take()
    equal((third.version, third.state), (3, {"b": {"c": 1}}))
    # No difference, no delta: the next one that comes is of a later version.
    shadow.updated(desired={"b": {"c": None}})
    shadow.updated(desired={"b": {"c": 3}})
    fourth = deltas.take()
    equal((fourth.version, fourth.state), (5, {"b": {"c": 3}}))


@both("S12 a version that is not the stored one is refused with 409")
def _(shadow):
    shadow.updated(desired={"a": 1})
    equal(shadow.updated(version=1, desired={"a": 2}).version, 2)
    error = refused(shadow.update(version=1, desired={"a": 3}))
    equal((error.code, error.message), (409, "Version conflict"))
    equal(shadow.got().state.desired, {"a": 2})


@both("S10 null removes a field, an emptied section and a whole section")
def _(shadow):
    shadow.updated(desired={"a": 1, "b": 2}, reported={"c": 1})
    shadow.updated(desired={"a": None})
    equal(sections(shadow.got().state), {"desired": {"b": 2}, "reported": {"c": 1}})
    shadow.updated(desired={"b": None})
    equal(sections(shadow.got().state), {"desired": None, "reported": {"c": 1}})
    answer = shadow.updated(reported=None)
    equal(answer.version, 4)
    equal(sections(shadow.got().state), {"desired": None, "reported": None})


@both("S13 delete answers the version that was, and a new shadow counts on")
def _(shadow):
    shadow.updated(desired={"a": 1})
    shadow.updated(desired={"a": 2})
    gone = shadow.delete().result(DEADLINE_S)
    equal(gone.version, 2)
    recent(int(gone.timestamp.timestamp()))
    equal(refused(shadow.get()).code, 404)
    equal(shadow.updated(desired={"a": 3}).version, 4)
    equal(shadow.got().state.desired, {"a": 3})


@both("ten updates at once get ten answers of their own")
def _(shadow):
    # awscrt 0.36.1 loses a request that is made between the SUBACKs of its two first subscriptions (seen in its log:
    # it waits for both again), so these are made before.
    shadow.updated(desired={"k0": 0})
    answers = [shadow.update(desired={f"k{i}": i}) for i in range(10)]
    answers = [answer.result(DEADLINE_S) for answer in answers]
    equal(sorted(answer.version for answer in answers), list(range(2, 12)))
    equal([answer.state.desired for answer in answers], [{f"k{i}": i} for i in range(10)])
    equal(shadow.got().state.desired, {f"k{i}": i for i in range(10)})


@both("S15 a document of 8 KiB is taken, a larger one is refused with 413")
def _(shadow):
    frame = len('{"desired":{"a":""}}')
    shadow.updated(desired={"a": "x" * (8192 - frame)})
    error = refused(shadow.update(desired={"b": "x"}))
    equal((error.code, error.message), (413, "The payload exceeds the maximum size allowed"))
    equal(shadow.got().version, 1)


@check("shadows of one thing do not touch each other")
def _(fleet):
    with Shadow(fleet, named=False) as classic:
        classic.updated(desired={"kind": "classic"})
        classic.name, classic._middle, classic._call = "settings", "Named", "named_shadow"
        equal(refused(classic.get()).code, 404)
        classic.updated(desired={"kind": "named"})
        classic.name, classic._middle, classic._call = None, "", "shadow"
        equal((classic.got().version, classic.got().state.desired), (1, {"kind": "classic"}))


@check("the answer of one connection reaches the streams of another")
def _(fleet):
    with Shadow(fleet, named=True) as shadow, Link(fleet, shadow.thing) as other:
        mine, theirs = shadow.client, second_generation(IotShadowClientV2, other)
        shadow.client = theirs
        deltas = shadow.deltas()
        shadow.client = mine
        shadow.updated(desired={"a": 1})
        equal(deltas.take().state, {"a": 1})


if __name__ == "__main__":
    main()
