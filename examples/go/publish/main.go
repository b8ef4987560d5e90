// Command publish publishes each line of standard input as one record: publish pubsub://GLOBEX/orders
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
		request := &messaging.PublishRequest{Address: address, Records: []*messaging.Record{record}}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		response, err := service.Publish(ctx, request)
		cancel()
		if err != nil {
			return err
		}
		fmt.Printf("subscribers: %d, dropped: %d\n", response.Result.Subscribers, response.Result.Dropped)
	}
	return lines.Err()
}
