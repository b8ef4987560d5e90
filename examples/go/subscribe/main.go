// Command subscribe prints the payload of each record that arrives, one line each: subscribe 'orders/**' [COUNT]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"example.org/fedgate/gateway"
	messaging "example.org/fedgate/gen/fedgate/messaging/v1"
)

func main() {
	count := -1
	if len(os.Args) == 3 {
		var err error
		if count, err = strconv.Atoi(os.Args[2]); err != nil {
			log.Fatal(err)
		}
	} else if len(os.Args) != 2 {
		log.Fatal("usage: subscribe PATTERN [COUNT]")
	}
	if err := subscribe(os.Args[1], count); err != nil {
		log.Fatal(err)
	}
}

// subscribe ends after count records; never when count is negative.
func subscribe(pattern string, count int) error {
	connection, err := gateway.Dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	service := messaging.NewMessagingServiceClient(connection)
	stream, err := service.Subscribe(ctx, &messaging.SubscribeRequest{Pattern: pattern})
	if err != nil {
		return err
	}
	for seen := 0; count < 0 || seen < count; {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		switch notice := response.GetNotice(); {
		case notice.GetOpened() != nil:
			fmt.Fprintln(os.Stderr, "subscribed")
		case notice.GetDropped() != nil:
			fmt.Fprintf(os.Stderr, "lost %d records\n", notice.GetDropped().Records)
		}
		for _, record := range response.Records {
			fmt.Printf("%s %s %s\n", response.SenderOrg, response.Channel, record.Payload)
			seen++
		}
	}
	return nil
}
