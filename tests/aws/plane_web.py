"""The HTTP data plane with the certificate of a device, asked by Python's own HTTP client."""

import base64
import json

from harness import check, equal, main, recent, true, unique
from plain import Plain
from web import Web

SHADOW = "/things/{}/shadow"


def watcher(fleet, thing, *filters):
    """A connection of the thing that listens."""
    link = Plain(fleet, thing)
    link.subscribe(*filters)
    return link


@check("S19 an update over HTTP is published like one over MQTT")
def update_is_published(fleet):
    thing = fleet.thing()
    for name, query in (("", ""), ("/name/n", "?name=n")):
        topic = f"$aws/things/{thing}/shadow{name}"
        with watcher(fleet, thing, f"{topic}/#") as link:
            web = Web(fleet, thing)
            sent = {"state": {"desired": {"a": 1}, "reported": {"a": 2}}, "clientToken": "t"}
            answer = web.done("POST", SHADOW.format(thing) + query, sent)
            equal((answer["state"], answer["version"], answer["clientToken"]), (sent["state"], 1, "t"))
            equal(link.message(f"{topic}/update/accepted"), answer)
            equal(link.message(f"{topic}/update/delta")["state"], {"a": 1})
            equal(link.message(f"{topic}/update/documents")["current"]["version"], 1)
            equal(web.done("GET", SHADOW.format(thing) + query)["state"]["delta"], {"a": 1})
            gone = web.done("DELETE", SHADOW.format(thing) + query)
            equal(gone["version"], 1)
            recent(gone["timestamp"])
            # The GET in between was published nowhere: this comes next.
            equal(link.messages.take("what follows").topic, f"{topic}/delete/accepted")


@check("S19 a refusal over HTTP is published nowhere")
def refusal_is_not_published(fleet):
    thing = fleet.thing()
    topic = f"$aws/things/{thing}/shadow"
    with watcher(fleet, thing, f"{topic}/#") as link:
        web = Web(fleet, thing)
        gone = web.refused(404, "ResourceNotFoundException", "GET", SHADOW.format(thing))
        equal((gone["code"], gone["message"]), (404, f"No shadow exists with name: '{thing}'"))
        web.refused(404, "ResourceNotFoundException", "DELETE", SHADOW.format(thing))
        web.done("POST", SHADOW.format(thing), {"state": {}})
        told = web.refused(409, "ConflictException", "POST", SHADOW.format(thing), {"state": {}, "version": 7, "clientToken": "x"})
        equal((told["message"], told["clientToken"]), ("Version conflict", "x"))
        for body, status, name, message in (
            (b"{", 400, "InvalidRequestException", "Invalid JSON"),
            (b"{}", 400, "InvalidRequestException", "Missing required node: state"),
            (b'{"state":{"other":1}}', 400, "InvalidRequestException", "State contains an invalid node"),
            (b"\xa1\x61\x61\x01", 415, "UnsupportedDocumentEncodingException",
             "Unsupported documented encoding; supported encoding is UTF-8"),
            (json.dumps({"state": {"desired": {"a": "x" * 9000}}}).encode(), 413, "RequestEntityTooLargeException",
             "The payload exceeds the maximum size allowed"),
            # More than is read at all.
            (b" " * (128 * 1024 + 1), 413, "RequestEntityTooLargeException",
             "The payload exceeds the maximum size allowed"),
        ):
            told = web.refused(status, name, "POST", SHADOW.format(thing), body)
            equal((told["code"], told["message"]), (status, message))
        # The first thing that was heard is the one accepted update, the next is this one.
        web.done("POST", SHADOW.format(thing), {"state": {"reported": {"end": 1}}})
        topics = [link.messages.take("a message").topic for _ in range(4)]
        equal(topics, [f"{topic}/update/accepted", f"{topic}/update/documents"] * 2)


