package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct {
	address string
	admin   *kadm.Client
}

func newFranz(address string) (broker, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return nil, err
	}
	return &franz{address, kadm.NewClient(client)}, nil
}

func (it *franz) close() { it.admin.Close() }

func (it *franz) create(ctx context.Context, topic string, partitions int) error {
	_, err := it.admin.CreateTopic(ctx, int32(partitions), 1, nil, topic)
	return err
}

func (it *franz) remove(ctx context.Context, topic string) error {
	_, err := it.admin.DeleteTopic(ctx, topic)
	return err
}

func (it *franz) topics(ctx context.Context) ([]string, error) {
	all, err := it.admin.ListTopics(ctx)
	return all.Names(), err
}

func (it *franz) produce(ctx context.Context, topic, codec, key string, values []string) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(it.address), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(values))
	for i, value := range values {
		records[i] = &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

func (it *franz) consume(ctx context.Context, topic, group string, count int) ([]string, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(it.address), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var got []string
	for len(got) < count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return got, err
		}
		fetches.EachRecord(func(record *kgo.Record) { got = append(got, string(record.Value)) })
	}
	return got, client.CommitUncommittedOffsets(ctx)
}

func (it *franz) offset(ctx context.Context, topic string, at time.Time) (int64, error) {
	var offsets kadm.ListedOffsets
	var err error
	if at.IsZero() {
		offsets, err = it.admin.ListEndOffsets(ctx, topic)
	} else {
		offsets, err = it.admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic)
	}
	found, _ := offsets.Lookup(topic, 0)
	return found.Offset, err
}
