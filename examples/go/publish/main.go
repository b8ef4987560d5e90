// Command publish publishes each line of standard input as one record, durably: publish pubsub://GLOBEX/orders
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"example.org/fedgate/gateway"
	messaging "example.org/fedgate/gen/fedgate/messaging/v1"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: publish ADDRESS")
	}
	if err := publish(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func publish(address string) error {
	connection, err := gateway.Dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	service := messaging.NewMessagingServiceClient(connection)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		record := &messaging.Record{Payload: lines.Bytes(), ContentType: "text/plain"}
		// Answered once the other organisation has it on stable storage, or with ACK_TIMEOUT after 30 s: then it is sent later.
		request := &messaging.PublishRequest{
			Address: address,
			Ack:     messaging.AckLevel_ACK_LEVEL_RECEIVED,
			Records: []*messaging.Record{record},
		}
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		response, err := service.Publish(ctx, request)
		cancel()
		if err != nil {
			return err
		}
		fmt.Println(response.Result.Level)
	}
	return lines.Err()
}
