package main

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

type shopify struct {
	address string
	client  sarama.Client
	admin   sarama.ClusterAdmin
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	return config
}

func newSarama(address string) (broker, error) {
	client, err := sarama.NewClient([]string{address}, saramaConfig())
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	return &shopify{address, client, admin}, err
}

// Closing the admin closes its client.
func (it *shopify) close() { _ = it.admin.Close() }

func (it *shopify) create(_ context.Context, topic string, partitions int) error {
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}
	return it.admin.CreateTopic(topic, detail, false)
}

func (it *shopify) remove(_ context.Context, topic string) error { return it.admin.DeleteTopic(topic) }

func (it *shopify) topics(_ context.Context) ([]string, error) {
	all, err := it.admin.ListTopics()
	var names []string
	for name := range all {
		names = append(names, name)
	}
	return names, err
}

func (it *shopify) produce(_ context.Context, topic, codec, key string, values []string) error {
	config := saramaConfig()
	config.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[codec]
	producer, err := sarama.NewSyncProducer([]string{it.address}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, len(values))
	for i, value := range values {
		messages[i] = &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(key), Value: sarama.StringEncoder(value)}
	}
	return producer.SendMessages(messages)
}

// collector is a group member that stops when it has enough.
type collector struct {
	count  int
	got    []string
	enough context.CancelFunc
}

func (it *collector) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (it *collector) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (it *collector) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			it.got = append(it.got, string(message.Value))
			session.MarkMessage(message, "")
			if len(it.got) == it.count {
				session.Commit()
				it.enough()
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (it *shopify) consume(ctx context.Context, topic, group string, count int) ([]string, error) {
	member, err := sarama.NewConsumerGroup([]string{it.address}, group, saramaConfig())
	if err != nil {
		return nil, err
	}
	defer member.Close()
	inner, enough := context.WithCancel(ctx)
	defer enough()
	collected := &collector{count: count, enough: enough}
	for inner.Err() == nil {
		if err := member.Consume(inner, []string{topic}, collected); err != nil && inner.Err() == nil {
			return collected.got, err
		}
	}
	return collected.got, ctx.Err()
}

func (it *shopify) offset(_ context.Context, topic string, at time.Time) (int64, error) {
	wanted := sarama.OffsetNewest
	if !at.IsZero() {
		wanted = at.UnixMilli()
	}
	return it.client.GetOffset(topic, 0, wanted)
}
