"""The server dies and comes back while clients of the SDK are connected. Who runs this kills it after the line `ready`."""

from awsiot import iotjobs
from awsiot.iotjobs import IotJobsClientV2

from harness import DEADLINE_S, check, equal, main, unique
from sdk import second_generation, stream
from shadow_v2 import Shadow


@check("the SDK comes back by itself, its streams go on, and nothing that was acknowledged is lost")
def _(fleet):
    with Shadow(fleet, named=True) as shadow:
        jobs = second_generation(IotJobsClientV2, shadow.link)
        request = iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=shadow.thing)
        notices = stream(jobs.create_job_executions_changed_stream, request)
        deltas = shadow.deltas()
        first, second = (f"job-{unique()}" for _number in range(2))

        shadow.updated(desired={"a": 1})
        equal(deltas.take().version, 1)
        fleet.create_job(first, shadow.thing)
        notices.take()
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=shadow.thing)
        started = jobs.start_next_pending_job_execution(request).result(DEADLINE_S).execution
        equal((started.job_id, started.version_number), (first, 2))

        print("ready", flush=True)
        shadow.link.ended.take("the end of the connection")
        shadow.link.back.take("the next connection")
        deltas.again.take("the subscription to deltas"), notices.again.take("the subscription to notices")

        equal(shadow.got().state.desired, {"a": 1})
        shadow.updated(desired={"a": 2})
        equal((deltas.take().version, deltas.left()), (2, []))
        again = jobs.start_next_pending_job_execution(request).result(DEADLINE_S).execution
        equal((again.job_id, again.version_number), (first, 2))
        fleet.create_job(second, shadow.thing)
        equal([summary.job_id for summary in notices.take().jobs["QUEUED"]], [second])


if __name__ == "__main__":
    main()