@check("S20 named shadows are listed page by page")
def list_named(fleet):
    thing = fleet.thing()
    web = Web(fleet, thing)
    path = f"/api/things/shadow/ListNamedShadowsForThing/{thing}"
    empty = web.done("GET", path)
    equal(empty["results"], [])
    recent(empty["timestamp"])
    names = sorted(f"s{number}" for number in range(30))
    for name in ["gone", *names]:
        web.done("POST", f"{SHADOW.format(thing)}?name={name}", {"state": {"desired": {"a": 1}}})
    web.done("POST", SHADOW.format(thing), {"state": {"desired": {"a": 1}}})
    web.done("DELETE", f"{SHADOW.format(thing)}?name=gone")
    first = web.done("GET", path)
    equal(first["results"], names[:25], "a page has 25 unless the client says otherwise")
    found, token = [], ""
    while True:
        page = web.done("GET", f"{path}?pageSize=7{token}")
        found += page["results"]
        if "nextToken" not in page:
            break
        equal(len(page["results"]), 7)
        token = f"&nextToken={page['nextToken']}"
    equal(found, names, "neither the classic one nor one that was deleted")
    equal(web.done("GET", f"{path}?pageSize=100")["results"], names)
    for query in ("pageSize=0", "pageSize=101", "nextToken=%2F"):
        web.refused(400, "InvalidRequestException", "GET", f"{path}?{query}")


@check("a device has its own thing and no other")
def own_thing_only(fleet):
    thing, other = fleet.thing(), fleet.thing()
    web = Web(fleet, thing, alpn="x-amzn-http-ca")
    for method, path in (
        ("GET", SHADOW.format(other)),
        ("POST", SHADOW.format(other)),
        ("DELETE", SHADOW.format(other)),
        ("GET", f"/api/things/shadow/ListNamedShadowsForThing/{other}"),
        ("GET", f"/things/{other}/jobs"),
        ("PUT", f"/things/{other}/jobs/$next"),
        ("POST", f"/topics/app/{other}/x"),
        ("POST", f"/topics/$aws/things/{thing}/shadow/update/accepted"),
        ("GET", f"/retainedMessage/app%2F{other}%2Fx"),
        ("GET", "/retainedMessage"),
        ("GET", "/connections/x"),
        ("DELETE", "/connections/x"),
    ):
        body = {"state": {}} if method == "POST" else None
        told = web.refused(403, "ForbiddenException", method, path, body)
        equal(told["message"], "Forbidden")
    web.refused(404, "ResourceNotFoundException", "GET", SHADOW.format(thing))
    nobody = Web(fleet)
    nobody.refused(403, "MissingAuthenticationTokenException", "GET", SHADOW.format(thing))


@check("a revoked certificate is refused on a connection that stands")
def revoked(fleet):
    thing = fleet.thing()
    web = Web(fleet, thing)
    web.done("POST", SHADOW.format(thing), {"state": {}})
    fleet.muster("cert", "revoke", fleet.certificate(thing)[0], "--reason", "test")
    web.refused(403, "ForbiddenException", "GET", SHADOW.format(thing))


@check("what is no operation is refused with the reason")
def no_operation(fleet):
    thing = fleet.thing()
    web = Web(fleet, thing)
    status, headers, _body = web.ask("PUT", SHADOW.format(thing), b"{}")
    equal((status, headers["x-amzn-ErrorType"], headers["Allow"]), (405, "MethodNotAllowedException", "GET, POST, DELETE"))
    web.refused(404, "ResourceNotFoundException", "GET", f"/things/{thing}")
    web.refused(400, "InvalidRequestException", "GET", "/things/a%2Fb/shadow")
    web.refused(413, "RequestEntityTooLargeException", "POST", f"/topics/app/{thing}/x", b"x" * (128 * 1024 + 1))


