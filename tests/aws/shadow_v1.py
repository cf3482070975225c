"""Shadows through `IotShadowClient`, the first generation: publish here, callbacks there."""

from awsiot import iotshadow
from awsiot.iotshadow import IotShadowClient, ShadowState

from harness import BOTH_KINDS, OnLink, check, each_of, equal, main, recent, true
from sdk import Link, published, subscribed


class Shadow(OnLink):
    """One shadow of one new thing and what its callbacks said."""

    def __init__(self, fleet, named):
        self.thing = fleet.thing("shadow")
        self.name = "settings" if named else None
        self._middle, self._call = ("Named", "named_shadow") if named else ("", "shadow")
        self.link = Link(fleet, self.thing)
        self.client = IotShadowClient(self.link.client)
        for verb in ("get", "update", "delete"):
            request = self._request(f"{verb.title()}{self._middle}ShadowSubscriptionRequest")
            for end in ("accepted", "rejected"):
                subscribe = getattr(self.client, f"subscribe_to_{verb}_{self._call}_{end}")
                setattr(self, f"{verb}_{end}", subscribed(subscribe, request))
        request = self._request(f"{self._middle}ShadowDeltaUpdatedSubscriptionRequest")
        self.deltas = subscribed(getattr(self.client, f"subscribe_to_{self._call}_delta_updated_events"), request)
        request = self._request(f"{self._middle}ShadowUpdatedSubscriptionRequest")
        self.documents = subscribed(getattr(self.client, f"subscribe_to_{self._call}_updated_events"), request)

    def _request(self, kind, **fields):
        if self.name:
            fields["shadow_name"] = self.name
        return getattr(iotshadow, kind)(thing_name=self.thing, **fields)

    def get(self, token=None):
        request = self._request(f"Get{self._middle}ShadowRequest", client_token=token)
        published(getattr(self.client, f"publish_get_{self._call}"), request)

    def delete(self, token=None):
        request = self._request(f"Delete{self._middle}ShadowRequest", client_token=token)
        published(getattr(self.client, f"publish_delete_{self._call}"), request)

    def update(self, token=None, version=None, **sections):
        state = ShadowState(**sections)
        request = self._request(
            f"Update{self._middle}ShadowRequest", client_token=token, state=state, version=version
        )
        published(getattr(self.client, f"publish_update_{self._call}"), request)

    def nothing_left(self):
        """Fails the check if a callback got what nobody took."""
        for name, events in vars(self).items():
            if hasattr(events, "left"):
                equal(events.left(), [], name)


# A check for the classic shadow and one for a named shadow.
both = each_of(Shadow, BOTH_KINDS)


@both("a request without a token is answered without one")
def _(shadow):
    shadow.get()
    missing = shadow.get_rejected.take()
    equal((missing.code, missing.client_token), (404, None))
    equal(missing.message, f"No shadow exists with name: '{shadow.name or shadow.thing}'")
    shadow.update(desired={"a": 1})
    equal(shadow.update_accepted.take().client_token, None)
    shadow.deltas.take(), shadow.documents.take()
    shadow.get()
    equal(shadow.get_accepted.take().client_token, None)
    shadow.nothing_left()


@both("the life of a shadow reaches the right callbacks, each once")
def _(shadow):
    shadow.update(token="one", desired={"color": "red"}, reported={"color": "blue"})
    accepted = shadow.update_accepted.take()
    equal((accepted.version, accepted.client_token), (1, "one"))
    equal((accepted.state.desired, accepted.state.reported), ({"color": "red"}, {"color": "blue"}))
    delta = shadow.deltas.take()
    equal((delta.version, delta.state), (1, {"color": "red"}))
    recent(delta.metadata["color"]["timestamp"])
    documents = shadow.documents.take()
    equal((documents.previous, documents.current.version), (None, 1))

    shadow.update(token="two", reported={"color": "red"})
    equal(shadow.update_accepted.take().version, 2)
    documents = shadow.documents.take()
    equal((documents.previous.version, documents.current.state.reported), (1, {"color": "red"}))

    shadow.get(token="three")
    found = shadow.get_accepted.take()
    equal((found.version, found.client_token, found.state.delta), (2, "three", None))

    shadow.update(token="four", version=1, desired={"color": "green"})
    conflict = shadow.update_rejected.take()
    equal((conflict.code, conflict.message, conflict.client_token), (409, "Version conflict", "four"))

    shadow.delete(token="five")
    gone = shadow.delete_accepted.take()
    equal((gone.version, gone.client_token), (2, "five"))
    shadow.delete(token="six")
    equal((shadow.delete_rejected.take().code), 404)
    shadow.nothing_left()


@both("a token has 64 bytes at most")
def _(shadow):
    shadow.update(token="t" * 64, desired={"a": 1})
    equal(shadow.update_accepted.take().client_token, "t" * 64)
    shadow.update(token="t" * 65, desired={"a": 2})
    refusal = shadow.update_rejected.take()
    equal((refusal.code, refusal.message), (400, "Invalid clientToken"))
    shadow.get(token="last")
    equal(shadow.get_accepted.take().state.desired, {"a": 1})


@both("sections that are null are cleared")
def _(shadow):
    shadow.update(desired={"a": 1}, reported={"b": 1})
    shadow.update(desired=None, desired_is_nullable=True)
    first, second = shadow.update_accepted.take(), shadow.update_accepted.take()
    equal((first.version, second.version), (1, 2))
    true(second.state.desired is None and second.state.desired_is_nullable, "the null is echoed")
    shadow.get()
    found = shadow.get_accepted.take().state
    equal((found.desired, found.reported, found.delta), (None, {"b": 1}, None))


@both("after unsubscribing nothing comes any more")
def _(shadow):
    base = f"$aws/things/{shadow.thing}/shadow/{'name/' + shadow.name + '/' if shadow.name else ''}"
    future, _packet = shadow.client.unsubscribe(base + "update/documents"), None
    future.result(15)
    shadow.update(desired={"a": 1})
    equal(shadow.update_accepted.take().version, 1)
    shadow.deltas.take()
    shadow.get()
    shadow.get_accepted.take()
    shadow.nothing_left()


@check("callbacks of two connections of one thing both hear an update")
def _(fleet):
    with Shadow(fleet, named=True) as shadow, Link(fleet, shadow.thing) as other:
        request = iotshadow.UpdateNamedShadowSubscriptionRequest(thing_name=shadow.thing, shadow_name=shadow.name)
        client = IotShadowClient(other.client)
        theirs = subscribed(client.subscribe_to_update_named_shadow_accepted, request)
        shadow.update(token="mine", desired={"a": 1})
        equal((theirs.take().client_token, shadow.update_accepted.take().client_token), ("mine", "mine"))


if __name__ == "__main__":
    main()
