"""Jobs through `IotJobsClient`, the first generation: publish here, callbacks there."""

from awsiot import iotjobs
from awsiot.iotjobs import IotJobsClient, JobStatus

from harness import OnLink, check, each_of, equal, main, recent, unique
from sdk import Link, published, subscribed


class Device(OnLink):
    """A new thing and what its callbacks said."""

    def __init__(self, fleet):
        self.fleet, self.thing = fleet, fleet.thing("jobs")
        self.link = Link(fleet, self.thing)
        self.client = IotJobsClient(self.link.client)
        self.notices = self._hear("job_executions_changed_events", "JobExecutionsChanged")
        self.next_notices = self._hear("next_job_execution_changed_events", "NextJobExecutionChanged")
        self.pending = self._answers("get_pending_job_executions", "GetPendingJobExecutions")
        self.started = self._answers("start_next_pending_job_execution", "StartNextPendingJobExecution")

    def _hear(self, call, kind, **fields):
        request = getattr(iotjobs, f"{kind}SubscriptionRequest")(thing_name=self.thing, **fields)
        return subscribed(getattr(self.client, f"subscribe_to_{call}"), request)

    def _answers(self, call, kind, **fields):
        return (self._hear(f"{call}_accepted", kind, **fields), self._hear(f"{call}_rejected", kind, **fields))

    def _ask(self, call, kind, **fields):
        request = getattr(iotjobs, f"{kind}Request")(thing_name=self.thing, **fields)
        published(getattr(self.client, f"publish_{call}"), request)

    def watch(self, job):
        """Subscribes to the answers about one job."""
        self.described = self._answers("describe_job_execution", "DescribeJobExecution", job_id=job)
        self.updated = self._answers("update_job_execution", "UpdateJobExecution", job_id=job)

    def job(self):
        """A new job for this thing; returns its id."""
        job = f"job-{unique()}"
        self.fleet.create_job(job, self.thing)
        return job

    def get_pending(self, **fields):
        self._ask("get_pending_job_executions", "GetPendingJobExecutions", **fields)

    def start_next(self, **fields):
        self._ask("start_next_pending_job_execution", "StartNextPendingJobExecution", **fields)

    def describe(self, job, **fields):
        self._ask("describe_job_execution", "DescribeJobExecution", job_id=job, **fields)

    def update(self, job, status, **fields):
        self._ask("update_job_execution", "UpdateJobExecution", job_id=job, status=status, **fields)

    def nothing_left(self):
        """Fails the check if a callback got what nobody took."""
        for name, events in vars(self).items():
            for part in events if isinstance(events, tuple) else (events,):
                if hasattr(part, "left"):
                    equal(part.left(), [], name)


# A check of one new device.
device = each_of(Device)


@device("the life of a job reaches the right callbacks, each once")
def _(thing):
    job = thing.job()
    notice = thing.notices.take()
    equal([summary.job_id for summary in notice.jobs["QUEUED"]], [job])
    recent(int(notice.timestamp.timestamp()))
    equal(thing.next_notices.take().execution.job_document, {"operation": job})

    thing.get_pending(client_token="list")
    listed = thing.pending[0].take()
    equal((listed.client_token, [s.job_id for s in listed.queued_jobs], listed.in_progress_jobs), ("list", [job], []))

    thing.start_next(client_token="start", status_details={"step": "one"})
    started = thing.started[0].take()
    equal((started.client_token, started.execution.job_id), ("start", job))
    equal((started.execution.status, started.execution.version_number), (JobStatus.IN_PROGRESS, 2))

    thing.watch(job)
    thing.describe(job, client_token="look")
    found = thing.described[0].take()
    equal((found.client_token, found.execution.status_details), ("look", {"step": "one"}))

    thing.update(job, JobStatus.SUCCEEDED, expected_version=2, client_token="done", include_job_execution_state=True)
    done = thing.updated[0].take()
    equal((done.client_token, done.execution_state.status), ("done", JobStatus.SUCCEEDED))
    equal((thing.notices.take().jobs, thing.next_notices.take().execution), ({}, None))
    thing.nothing_left()


@device("refusals reach the rejected callbacks with their token")
def _(thing):
    job = thing.job()
    thing.notices.take(), thing.next_notices.take()
    thing.watch(job)
    thing.update(job, JobStatus.SUCCEEDED, expected_version=7, client_token="old")
    refusal = thing.updated[1].take()
    equal((refusal.code, refusal.client_token), ("VersionMismatch", "old"))
    equal((refusal.execution_state.status, refusal.execution_state.version_number), (JobStatus.QUEUED, 1))
    thing.update(job, JobStatus.CANCELED)
    equal(thing.updated[1].take().code, "InvalidRequest")
    thing.describe(job, execution_number=5, client_token="fifth")
    equal(thing.described[1].take().code, "ResourceNotFound")
    thing.nothing_left()


@device("$next is described by its name, and may be nothing")
def _(thing):
    thing.watch("$next")
    thing.describe("$next", client_token="a")
    equal(thing.described[0].take().execution, None)
    job = thing.job()
    thing.describe("$next", client_token="b")
    found = thing.described[0].take()
    equal((found.client_token, found.execution.job_id, found.execution.status), ("b", job, JobStatus.QUEUED))


@device("J23 answers reach only the connection that asked")
def _(thing):
    job = thing.job()
    with Link(thing.fleet, thing.thing) as link:
        other = IotJobsClient(link.client)
        request = iotjobs.StartNextPendingJobExecutionSubscriptionRequest(thing_name=thing.thing)
        overheard = subscribed(other.subscribe_to_start_next_pending_job_execution_accepted, request)
        thing.start_next(client_token="mine")
        equal(thing.started[0].take().execution.job_id, job)
        published(
            other.publish_start_next_pending_job_execution,
            iotjobs.StartNextPendingJobExecutionRequest(thing_name=thing.thing, client_token="theirs"),
        )
        # Its own answer is the first that it hears.
        equal(overheard.take().client_token, "theirs")
        equal((overheard.left(), thing.started[0].left()), ([], []))


if __name__ == "__main__":
    main()
