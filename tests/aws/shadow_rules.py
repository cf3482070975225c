"""The rules of a shadow document, sent and read as JSON: merging, differences, metadata, errors.

The cases are those that the authors of the moto project checked against AWS itself, and the messages of the
developer guide.
"""

import json

from harness import BOTH_KINDS, OnLink, check, each_of, equal, main, recent, true
from plain import Plain


class Shadow(OnLink):
    """One shadow of one new thing."""

    def __init__(self, fleet, named=False):
        self.fleet = fleet
        self.thing = fleet.thing("shadow")
        self.link = Plain(fleet, self.thing)
        self.choose("settings" if named else None)

    def choose(self, name):
        """Speaks of another shadow of the same thing from now on."""
        self.name = name
        self.topic = f"$aws/things/{self.thing}/shadow" + (f"/name/{name}" if name else "")
        equal(self.link.subscribe(*(f"{self.topic}/{verb}/#" for verb in ("get", "update", "delete"))), [1, 1, 1])

    def update(self, state, **rest):
        answer = self.link.accepted(f"{self.topic}/update", {"state": state, **rest})
        self.documents = self.link.message(f"{self.topic}/update/documents")
        return answer

    def refused(self, payload, verb="update"):
        return self.link.rejected(f"{self.topic}/{verb}", payload)

    def get(self):
        return self.link.accepted(f"{self.topic}/get", b"")


# A check for the classic shadow and one for a named shadow.
both = each_of(Shadow, BOTH_KINDS)


def desired(value):
    return {"desired": value}


def reported(value):
    return {"reported": value}


# First update, second update, the difference afterwards.
DIFFERENCES = [
    (desired({"online": True}), reported({"online": False}), {"online": True}),
    (desired({"enabled": True}), reported({"online": False, "enabled": True}), None),
    ({}, reported({"online": None}), None),
    (desired({}), reported({"online": False}), None),
    (desired({"enabled": True}), reported({}), {"enabled": True}),
    (reported({"list": ["v1", "v2"]}), desired({"list": ["v1"]}), {"list": ["v1"]}),
    (reported({"list": [["v1"], ["v2"]]}), desired({"list": [["v1"]]}), {"list": [["v1"]]}),
    (reported({"a": {"b": ["d"]}}), desired({"a": {"b": ["c", "d"]}}), {"a": {"b": ["c", "d"]}}),
    (reported({"a": {"b": {"c": "d", "e": "f"}}}), desired({"a": {"b": {"c": "d2"}}}), {"a": {"b": {"c": "d2"}}}),
    (
        reported({"a1": {"b1": {"c": "d"}}}),
        desired({"a1": {"b1": {"c": "d"}}, "a2": {"b2": "sth"}}),
        {"a2": {"b2": "sth"}},
    ),
    (reported({"a": {"b1": {"c": "d"}}}), desired({"a": {"b1": {"c": "d"}, "b2": "sth"}}), {"a": {"b2": "sth"}}),
    (desired({"a": {"x": 1}}), reported({"a": 5}), {"a": {"x": 1}}),
    (desired({"a": 5}), reported({"a": {"x": 1}}), {"a": 5}),
]

