"""The rules of jobs that no service client of the SDK can break or see, sent and read as JSON."""

from harness import OnLink, check, each_of, equal, main, recent, true, unique
from plain import Plain


class Device(OnLink):
    """A new thing and its job topics. It subscribes to nothing: answers come all the same."""

    def __init__(self, fleet):
        self.fleet, self.thing = fleet, fleet.thing("jobs")
        self.link, self.topic = Plain(fleet, self.thing), f"$aws/things/{self.thing}/jobs"

    def job(self, *options):
        job = f"job-{unique()}"
        self.fleet.create_job(job, self.thing, options=options)
        return job

    def accepted(self, call, payload):
        return self.link.accepted(f"{self.topic}/{call}", payload)

    def rejected(self, call, payload):
        return self.link.rejected(f"{self.topic}/{call}", payload)


# A check of one new device.
device = each_of(Device)


@device("J23 an answer comes without a subscription, with one it comes once")
def _(thing):
    equal(thing.accepted("get", {"clientToken": "one"})["clientToken"], "one")
    equal(thing.link.subscribe(f"{thing.topic}/#", f"{thing.topic}/get/+"), [1, 1])
    equal(thing.accepted("get", {"clientToken": "two"})["clientToken"], "two")
    equal(thing.accepted("get", {"clientToken": "three"})["clientToken"], "three")
    # The requests themselves are what it subscribed to as well.
    equal([message.topic for message in thing.link.messages.left()], [f"{thing.topic}/get"] * 2)


@device("J1 J22 answers have exactly the keys of the guide, and times in seconds")
def _(thing):
    answer = thing.accepted("get", b"")
    recent(answer.pop("timestamp"))
    equal(answer, {"inProgressJobs": [], "queuedJobs": []})
    for call in ("start-next", "$next/get"):
        answer = thing.accepted(call, {})
        recent(answer.pop("timestamp"))
        equal(answer, {})
    job = thing.job()
    summary = thing.accepted("get", {})["queuedJobs"][0]
    recent(summary["queuedAt"]), recent(summary["lastUpdatedAt"])
    equal(
        sorted(summary), ["executionNumber", "jobId", "lastUpdatedAt", "queuedAt", "versionNumber"], "a queued one"
    )
    execution = thing.accepted("start-next", {})["execution"]
    recent(execution["queuedAt"]), recent(execution["startedAt"]), recent(execution["lastUpdatedAt"])
    equal(execution["jobDocument"], {"operation": job}, "an object, not a string")
    answer = thing.accepted(f"{job}/update", {"status": "SUCCEEDED", "clientToken": "t"})
    recent(answer.pop("timestamp"))
    equal(answer, {"clientToken": "t"})


@device("J16 a running timer tells how much time is left")
def _(thing):
    job = thing.job("--timeout", "60m")
    queued = thing.accepted(f"{job}/get", {})["execution"]
    equal(queued.get("approximateSecondsBeforeTimedOut"), None)
    started = thing.accepted("start-next", {"stepTimeoutInMinutes": 5})["execution"]
    true(240 <= started["approximateSecondsBeforeTimedOut"] <= 300, f"not 5 minutes: {started}")
    thing.accepted(f"{job}/update", {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 9})
    found = thing.accepted(f"{job}/get", {})["execution"]
    true(480 <= found["approximateSecondsBeforeTimedOut"] <= 540, f"not 9 minutes: {found}")
    # A step cannot last longer than the job.
    thing.accepted(f"{job}/update", {"status": "IN_PROGRESS", "stepTimeoutInMinutes": 10080})
    found = thing.accepted(f"{job}/get", {})["execution"]
    true(found["approximateSecondsBeforeTimedOut"] <= 3600, f"longer than the job: {found}")


@device("J9 an expected version may be a number or a string")
def _(thing):
    job = thing.job()
    for wrong in (9, "9"):
        refusal = thing.rejected(f"{job}/update", {"status": "IN_PROGRESS", "expectedVersion": wrong})
        equal((refusal["code"], refusal["executionState"]["versionNumber"]), ("VersionMismatch", 1), repr(wrong))
    thing.accepted(f"{job}/update", {"status": "IN_PROGRESS", "expectedVersion": "1"})
    thing.accepted(f"{job}/update", {"status": "IN_PROGRESS", "expectedVersion": 2})


@device("J12 what is not a JSON object is refused with InvalidJson")
def _(thing):
    job = thing.job()
    for call in ("get", "start-next", "$next/get", f"{job}/update"):
        for payload in (b"nope", b'{"status":', b"[]", b"5", b"\xff"):
            equal(thing.rejected(call, payload)["code"], "InvalidJson", f"{call} {payload}")


@device("J24 wrong contents are refused with InvalidRequest")
def _(thing):
    job = thing.job()
    for payload in (
        {},
        {"status": 5},
        {"status": "IN_PROGRESS", "statusDetails": {"k": 5}},
        {"status": "IN_PROGRESS", "statusDetails": "text"},
        {"status": "IN_PROGRESS", "expectedVersion": "one"},
        {"status": "IN_PROGRESS", "clientToken": "t" * 65},
        {"status": "IN_PROGRESS", "stepTimeoutInMinutes": "soon"},
    ):
        equal(thing.rejected(f"{job}/update", payload)["code"], "InvalidRequest", str(payload)[:50])
    equal(thing.accepted(f"{job}/get", {})["execution"]["versionNumber"], 1)


@device("a refusal repeats the token and says when")
def _(thing):
    refusal = thing.rejected("nothing/get", {"clientToken": "t"})
    equal((refusal["code"], refusal["clientToken"]), ("ResourceNotFound", "t"))
    recent(refusal["timestamp"])


@device("of more than ten pending jobs a notice lists ten")
def _(thing):
    jobs = [thing.job() for _count in range(10)]
    equal(thing.link.subscribe(f"{thing.topic}/notify"), [1])
    thing.job()
    listed = thing.link.message(f"{thing.topic}/notify")["jobs"]["QUEUED"]
    equal([summary["jobId"] for summary in listed], jobs)


if __name__ == "__main__":
    main()