@check("J22 a job over HTTP: from its queue to its end, with its document as a text")
def job_to_its_end(fleet):
    thing, job = fleet.thing(), f"job-{unique()}"
    web = Web(fleet, thing)
    equal(web.done("GET", f"/things/{thing}/jobs"), {"inProgressJobs": [], "queuedJobs": []})
    equal(web.done("PUT", f"/things/{thing}/jobs/$next", {}), {})
    fleet.create_job(job, thing, document={"do": [1]})
    (queued,) = web.done("GET", f"/things/{thing}/jobs")["queuedJobs"]
    equal((queued["jobId"], queued["versionNumber"]), (job, 1))
    for which in (job, "$next", "%24next"):
        told = web.done("GET", f"/things/{thing}/jobs/{which}")
        equal(sorted(told), ["execution"])
        execution = told["execution"]
        equal((execution["status"], execution["jobDocument"]), ("QUEUED", '{"do":[1]}'))
        equal((execution["thingName"], execution["jobId"]), (thing, job))
        recent(execution["queuedAt"])
    bare = web.done("GET", f"/things/{thing}/jobs/{job}?includeJobDocument=false")["execution"]
    true("jobDocument" not in bare, "the document was not asked for")
    web.refused(404, "ResourceNotFoundException", "GET", f"/things/{thing}/jobs/{job}?executionNumber=5")
    with watcher(fleet, thing, f"$aws/things/{thing}/jobs/notify-next") as link:
        started = web.done("PUT", f"/things/{thing}/jobs/$next", {"statusDetails": {"a": "b"}})["execution"]
        equal((started["status"], started["versionNumber"]), ("IN_PROGRESS", 2))
        wrong = {"status": "SUCCEEDED", "expectedVersion": 9}
        told = web.refused(409, "InvalidStateTransitionException", "POST", f"/things/{thing}/jobs/{job}", wrong)
        equal(told["message"], "Expected version 9 but found version 2")
        update = {"status": "IN_PROGRESS", "includeJobExecutionState": True, "includeJobDocument": True}
        told = web.done("POST", f"/things/{thing}/jobs/{job}", update)
        equal(told, {"executionState": {"status": "IN_PROGRESS", "statusDetails": {"a": "b"}, "versionNumber": 3},
                     "jobDocument": '{"do":[1]}'})
        equal(web.done("POST", f"/things/{thing}/jobs/{job}", {"status": "SUCCEEDED"}), {})
        true("execution" not in link.message(f"$aws/things/{thing}/jobs/notify-next"), "nothing is pending")
    web.refused(410, "TerminalStateException", "GET", f"/things/{thing}/jobs/{job}")
    web.refused(409, "InvalidStateTransitionException", "POST", f"/things/{thing}/jobs/{job}", {"status": "FAILED"})


@check("errors of the jobs API over HTTP")
def job_errors(fleet):
    thing, job = fleet.thing(), f"job-{unique()}"
    fleet.create_job(job, thing)
    web = Web(fleet, thing)
    for status, name, method, path, body in (
        (404, "ResourceNotFoundException", "GET", f"/things/{thing}/jobs/none", None),
        (404, "ResourceNotFoundException", "POST", f"/things/{thing}/jobs/none", {"status": "SUCCEEDED"}),
        (400, "InvalidRequestException", "POST", f"/things/{thing}/jobs/{job}", {"status": "CANCELED"}),
        (409, "InvalidStateTransitionException", "POST", f"/things/{thing}/jobs/{job}", {"status": "QUEUED"}),
        (400, "InvalidRequestException", "POST", f"/things/{thing}/jobs/none", b"{"),
        (400, "InvalidRequestException", "POST", f"/things/{thing}/jobs/none", b"\xa0"),
        (400, "InvalidRequestException", "GET", f"/things/{thing}/jobs/a.b", None),
        (405, "MethodNotAllowedException", "DELETE", f"/things/{thing}/jobs/none", None),
    ):
        told = web.refused(status, name, method, path, body)
        true(told["message"], "an error says why")