# Stored, patch, result; each of them below `desired`.
MERGES = [
    ({"a": 1}, {"a": None}, None),
    ({"k": 1}, {"a": [1, {"b": 2}]}, {"k": 1, "a": [1, {"b": 2}]}),
    ({"k": 1}, {"a": {"b": 1, "c": None}}, {"k": 1, "a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
    ({"a": {"b": 1}}, {"a": 3}, {"a": 3}),
    ({"a": 3}, {"a": {}}, {"a": {}}),
    ({"a": 3}, {"a": {"d": 1}}, {"a": {"d": 1}}),
    ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
    ({"k": 1}, {"a": {}}, {"k": 1, "a": {}}),
    ({"k": 1, "a": {"b": 1}}, {"a": {"b": None}}, {"k": 1, "a": {}}),
    ({"k": 1}, {"none": None}, {"k": 1}),
    ({"k": 1}, {"k": 9007199254740992, "f": 0.1, "s": "ü\u2028"}, {"k": 9007199254740992, "f": 0.1, "s": "ü\u2028"}),
]


@check("S7 differences follow the table that was checked against AWS")
def _(fleet):
    with Shadow(fleet) as shadow:
        for place, (first, second, difference) in enumerate(DIFFERENCES):
            shadow.choose(f"case-{place}")
            shadow.update(first)
            shadow.update(second)
            equal(shadow.get()["state"].get("delta"), difference, f"{first} then {second}")
            for verb in ("get", "update", "delete"):
                shadow.link.unsubscribe(f"{shadow.topic}/{verb}/#")


@check("S8 merging follows the table")
def _(fleet):
    with Shadow(fleet) as shadow:
        for place, (stored, patch, result) in enumerate(MERGES):
            shadow.choose(f"case-{place}")
            shadow.update(desired(stored))
            equal(shadow.update(desired(patch))["state"], desired(patch), "the answer repeats the request")
            equal(shadow.get()["state"].get("desired"), result, f"{patch} into {stored}")
            for verb in ("get", "update", "delete"):
                shadow.link.unsubscribe(f"{shadow.topic}/{verb}/#")


@both("S11 an empty state creates a shadow with nothing in it")
def _(shadow):
    answer = shadow.update({})
    equal((answer["version"], answer["state"], answer["metadata"]), (1, {}, {}))
    found = shadow.get()
    equal((found["version"], found["state"], found["metadata"]), (1, {}, {}))
    recent(found["timestamp"])


@both("S10 state null clears everything and counts")
def _(shadow):
    shadow.update({"desired": {"a": 1}, "reported": {"b": 2}})
    answer = shadow.update(None)
    equal((answer["version"], answer["state"], list(answer["metadata"])), (2, None, ["timestamp"]))
    recent(answer["metadata"]["timestamp"])
    equal(shadow.get()["state"], {})
    equal((shadow.documents["current"]["state"], shadow.documents["previous"]["version"]), ({}, 1))


@both("S9 only the leaves of an update get its time")
def _(shadow):
    shadow.update(desired({"old": {"x": 1}, "list": [1, [2], {"y": 3}]}))
    found = shadow.get()["metadata"]["desired"]
    time = found["old"]["x"]
    equal(found, {"old": {"x": time}, "list": [time, [time], {"y": time}]})
    answer = shadow.update(desired({"old": {"z": 1}}))
    equal(list(answer["metadata"]["desired"]["old"]), ["z"])
    equal(shadow.get()["metadata"]["desired"]["old"]["x"], time)


@both("S4 a delta shows the metadata of what is desired, and the token")
def _(shadow):
    shadow.update(desired({"a": {"b": 1, "c": 2}}))
    shadow.link.message(f"{shadow.topic}/update/delta")
    shadow.update(reported({"a": {"b": 1}}), clientToken="tok")
    delta = shadow.link.message(f"{shadow.topic}/update/delta")
    metadata = shadow.get()["metadata"]["desired"]["a"]["c"]
    equal((delta["state"], delta["metadata"]), ({"a": {"c": 2}}, {"a": {"c": metadata}}))
    equal((delta["version"], delta["clientToken"]), (2, "tok"))


@both("a token comes back with every answer")
def _(shadow):
    for verb in ("get", "delete"):
        equal(shadow.refused({"clientToken": "t"}, verb)["clientToken"], "t")
    equal(shadow.update(desired({"a": 1}), clientToken="t")["clientToken"], "t")
    equal(shadow.documents["clientToken"], "t")
    for verb in ("get", "delete"):
        equal(shadow.link.accepted(f"{shadow.topic}/{verb}", {"clientToken": "t"})["clientToken"], "t")


def deep(levels):
    value = 1
    for _level in range(levels):
        value = {"a": value}
    return value


# What is sent, and the code and message of the refusal.
REFUSALS = [
    (b'{"state":', 400, "Invalid JSON"),
    (b"", 400, "Invalid JSON"),
    (b"[]", 400, "Invalid JSON"),
    ({}, 400, "Missing required node: state"),
    ({"state": 5}, 400, "State node must be an object"),
    ({"state": []}, 400, "State node must be an object"),
    ({"state": {"desired": 5}}, 400, "Desired node must be an object"),
    ({"state": {"reported": []}}, 400, "Reported node must be an object"),
    ({"state": {"delta": {}}}, 400, "State contains an invalid node"),
    ({"state": desired({"a": 1}), "version": "one"}, 400, "Invalid version"),
    ({"state": desired({"a": 1}), "version": -1}, 400, "Invalid version"),
    ({"state": desired({"a": 1}), "clientToken": "t" * 65}, 400, "Invalid clientToken"),
    ({"state": desired({"a": 1}), "clientToken": 5}, 400, "Invalid clientToken"),
    ({"state": desired(deep(7))}, 400, "JSON contains too many levels of nesting; maximum is 6"),
    ({"state": desired({"a": [1, None]})}, 400, "Invalid JSON"),
    ({"state": desired({"a": 1}), "version": 7}, 409, "Version conflict"),
    ({"state": desired({"a": "x" * 9000})}, 413, "The payload exceeds the maximum size allowed"),
    (b'{"state":{"desired":{"a":"\xff"}}}', 415, "Unsupported documented encoding; supported encoding is UTF-8"),
]


@both("S14 S17 S18 each mistake gets its code and message, and changes nothing")
def _(shadow):
    shadow.update(desired({"a": 1}))
    for payload, code, message in REFUSALS:
        refusal = shadow.refused(payload)
        equal((refusal["code"], refusal["message"]), (code, message), str(payload)[:60])
    found = shadow.get()
    equal((found["version"], found["state"]["desired"]), (1, {"a": 1}))


@both("a refusal repeats the token that could be read")
def _(shadow):
    for payload in ({}, {"state": 5}, {"state": {"no": 1}}, {"state": desired({"a": 1}), "version": 7}):
        equal(shadow.refused({**payload, "clientToken": "t"})["clientToken"], "t", str(payload))


@both("S16 a token of 64 bytes comes back, one of 65 is refused")
def _(shadow):
    equal(shadow.update(desired({"a": 1}), clientToken="t" * 64)["clientToken"], "t" * 64)
    refusal = shadow.refused({"state": desired({"a": 2}), "clientToken": "t" * 65})
    equal((refusal["code"], refusal["message"]), (400, "Invalid clientToken"))
    equal(shadow.get()["state"]["desired"], {"a": 1})


@both("S18 six levels are accepted")
def _(shadow):
    shadow.update(desired(deep(6)))
    equal(shadow.get()["state"]["desired"], deep(6))


@both("other keys of a request are ignored")
def _(shadow):
    equal(shadow.update(desired({"a": 1}), extra={"b": 1})["version"], 1)
    equal(shadow.get()["state"], {"desired": {"a": 1}, "delta": {"a": 1}})


@both("what is not JSON is an empty get and an empty delete")
def _(shadow):
    shadow.update(desired({"a": 1}))
    equal(shadow.link.accepted(f"{shadow.topic}/get", b"hello")["version"], 1)
    equal(shadow.link.accepted(f"{shadow.topic}/delete", b"hello")["version"], 1)


@both("S21 nothing that the service says is retained")
def _(shadow):
    shadow.update(desired({"a": 1}))
    with_retain = json.dumps({"state": desired({"a": 2}), "clientToken": "kept"})
    shadow.link.send(f"{shadow.topic}/update", with_retain, retain=True)
    # Whether the request is taken or the connection ended: nothing of it is there for a later subscriber.
    with Plain(shadow.fleet, shadow.thing) as late:
        late.subscribe(f"{shadow.topic}/#")
        late.accepted(f"{shadow.topic}/get", {"clientToken": "first"})
        kept = [message.topic for message in late.messages.left() if message.retain]
        true(not kept, f"retained: {kept}")


if __name__ == "__main__":
    main()
