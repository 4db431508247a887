// What an application does with today's Go client and with the one of 2017 that speaks the Query protocol. One line per
// case: `ok NAME` or `not ok NAME: why`. Both clients check the checksums of what they get.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

const patience = 40 * time.Second

// message is what a case looks at.
type message struct {
	body, receipt, count, group string
	attributes                  map[string]string
}

// sqs is what a case needs of a client.
type sqs interface {
	create(ctx context.Context, name string, attributes map[string]string) (string, error)
	remove(ctx context.Context, url string) error
	url(ctx context.Context, name string) (string, error)
	attributes(ctx context.Context, url string, names ...string) (map[string]string, error)
	send(ctx context.Context, url, body, group string, attributes map[string]string) error
	sendMany(ctx context.Context, url string, bodies []string) (sent []string, failed []string, err error)
	receive(ctx context.Context, url string, most, wait, visibility int32) ([]message, error)
	visibility(ctx context.Context, url, receipt string, seconds int32) error
	ack(ctx context.Context, url, receipt string) error
	// code is the error's code, as applications match on it.
	code(err error) string
}

var names atomic.Int64

func fresh(kind string) string {
	return fmt.Sprintf("%s-%d-%d", kind, os.Getpid(), names.Add(1))
}

func equal[T comparable](found, expected T) error {
	if found != expected {
		return fmt.Errorf("found %v, expected %v", found, expected)
	}
	return nil
}

type check func(ctx context.Context, it sqs) error

func aMessageAndItsAttributes(ctx context.Context, it sqs) error {
	url, err := it.create(ctx, fresh("queue"), map[string]string{"VisibilityTimeout": "30"})
	if err != nil {
		return err
	}
	if err := it.send(ctx, url, "wörd ☕", "", map[string]string{"shop": "bar"}); err != nil {
		return err
	}
	got, err := it.receive(ctx, url, 1, 5, 30)
	if err != nil || len(got) != 1 {
		return fmt.Errorf("received %d: %w", len(got), err)
	}
	found := fmt.Sprint(got[0].body, got[0].attributes, got[0].count)
	if err := equal(found, fmt.Sprint("wörd ☕", map[string]string{"shop": "bar"}, "1")); err != nil {
		return err
	}
	if err := it.visibility(ctx, url, got[0].receipt, 0); err != nil {
		return err
	}
	again, err := it.receive(ctx, url, 1, 5, 30)
	if err != nil || len(again) != 1 {
		return fmt.Errorf("received %d: %w", len(again), err)
	}
	if err := equal(again[0].count, "2"); err != nil {
		return err
	}
	return it.ack(ctx, url, again[0].receipt)
}

func batches(ctx context.Context, it sqs) error {
	url, err := it.create(ctx, fresh("queue"), nil)
	if err != nil {
		return err
	}
	sent, failed, err := it.sendMany(ctx, url, []string{"a", "b", "\x01"})
	if err != nil {
		// Some clients refuse what the service would refuse.
		return err
	}
	return equal(fmt.Sprint(sent, failed), "[0 1] [2]")
}

func aFifoQueue(ctx context.Context, it sqs) error {
	url, err := it.create(ctx, fresh("queue")+".fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	if err != nil {
		return err
	}
	for _, body := range []string{"1", "2", "1"} {
		if err := it.send(ctx, url, body, "g", nil); err != nil {
			return err
		}
	}
	got, err := it.receive(ctx, url, 10, 5, 30)
	if err != nil || len(got) != 2 {
		return fmt.Errorf("received %d: %w", len(got), err)
	}
	return equal(fmt.Sprint(got[0].body, got[1].body, got[0].group), fmt.Sprint("1", "2", "g"))
}

func deadLetters(ctx context.Context, it sqs) error {
	dead, err := it.create(ctx, fresh("dead"), nil)
	if err != nil {
		return err
	}
	arn, err := it.attributes(ctx, dead, "QueueArn")
	if err != nil {
		return err
	}
	policy := fmt.Sprintf(`{"deadLetterTargetArn":"%s","maxReceiveCount":"1"}`, arn["QueueArn"])
	url, err := it.create(ctx, fresh("queue"), map[string]string{"RedrivePolicy": policy})
	if err != nil {
		return err
	}
	if err := it.send(ctx, url, "poison", "", nil); err != nil {
		return err
	}
	failed, err := it.receive(ctx, url, 1, 5, 30)
	if err != nil || len(failed) != 1 {
		return fmt.Errorf("received %d: %w", len(failed), err)
	}
	if err := it.visibility(ctx, url, failed[0].receipt, 0); err != nil {
		return err
	}
	if _, err := it.receive(ctx, url, 1, 0, 30); err != nil {
		return err
	}
	got, err := it.receive(ctx, dead, 1, 10, 30)
	if err != nil || len(got) != 1 {
		return fmt.Errorf("received %d: %w", len(got), err)
	}
	return equal(got[0].body, "poison")
}

func whatIsMissing(ctx context.Context, it sqs) error {
	_, err := it.url(ctx, fresh("never"))
	if err := equal(it.code(err), "AWS.SimpleQueueService.NonExistentQueue"); err != nil {
		return err
	}
	url, err := it.create(ctx, fresh("queue"), nil)
	if err != nil {
		return err
	}
	err = it.ack(ctx, url, "nonsense")
	return equal(it.code(err), "ReceiptHandleIsInvalid")
}

func main() {
	address := flag.String("address", "", "host:port")
	client := flag.String("client", "", "aws-sdk-go-v2 or aws-sdk-go")
	flag.Parse()
	it := map[string]func(string) sqs{"aws-sdk-go-v2": newToday, "aws-sdk-go": newOld}[*client]("http://" + *address)
	for _, one := range []struct {
		name string
		run  check
	}{
		{"a message and its attributes", aMessageAndItsAttributes},
		{"batches", batches},
		{"a FIFO queue", aFifoQueue},
		{"dead letters", deadLetters},
		{"what is missing", whatIsMissing},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := one.run(ctx, it); err != nil {
			fmt.Printf("not ok %s %s: %v\n", *client, one.name, err)
		} else {
			fmt.Printf("ok %s %s\n", *client, one.name)
		}
		cancel()
	}
}
