package main

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

type segmentio struct {
	address string
	client  *kafka.Client
}

func newSegmentio(address string) (broker, error) {
	return &segmentio{address, &kafka.Client{Addr: kafka.TCP(address), Timeout: 10 * time.Second}}, nil
}

func (it *segmentio) close() {}

func (it *segmentio) create(ctx context.Context, topic string, partitions int) error {
	answer, err := it.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (it *segmentio) remove(ctx context.Context, topic string) error {
	answer, err := it.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (it *segmentio) topics(ctx context.Context) ([]string, error) {
	answer, err := it.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, topic := range answer.Topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func (it *segmentio) produce(ctx context.Context, topic, codec, key string, values []string) error {
	writer := &kafka.Writer{
		Addr: kafka.TCP(it.address), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 20 * time.Millisecond,
		Compression: map[string]kafka.Compression{
			"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
		}[codec],
	}
	defer writer.Close()
	messages := make([]kafka.Message, len(values))
	for i, value := range values {
		messages[i] = kafka.Message{Key: []byte(key), Value: []byte(value)}
	}
	return writer.WriteMessages(ctx, messages...)
}

func (it *segmentio) consume(ctx context.Context, topic, group string, count int) ([]string, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{it.address}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	var got []string
	for len(got) < count {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return got, err
		}
		got = append(got, string(message.Value))
		if len(got) == count {
			return got, reader.CommitMessages(ctx, message)
		}
	}
	return got, nil
}

func (it *segmentio) offset(ctx context.Context, topic string, at time.Time) (int64, error) {
	wanted := kafka.LastOffsetOf(0)
	if !at.IsZero() {
		wanted = kafka.TimeOffsetOf(0, at)
	}
	answer, err := it.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {wanted}}})
	if err != nil {
		return 0, err
	}
	found := answer.Topics[topic][0]
	if at.IsZero() {
		return found.LastOffset, found.Error
	}
	for offset := range found.Offsets {
		return offset, found.Error
	}
	return -1, found.Error
}
