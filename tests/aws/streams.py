"""Files over MQTT, asked for with raw requests in JSON and in CBOR."""

import base64
import json
import random

from harness import check, equal, main, true, unique
from plain import Plain

KIB = 1024


class Json:
    """The encoding of topics that end in /json."""

    name, invalid = "json", "InvalidJson"
    dumps = staticmethod(lambda value: json.dumps(value).encode())
    loads = staticmethod(json.loads)
    block = staticmethod(base64.b64decode)
    bits = staticmethod(lambda value: value.hex())


class Cbor:
    """The encoding of topics that end in /cbor: as much of RFC 8949 as these messages have."""

    name, invalid = "cbor", "InvalidCbor"
    block = staticmethod(lambda value: value)
    bits = staticmethod(lambda value: value)

    @staticmethod
    def dumps(value):
        def head(major, number):
            for size, info in ((1, 24), (2, 25), (4, 26), (8, 27)):
                if number < 24:
                    return bytes([major << 5 | number])
                if number < 1 << 8 * size:
                    return bytes([major << 5 | info]) + number.to_bytes(size, "big")
            raise ValueError(number)

        if isinstance(value, int):
            return head(0, value) if value >= 0 else head(1, -1 - value)
        if isinstance(value, bytes):
            return head(2, len(value)) + value
        if isinstance(value, str):
            return head(3, len(value.encode())) + value.encode()
        items = value.items()
        return head(5, len(items)) + b"".join(Cbor.dumps(key) + Cbor.dumps(item) for key, item in items)

    @staticmethod
    def loads(data):
        def read(at):
            major, info = data[at] >> 5, data[at] & 31
            size = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
            number = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else info
            at += 1 + size
            if major == 0:
                return number, at
            if major == 1:
                return -1 - number, at
            if major in (2, 3):
                text = data[at : at + number]
                return (text if major == 2 else text.decode()), at + number
            if major == 4:
                items = []
                for _ in range(number):
                    item, at = read(at)
                    items.append(item)
                return items, at
            if major == 5:
                items = {}
                for _ in range(number):
                    key, at = read(at)
                    items[key], at = read(at)
                return items, at
            raise ValueError(f"major type {major}")

        value, end = read(0)
        equal(end, len(data), "bytes after the value")
        return value


class Stream:
    """A stream as a device meets it."""

    def __init__(self, link, thing, stream, encoding):
        self.link, self.encoding = link, encoding
        self.base = f"$aws/things/{thing}/streams/{stream}"
        link.subscribe(*(f"{self.base}/{part}/{encoding.name}" for part in ("description", "data", "rejected")))

    def send(self, verb, payload):
        if not isinstance(payload, bytes):
            payload = self.encoding.dumps(payload)
        self.link.publish(f"{self.base}/{verb}/{self.encoding.name}", payload)

    def hear(self, part):
        topic = f"{self.base}/{part}/{self.encoding.name}"
        message = self.link.messages.take(topic, lambda message: message.topic == topic)
        return self.encoding.loads(message.payload)

    def describe(self):
        self.send("describe", {"c": "d"})
        return self.hear("description")

    def blocks(self, count, **request):
        """Asks, and takes so many blocks: their numbers and what they hold."""
        self.send("get", {"c": "token", **request})
        found = []
        for _ in range(count):
            block = self.hear("data")
            payload = self.encoding.block(block["p"])
            equal((block["c"], block["f"], block["l"]), ("token", request["f"], len(payload)))
            found.append((block["i"], payload))
        return found

    def rejected(self, verb, payload):
        self.send(verb, payload)
        return self.hear("rejected")


def content(size):
    """Bytes that are no block twice."""
    return random.Random(size).randbytes(size)


def make(fleet, *contents, replace=None):
    """A stream of files with these contents."""
    files = []
    for number, data in enumerate(contents):
        file = fleet.work / f"file-{unique()}-{number}"
        file.write_bytes(data)
        files.append(str(file))
    stream = replace or f"stream-{unique()}"
    fleet.muster("stream", "create", stream, *files, "--description", "a test", *(("--replace",) if replace else ()))
    return stream


def in_both(function):
    """Runs a check in both encodings."""
    name = function.__doc__
    for encoding in (Json, Cbor):
        check(f"{name} ({encoding.name})")(lambda fleet, encoding=encoding: function(fleet, encoding))


@in_both
def described(fleet, encoding):
    """a stream is described with its files"""
    thing, stream = fleet.thing(), make(fleet, content(1000), content(3))
    with Plain(fleet, thing) as link:
        device = Stream(link, thing, stream, encoding)
        files = [{"f": 0, "z": 1000}, {"f": 1, "z": 3}]
        equal(device.describe(), {"c": "d", "s": 1, "d": "a test", "r": files})


