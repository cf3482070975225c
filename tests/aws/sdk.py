"""Connections and service clients of the AWS IoT Device SDK v2 for Python."""

import concurrent.futures

import awsiot
from awscrt import mqtt, mqtt5, mqtt_request_response
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from harness import DEADLINE_S, Events, unique


class Link:
    """A connection as the builders of the SDK make it by default: metrics in the user name, keep-alive 1200 s."""

    def __init__(self, fleet, thing, client_id=None):
        cert, key, ca = fleet.certificate(thing)
        self.mqtt5 = fleet.mqtt == "5"
        self.ended, self.back = Events(), Events()
        common = {
            "endpoint": fleet.host,
            "port": fleet.port,
            "cert_filepath": cert,
            "pri_key_filepath": key,
            "ca_filepath": ca,
            "client_id": client_id or f"sdk-{unique()}",
        }
        if self.mqtt5:
            connected, self._stopped = concurrent.futures.Future(), concurrent.futures.Future()

            def succeeded(data):
                if connected.done():
                    self.back.put(data)
                else:
                    connected.set_result(data)

            self.client = mqtt5_client_builder.mtls_from_path(
                on_lifecycle_connection_success=succeeded,
                on_lifecycle_connection_failure=lambda data: connected.done()
                or connected.set_exception(data.exception),
                on_lifecycle_disconnection=self.ended.put,
                on_lifecycle_stopped=self._stopped.set_result,
                **common,
            )
            self.client.start()
            self.settings = connected.result(DEADLINE_S).negotiated_settings
        else:
            self.client = mqtt_connection_builder.mtls_from_path(
                clean_session=True,
                on_connection_interrupted=lambda connection, error, **rest: self.ended.put(error),
                on_connection_resumed=lambda connection, **data: self.back.put(data),
                **common,
            )
            self.client.connect().result(DEADLINE_S)

    def close(self):
        """Ends the connection in good order."""
        if self.mqtt5:
            self.client.stop(mqtt5.DisconnectPacket())
            self._stopped.result(DEADLINE_S)
        else:
            self.client.disconnect().result(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def second_generation(kind, link):
    """A client of the second generation: one call, one future."""
    options = mqtt_request_response.ClientOptions(max_request_response_subscriptions=6, max_streaming_subscriptions=6)
    options.operation_timeout_in_seconds = DEADLINE_S
    return kind(link.client, options)


def stream(create, request):
    """Opens a stream of events and waits until the server has taken the subscription."""
    events, opened = Events(), concurrent.futures.Future()
    events.again = Events()

    def status(event):
        if event.type == mqtt_request_response.SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED:
            # After each new connection it comes again.
            if opened.done():
                events.again.put(event)
            else:
                opened.set_result(None)
        else:
            events.put(f"subscription {event.type.name}: {event.error}")

    operation = create(
        request,
        awsiot.ServiceStreamOptions(
            incoming_event_listener=events.put,
            subscription_status_listener=status,
            deserialization_failure_listener=events.put,
        ),
    )
    operation.open()
    opened.result(DEADLINE_S)
    events.operation = operation  # without a reference the stream ends
    return events


def refused(future):
    """The modelled error of a call that the service refused."""
    try:
        answer = future.result(DEADLINE_S)
    except awsiot.V2ServiceException as error:
        if error.modeled_error is None:
            raise AssertionError(f"no answer: {error.message}, {error.inner_error!r}") from error
        return error.modeled_error
    raise AssertionError(f"it was accepted: {answer}")


def subscribed(subscribe, request):
    """Subscribes with a client of the first generation; the callback of the SDK fills the events."""
    events = Events()
    future, _topic = subscribe(request, mqtt.QoS.AT_LEAST_ONCE, events.put)
    future.result(DEADLINE_S)
    return events


def published(publish, request):
    """Publishes with a client of the first generation and waits for the PUBACK."""
    publish(request, mqtt.QoS.AT_LEAST_ONCE).result(DEADLINE_S)
