"""Jobs through `IotJobsClientV2`."""

from awsiot import iotjobs
from awsiot.iotjobs import IotJobsClientV2, JobStatus

from harness import DEADLINE_S, OnLink, check, each_of, equal, main, recent, unique
from sdk import Link, refused, second_generation, stream


class Device(OnLink):
    """A new thing, its jobs client and the two streams of notices."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.thing = fleet.thing("jobs")
        self.link = Link(fleet, self.thing)
        self.client = second_generation(IotJobsClientV2, self.link)
        self.notices = stream(
            self.client.create_job_executions_changed_stream,
            iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=self.thing),
        )
        self.next_notices = stream(
            self.client.create_next_job_execution_changed_stream,
            iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=self.thing),
        )

    def job(self, document=None):
        """A new job for this thing; returns its id."""
        job = f"job-{unique()}"
        self.fleet.create_job(job, self.thing, document=document)
        return job

    def pending(self):
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self.thing)
        return self.client.get_pending_job_executions(request).result(DEADLINE_S)

    def start_next(self, **fields):
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=self.thing, **fields)
        return self.client.start_next_pending_job_execution(request).result(DEADLINE_S).execution

    def describe(self, job, **fields):
        request = iotjobs.DescribeJobExecutionRequest(thing_name=self.thing, job_id=job, **fields)
        return self.client.describe_job_execution(request)

    def described(self, job, **fields):
        return self.describe(job, **fields).result(DEADLINE_S).execution

    def update(self, job, status, **fields):
        request = iotjobs.UpdateJobExecutionRequest(thing_name=self.thing, job_id=job, status=status, **fields)
        return self.client.update_job_execution(request)

    def updated(self, job, status, **fields):
        return self.update(job, status, **fields).result(DEADLINE_S)

    def next_is(self, job, status=None):
        """Takes a notice of the next execution."""
        execution = self.next_notices.take("notify-next").execution
        equal(execution and execution.job_id, job)
        if status:
            equal(execution.status, status)
        return execution

    def listed(self):
        """Takes a notice of all pending executions, as lists of job ids."""
        jobs = self.notices.take("notify").jobs
        return {status: [summary.job_id for summary in jobs[status]] for status in jobs}

    def silent(self):
        """Fails the check if there are notices that nobody took."""
        equal((self.notices.left(), self.next_notices.left()), ([], []), "notices nobody asked for")


# A check of one new device.
device = each_of(Device)


@device("J1 J6 an idle thing has two empty lists, no next execution, and starts nothing")
def _(thing):
    answer = thing.pending()
    equal((answer.in_progress_jobs, answer.queued_jobs), ([], []))
    recent(int(answer.timestamp.timestamp()))
    equal(thing.described("$next"), None)
    equal(thing.start_next(), None)


@device("J2 J3 the first job sends notify and notify-next, the second notify only")
def _(thing):
    document = {"operation": "blink", "times": 3, "deep": {"a": [1, 2.5, None, True]}}
    first = thing.job(document)
    equal(thing.listed(), {"QUEUED": [first]})
    execution = thing.next_is(first, JobStatus.QUEUED)
    equal(execution.job_document, document)
    equal((execution.version_number, execution.execution_number, execution.started_at), (1, 1, None))
    recent(int(execution.queued_at.timestamp()))
    second = thing.job()
    equal(thing.listed(), {"QUEUED": [first, second]})
    answer = thing.pending()
    equal([summary.job_id for summary in answer.queued_jobs], [first, second])
    summary = answer.queued_jobs[0]
    equal((summary.version_number, summary.execution_number, summary.started_at), (1, 1, None))
    thing.silent()


@device("J4 J5 start-next starts the oldest, silently, and again answers the same")
def _(thing):
    job = thing.job()
    thing.listed(), thing.next_is(job)
    started = thing.start_next(status_details={"step": "one"})
    equal((started.job_id, started.status, started.version_number), (job, JobStatus.IN_PROGRESS, 2))
    equal((started.status_details, started.job_document), ({"step": "one"}, {"operation": job}))
    recent(int(started.started_at.timestamp()))
    again = thing.start_next(status_details={"step": "other"})
    equal((again.job_id, again.version_number, again.status_details), (job, 2, {"step": "one"}))
    equal([summary.job_id for summary in thing.pending().in_progress_jobs], [job])
    thing.silent()


@device("J7 describing $next starts nothing, and the document can be left out")
def _(thing):
    job = thing.job()
    for found in (thing.described("$next"), thing.described(job), thing.described(job, execution_number=1)):
        equal((found.job_id, found.status, found.version_number), (job, JobStatus.QUEUED, 1))
        equal(found.job_document, {"operation": job})
    equal(thing.described(job, include_job_document=False).job_document, None)


@device("J8 an update answers only what it is asked to answer")
def _(thing):
    job = thing.job()
    bare = thing.updated(job, JobStatus.IN_PROGRESS, status_details={"step": "one"})
    equal((bare.execution_state, bare.job_document), (None, None))
    recent(int(bare.timestamp.timestamp()))
    full = thing.updated(
        job, JobStatus.IN_PROGRESS, include_job_execution_state=True, include_job_document=True, expected_version=2
    )
    state = full.execution_state
    equal((state.status, state.version_number, state.status_details), (JobStatus.IN_PROGRESS, 3, {"step": "one"}))
    equal(full.job_document, {"operation": job})
    replaced = thing.updated(
        job, JobStatus.IN_PROGRESS, status_details={"half": "done"}, include_job_execution_state=True
    )
    equal(replaced.execution_state.status_details, {"half": "done"})


@device("J9 an old expected version is refused with the state that is")
def _(thing):
    job = thing.job()
    error = refused(thing.update(job, JobStatus.SUCCEEDED, expected_version=99))
    equal((error.code, error.message), ("VersionMismatch", "Expected version 99 but found version 1"))
    equal((error.execution_state.status, error.execution_state.version_number), (JobStatus.QUEUED, 1))
    equal(thing.described(job).status, JobStatus.QUEUED)


@device("J10 a device may not set what belongs to the service")
def _(thing):
    job = thing.job()
    for status in (JobStatus.CANCELED, JobStatus.TIMED_OUT, JobStatus.REMOVED, "NONSENSE"):
        equal(refused(thing.update(job, status)).code, "InvalidRequest", status)
    equal(refused(thing.update(job, JobStatus.QUEUED)).code, "InvalidStateTransition")
    equal(thing.described(job).version_number, 1)


@device("J11 an unknown job is refused with ResourceNotFound")
def _(thing):
    equal(refused(thing.describe("nothing")).code, "ResourceNotFound")
    equal(refused(thing.update("nothing", JobStatus.SUCCEEDED)).code, "ResourceNotFound")
    job = thing.job()
    equal(refused(thing.describe(job, execution_number=2)).code, "ResourceNotFound")


@device("J13 the end of the first moves the second up, the end of the last leaves nothing")
def _(thing):
    first, second = thing.job(), thing.job()
    thing.listed(), thing.listed(), thing.next_is(first)
    thing.start_next()
    thing.updated(first, JobStatus.SUCCEEDED)
    equal(thing.listed(), {"QUEUED": [second]})
    thing.next_is(second, JobStatus.QUEUED)
    thing.updated(second, JobStatus.FAILED, status_details={"why": "no"})
    equal(thing.listed(), {})
    thing.next_is(None)
    thing.pending()
    thing.silent()


@device("J14 a later job that is started becomes the next")
def _(thing):
    first, second = thing.job(), thing.job()
    thing.listed(), thing.listed(), thing.next_is(first)
    thing.updated(second, JobStatus.IN_PROGRESS)
    thing.next_is(second, JobStatus.IN_PROGRESS)
    equal(thing.start_next().job_id, second)
    answer = thing.pending()
    equal([summary.job_id for summary in answer.in_progress_jobs], [second])
    equal([summary.job_id for summary in answer.queued_jobs], [first])
    thing.silent()


@device("J15 a later job that is rejected sends notify only")
def _(thing):
    first, second = thing.job(), thing.job()
    thing.listed(), thing.listed(), thing.next_is(first)
    thing.updated(second, JobStatus.REJECTED)
    equal(thing.listed(), {"QUEUED": [first]})
    thing.pending()
    thing.silent()


@device("the end of an execution is final")
def _(thing):
    for status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.REJECTED):
        job = thing.job()
        thing.updated(job, status)
        error = refused(thing.update(job, JobStatus.IN_PROGRESS))
        equal((error.code, error.execution_state.status), ("InvalidStateTransition", status))
        equal(refused(thing.describe(job)).code, "TerminalStateReached")


@device("a step timer is 1 to 10080 minutes, or -1 to stop it")
def _(thing):
    job = thing.job()
    for minutes in (0, 10081, -2):
        error = refused(thing.update(job, JobStatus.IN_PROGRESS, step_timeout_in_minutes=minutes))
        equal(error.code, "InvalidRequest", f"{minutes} minutes")
    for minutes in (1, 10080, -1):
        thing.updated(job, JobStatus.IN_PROGRESS, step_timeout_in_minutes=minutes)


@device("J24 status details have limits")
def _(thing):
    job = thing.job()
    most = {f"k{i}": "v" * 1024 for i in range(9)}
    most["a-z_A-Z:09" + "k" * 118] = "v"
    most["k0"] = "\u00e9" * 1024  # characters count, not bytes
    thing.updated(job, JobStatus.IN_PROGRESS, status_details=most)
    for bad in ({f"k{i}": "v" for i in range(11)}, {"k" * 129: "v"}, {"k k": "v"}, {"k": "\u00e9" * 1025}, {"k": ""}):
        error = refused(thing.update(job, JobStatus.IN_PROGRESS, status_details=bad))
        equal(error.code, "InvalidRequest", str(bad)[:40])
    equal(thing.described(job).status_details, most)


@device("J25 a job that is called get is a job")
def _(thing):
    name = "get"
    thing.fleet.create_job(name, thing.thing)
    equal(thing.described(name).job_id, name)
    equal((thing.pending().queued_jobs[0].job_id, thing.start_next().job_id), (name, name))
    thing.updated(name, JobStatus.SUCCEEDED)
    equal(thing.pending().queued_jobs, [])


@check("one job for two things is two executions")
def _(fleet):
    with Device(fleet) as one, Device(fleet) as other:
        job = f"job-{unique()}"
        fleet.create_job(job, one.thing, other.thing)
        one.next_is(job), other.next_is(job)
        one.updated(job, JobStatus.SUCCEEDED)
        equal(other.described(job).status, JobStatus.QUEUED)
        equal(one.start_next(), None)
        equal(other.start_next().job_id, job)


@check("J26 a continuous job sends exactly two notices of each kind, as in AWS's own test")
def _(fleet):
    with Device(fleet) as thing:
        job, pool = f"job-{unique()}", f"pool-{unique()}"
        fleet.create_job(job, options=("--to", f"pool={pool}", "--continuous"))
        answer = thing.pending()
        equal((answer.in_progress_jobs, answer.queued_jobs), ([], []))
        fleet.muster("connector", "add", thing.thing, "--pool", pool)
        thing.next_is(job, JobStatus.QUEUED)
        equal(thing.listed(), {JobStatus.QUEUED: [job]})
        equal(thing.start_next().job_id, job)
        equal(thing.described(job).status, JobStatus.IN_PROGRESS)
        thing.updated(job, JobStatus.SUCCEEDED)
        thing.next_is(None)
        equal(thing.listed(), {})
        answer = thing.pending()
        equal((answer.in_progress_jobs, answer.queued_jobs), ([], []))
        thing.silent()


@check("a thing that was away finds its job when it returns")
def _(fleet):
    with Device(fleet) as thing:
        pass
    job = thing.job()
    with Link(fleet, thing.thing) as link:
        thing.client = second_generation(IotJobsClientV2, link)
        equal(thing.start_next().job_id, job)
    with Link(fleet, thing.thing) as link:
        thing.client = second_generation(IotJobsClientV2, link)
        again = thing.start_next()
        equal((again.job_id, again.version_number), (job, 2))


if __name__ == "__main__":
    main()
