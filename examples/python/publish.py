"""Publishes each line of standard input as one record: python publish.py pubsub://GLOBEX/orders"""

import sys

import gateway

gateway.generate_stubs()

from fedgate.messaging.v1 import messaging_service_pb2 as messages  # noqa: E402
from fedgate.messaging.v1 import messaging_service_pb2_grpc as services  # noqa: E402
from fedgate.messaging.v1 import record_pb2  # noqa: E402


def main(address: str) -> None:
    with gateway.open_channel() as channel:
        service = services.MessagingServiceStub(channel)
        for line in sys.stdin:
            record = record_pb2.Record(payload=line.rstrip("\n").encode(), content_type="text/plain")
            request = messages.PublishRequest(address=address, records=[record])
            result = service.Publish(request, timeout=10).result
            print(f"subscribers: {result.subscribers}, dropped: {result.dropped}", flush=True)


main(sys.argv[1])