@in_both
def fetched(fleet, encoding):
    """a file comes whole, block by block, in requests of 128 KiB"""
    data = content(300 * KIB + 77)
    thing, stream = fleet.thing(), make(fleet, b"other", data)
    size, per_request = 16 * KIB, 8
    with Plain(fleet, thing) as link:
        device = Stream(link, thing, stream, encoding)
        total = -(-len(data) // size)
        found = []
        for offset in range(0, total, per_request):
            count = min(per_request, total - offset)
            blocks = device.blocks(count, f=1, l=size, o=offset, n=1000)
            equal([number for number, _ in blocks], list(range(offset, offset + count)))
            found += [payload for _, payload in blocks]
        true(b"".join(found) == data, "the file is another one")
        equal([message.topic for message in link.messages.left()], [], "more than 128 KiB came")


@in_both
def bitmaps(fleet, encoding):
    """a bitmap names blocks, and n bounds them"""
    data = content(100 * 256)
    thing, stream = fleet.thing(), make(fleet, data)
    with Plain(fleet, thing) as link:
        device = Stream(link, thing, stream, encoding)
        bits = encoding.bits(bytes([0x13, 0x00, 0x80]))
        blocks = device.blocks(4, f=0, l=256, o=20, b=bits)
        equal([number for number, _ in blocks], [20, 21, 24, 43])
        true(all(payload == data[number * 256 :][:256] for number, payload in blocks), "a block is another one")
        blocks = device.blocks(2, f=0, l=256, o=20, n=2, b=bits)
        equal([number for number, _ in blocks], [20, 21])
        equal([message.topic for message in link.messages.left()], [])


@in_both
def refused(fleet, encoding):
    """every error of the guide is told by its name"""
    thing, stream = fleet.thing(), make(fleet, content(1000))
    with Plain(fleet, thing) as link:
        device = Stream(link, thing, stream, encoding)
        for request, code in (
            (b"\xff\xff", encoding.invalid),
            ({"f": "x", "l": 256, "n": 1}, encoding.invalid),
            ({"l": 256, "n": 1}, "InvalidRequest"),
            ({"f": 0, "n": 1}, "InvalidRequest"),
            ({"f": 256, "l": 256, "n": 1}, "InvalidRequest"),
            ({"c": "x" * 65, "f": 0, "l": 256, "n": 1}, "InvalidRequest"),
            ({"f": 0, "l": 255, "n": 1}, "BlockSizeOutOfBounds"),
            ({"f": 0, "l": 128 * KIB + 1, "n": 1}, "BlockSizeOutOfBounds"),
            ({"f": 0, "l": 256, "o": 98305, "n": 1}, "OffsetOutOfBounds"),
            ({"f": 0, "l": 256, "n": 98305}, "BlockCountLimitExceeded"),
            ({"f": 0, "l": 256, "b": encoding.bits(bytes(12289))}, "BlockBitmapLimitExceeded"),
            ({"s": 2, "f": 0, "l": 256, "n": 1}, "VersionMismatch"),
            ({"f": 1, "l": 256, "n": 1}, "ResourceNotFound"),
            ({"f": 0, "l": 256, "o": 4, "n": 1}, "ResourceNotFound"),
        ):
            equal(device.rejected("get", request)["o"], code, str(request)[:60])
        told = device.rejected("get", {"c": "mine", "f": 9, "l": 256, "n": 1})
        equal((told["o"], told["c"], "file 9" in told["m"]), ("ResourceNotFound", "mine", True))
        equal(device.rejected("describe", b"\xff\xff")["o"], encoding.invalid)
        nothing = Stream(link, thing, f"none-{unique()}", encoding)
        equal(nothing.rejected("describe", {"c": "mine"})["o"], "ResourceNotFound")
        equal(nothing.rejected("get", {"f": 0, "l": 256, "n": 1})["o"], "ResourceNotFound")


@in_both
def replaced(fleet, encoding):
    """a stream that is replaced has the next version, and one that is deleted is gone"""
    thing, stream = fleet.thing(), make(fleet, content(1000))
    with Plain(fleet, thing) as link:
        device = Stream(link, thing, stream, encoding)
        equal(device.blocks(1, s=1, f=0, l=1000, n=1)[0][1], content(1000))
        make(fleet, content(500), replace=stream)
        equal(device.describe()["s"], 2)
        equal(device.rejected("get", {"s": 1, "f": 0, "l": 500, "n": 1})["o"], "VersionMismatch")
        equal(device.blocks(1, s=2, f=0, l=500, n=1)[0][1], content(500))
        fleet.muster("stream", "delete", stream)
        equal(device.rejected("describe", {})["o"], "ResourceNotFound")


@check("the largest block comes whole in CBOR, and is refused in JSON, where it would be longer than a message")
def _(fleet):
    data = content(128 * KIB)
    thing, stream = fleet.thing(), make(fleet, data)
    with Plain(fleet, thing) as link:
        device = Stream(link, thing, stream, Cbor)
        true(device.blocks(1, f=0, l=128 * KIB, n=1)[0][1] == data, "the block is another one")
        device = Stream(link, thing, stream, Json)
        equal(device.rejected("get", {"f": 0, "l": 128 * KIB, "n": 1})["o"], "BlockSizeOutOfBounds")


@check("a device that did not subscribe gets its answers, and another thing's streams are closed")
def _(fleet):
    thing, other, stream = fleet.thing(), fleet.thing(), make(fleet, content(10))
    with Plain(fleet, thing) as link:
        link.publish(f"$aws/things/{thing}/streams/{stream}/describe/json", b"{}")
        equal(link.message(f"$aws/things/{thing}/streams/{stream}/description/json")["r"], [{"f": 0, "z": 10}])
        topic = f"$aws/things/{other}/streams/{stream}/describe/json"
        if link.mqtt5:
            equal(link.publish(topic, b"{}"), 0x87)
        else:
            link.send(topic, b"{}")
            link.lost()


if __name__ == "__main__":
    main()
