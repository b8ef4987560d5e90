"""Publishes each line of standard input as one record, durably: python publish.py pubsub://GLOBEX/orders"""

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
            # Answered once the other organisation has it on stable storage, or with ACK_TIMEOUT after 30 s: then it is sent later.
            request = messages.PublishRequest(address=address, ack=messages.ACK_LEVEL_RECEIVED, records=[record])
            result = service.Publish(request, timeout=40).result
            print(messages.AckLevel.Name(result.level), flush=True)


main(sys.argv[1])