@check("a publish over HTTP reaches MQTT clients with its properties")
def publish(fleet):
    thing = fleet.thing()
    topic = f"app/{thing}/x"
    with watcher(fleet, thing, topic) as link:
        web = Web(fleet, thing)
        properties = base64.b64encode(json.dumps([{"k": "v"}, {"k": "w"}]).encode()).decode()
        headers = {
            "x-amz-mqtt5-user-properties": properties,
            "x-amz-mqtt5-payload-format-indicator": "UTF8_DATA",
            "x-amz-mqtt5-correlation-data": base64.b64encode(b"\x00c").decode(),
        }
        query = "qos=1&contentType=text/plain&responseTopic=app%2Fr&messageExpiry=100"
        equal(web.done("POST", f"/topics/{topic}?{query}", b"hello", headers)["message"], "OK")
        message = link.messages.take("the message")
        equal((message.payload, message.qos, message.retain), (b"hello", 1, False))
        told = message.properties
        equal((told.UserProperty, told.ContentType, told.ResponseTopic), ([("k", "v"), ("k", "w")], "text/plain", "app/r"))
        equal((told.CorrelationData, told.PayloadFormatIndicator), (b"\x00c", 1))
        true(0 < told.MessageExpiryInterval <= 100, "what is left of its life is told")
        web.done("POST", f"/topics/{topic}", b"\xff\x00")
        message = link.messages.take("the message")
        equal((message.payload, message.qos), (b"\xff\x00", 0))


@check("a request that is published over HTTP is answered on its topics")
def publish_request(fleet):
    thing = fleet.thing()
    shadow, jobs = f"$aws/things/{thing}/shadow", f"$aws/things/{thing}/jobs"
    with watcher(fleet, thing, f"{shadow}/update/+", f"{jobs}/get/+") as link:
        web = Web(fleet, thing)
        web.done("POST", f"/topics/{shadow}/update?qos=1", {"state": {"reported": {"a": 1}}})
        equal(link.message(f"{shadow}/update/accepted")["version"], 1)
        web.done("POST", f"/topics/{jobs}/get", {"clientToken": "j"})
        equal(link.message(f"{jobs}/get/accepted")["clientToken"], "j")
        web.refused(400, "InvalidRequestException", "POST", f"/topics/{shadow}/update?retain=true", {"state": {}})


@check("retained messages are read over HTTP")
def retained(fleet):
    thing = fleet.thing()
    web = Web(fleet, thing)
    topic = f"app/{thing}/state"
    path = f"/retainedMessage/{topic.replace('/', '%2F')}"
    web.refused(404, "ResourceNotFoundException", "GET", path)
    properties = base64.b64encode(json.dumps([{"k": "v"}]).encode()).decode()
    web.done("POST", f"/topics/{topic}?qos=1&retain=true", b"\x00\x01", {"x-amz-mqtt5-user-properties": properties})
    found = web.done("GET", path)
    equal((found["topic"], found["payload"], found["qos"]), (topic, base64.b64encode(b"\x00\x01").decode(), 1))
    recent(found["lastModifiedTime"] // 1000)
    equal(json.loads(base64.b64decode(found["userProperties"])), [{"k": "v"}])
    with Plain(fleet, thing) as link:
        link.subscribe(topic)
        message = link.messages.take("the retained message")
        equal((message.payload, message.retain), (b"\x00\x01", True))
    web.done("POST", f"/topics/{topic}?retain=true", b"")
    web.refused(404, "ResourceNotFoundException", "GET", path)


@check("the endpoint is where the client is")
def endpoint(fleet):
    web = Web(fleet, fleet.thing())
    for kind in ("iot:Data-ATS", "iot:Data", "iot:CredentialProvider"):
        equal(web.done("GET", f"/endpoint?endpointType={kind}"), {"endpointAddress": fleet.host})
    found = web.done("GET", "/endpoint?endpointType=iot:Jobs")
    equal(found, {"endpointAddress": f"{fleet.host}:{fleet.port}"})
    web.refused(400, "InvalidRequestException", "GET", "/endpoint?endpointType=iot:Other")


if __name__ == "__main__":
    main()
