// What an application does, with each of the three Go clients: one line per case, `ok NAME` or `not ok NAME: why`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

const patience = 30 * time.Second

// broker is what a case needs of a client; each client's file makes one.
type broker interface {
	create(ctx context.Context, topic string, partitions int) error
	remove(ctx context.Context, topic string) error
	topics(ctx context.Context) ([]string, error)
	// produce sends records of one key to a topic, compressed, and returns when all are acknowledged.
	produce(ctx context.Context, topic, codec, key string, values []string) error
	// consume reads as a group until it has so many values, and commits them.
	consume(ctx context.Context, topic, group string, count int) ([]string, error)
	// offset is that of the first record at or after a time; the end for the zero time.
	offset(ctx context.Context, topic string, at time.Time) (int64, error)
	close()
}

var names atomic.Int64

func fresh(kind string) string {
	return fmt.Sprintf("%s-%d-%d", kind, os.Getpid(), names.Add(1))
}

func values(count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("value %d", i)
	}
	return all
}

func same(found, expected []string) error {
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		return fmt.Errorf("found %v, expected %v", found, expected)
	}
	return nil
}

type check func(ctx context.Context, it broker) error

// roundTrip: what is produced with a codec is read back, whole and in order.
func roundTrip(codec string) check {
	return func(ctx context.Context, it broker) error {
		topic := fresh("topic")
		if err := it.create(ctx, topic, 1); err != nil {
			return err
		}
		if err := it.produce(ctx, topic, codec, "key", values(300)); err != nil {
			return err
		}
		got, err := it.consume(ctx, topic, fresh("group"), 300)
		if err != nil {
			return err
		}
		return same(got, values(300))
	}
}

func topicsAreMadeListedAndRemoved(ctx context.Context, it broker) error {
	topic := fresh("topic")
	if err := it.create(ctx, topic, 3); err != nil {
		return err
	}
	if it.create(ctx, topic, 3) == nil {
		return fmt.Errorf("the topic was made twice")
	}
	if err := listed(ctx, it, topic, true); err != nil {
		return err
	}
	if err := it.remove(ctx, topic); err != nil {
		return err
	}
	return listed(ctx, it, topic, false)
}

// listed waits until the topic is listed, or no longer: clients answer from what they asked a moment ago.
func listed(ctx context.Context, it broker, topic string, wanted bool) error {
	for {
		all, err := it.topics(ctx)
		if err != nil {
			return err
		}
		if slices.Contains(all, topic) == wanted {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func aGroupGoesOnWhereItStopped(ctx context.Context, it broker) error {
	topic, group := fresh("topic"), fresh("group")
	if err := it.create(ctx, topic, 1); err != nil {
		return err
	}
	for round := range 2 {
		batch := values(10 * (round + 1))[10*round:]
		if err := it.produce(ctx, topic, "none", "key", batch); err != nil {
			return err
		}
		got, err := it.consume(ctx, topic, group, 10)
		if err != nil {
			return err
		}
		if err := same(got, batch); err != nil {
			return err
		}
	}
	return nil
}

func offsetsByTime(ctx context.Context, it broker) error {
	topic := fresh("topic")
	if err := it.create(ctx, topic, 1); err != nil {
		return err
	}
	if err := it.produce(ctx, topic, "none", "key", values(5)); err != nil {
		return err
	}
	// A pause that no clock is too coarse for.
	time.Sleep(50 * time.Millisecond)
	between := time.Now()
	time.Sleep(50 * time.Millisecond)
	if err := it.produce(ctx, topic, "gzip", "key", values(5)); err != nil {
		return err
	}
	for _, one := range []struct {
		at       time.Time
		expected int64
	}{{between, 5}, {time.Time{}, 10}} {
		got, err := it.offset(ctx, topic, one.at)
		if err != nil {
			return err
		}
		if got != one.expected {
			return fmt.Errorf("offset %d, expected %d", got, one.expected)
		}
	}
	return nil
}

func main() {
	address := flag.String("address", "", "host:port")
	client := flag.String("client", "", "franz-go, sarama or kafka-go")
	flag.Parse()
	make := map[string]func(string) (broker, error){"franz-go": newFranz, "sarama": newSarama, "kafka-go": newSegmentio}[*client]
	cases := []struct {
		name string
		run  check
	}{
		{"round trip without compression", roundTrip("none")},
		{"round trip with gzip", roundTrip("gzip")},
		{"round trip with snappy", roundTrip("snappy")},
		{"round trip with lz4", roundTrip("lz4")},
		{"round trip with zstd", roundTrip("zstd")},
		{"topics are made, listed and removed", topicsAreMadeListedAndRemoved},
		{"a group goes on where it stopped", aGroupGoesOnWhereItStopped},
		{"offsets by time", offsetsByTime},
	}
	for _, one := range cases {
		if err := run(*address, make, one.run); err != nil {
			fmt.Printf("not ok %s: %v\n", one.name, err)
		} else {
			fmt.Printf("ok %s\n", one.name)
		}
	}
}

func run(address string, make func(string) (broker, error), check check) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	it, err := make(address)
	if err != nil {
		return err
	}
	defer it.close()
	return check(ctx, it)
}
