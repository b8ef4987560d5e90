"""Prints the payload of each record that arrives, one line each: python subscribe.py 'orders/**' [COUNT]"""

import sys

import gateway

gateway.generate_stubs()

from fedgate.messaging.v1 import messaging_service_pb2 as messages  # noqa: E402
from fedgate.messaging.v1 import messaging_service_pb2_grpc as services  # noqa: E402


def main(pattern: str, count: int | None) -> None:
    seen = 0
    with gateway.open_channel() as channel:
        responses = services.MessagingServiceStub(channel).Subscribe(messages.SubscribeRequest(pattern=pattern))
        for response in responses:
            event = response.notice.WhichOneof("event")
            if event == "opened":
                print("subscribed", file=sys.stderr, flush=True)
            elif event == "dropped":
                print(f"lost {response.notice.dropped.records} records", file=sys.stderr, flush=True)
            for record in response.records:
                print(f"{response.sender_org} {response.channel} {record.payload.decode()}", flush=True)
                seen += 1
            if count is not None and seen >= count:
                responses.cancel()
                return


main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
