package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

type today struct{ client *client.Client }

func newToday(endpoint string) sqs {
	return &today{client.New(client.Options{
		Region:           "us-east-1",
		BaseEndpoint:     aws.String(endpoint),
		Credentials:      credentials.NewStaticCredentialsProvider("conformance", "conformance/secret+key", ""),
		RetryMaxAttempts: 1,
	})}
}

func (it *today) code(err error) string {
	var known smithy.APIError
	if errors.As(err, &known) {
		// The client knows the new name; what it is compared with is the old one.
		if known.ErrorCode() == "QueueDoesNotExist" {
			return "AWS.SimpleQueueService.NonExistentQueue"
		}
		return known.ErrorCode()
	}
	return fmt.Sprint(err)
}

func (it *today) create(ctx context.Context, name string, attributes map[string]string) (string, error) {
	made, err := it.client.CreateQueue(ctx, &client.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		return "", err
	}
	return *made.QueueUrl, nil
}

func (it *today) remove(ctx context.Context, url string) error {
	_, err := it.client.DeleteQueue(ctx, &client.DeleteQueueInput{QueueUrl: &url})
	return err
}

func (it *today) url(ctx context.Context, name string) (string, error) {
	found, err := it.client.GetQueueUrl(ctx, &client.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return "", err
	}
	return *found.QueueUrl, nil
}

func (it *today) attributes(ctx context.Context, url string, names ...string) (map[string]string, error) {
	wanted := make([]types.QueueAttributeName, len(names))
	for i, name := range names {
		wanted[i] = types.QueueAttributeName(name)
	}
	found, err := it.client.GetQueueAttributes(ctx, &client.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: wanted})
	if err != nil {
		return nil, err
	}
	return found.Attributes, nil
}

func (it *today) send(ctx context.Context, url, body, group string, attributes map[string]string) error {
	input := &client.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageAttributes: map[string]types.MessageAttributeValue{}}
	for name, value := range attributes {
		input.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
	}
	if group != "" {
		input.MessageGroupId = &group
	}
	_, err := it.client.SendMessage(ctx, input)
	return err
}

func (it *today) sendMany(ctx context.Context, url string, bodies []string) (sent, failed []string, err error) {
	input := &client.SendMessageBatchInput{QueueUrl: &url}
	for i, body := range bodies {
		input.Entries = append(input.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &body})
	}
	answer, err := it.client.SendMessageBatch(ctx, input)
	if err != nil {
		return nil, nil, err
	}
	for _, one := range answer.Successful {
		sent = append(sent, *one.Id)
	}
	for _, one := range answer.Failed {
		failed = append(failed, *one.Id)
	}
	return sent, failed, nil
}

func (it *today) receive(ctx context.Context, url string, most, wait, visibility int32) ([]message, error) {
	answer, err := it.client.ReceiveMessage(ctx, &client.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: most, WaitTimeSeconds: wait, VisibilityTimeout: visibility,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return nil, err
	}
	var got []message
	for _, one := range answer.Messages {
		attributes := map[string]string{}
		for name, value := range one.MessageAttributes {
			attributes[name] = *value.StringValue
		}
		got = append(got, message{*one.Body, *one.ReceiptHandle, one.Attributes["ApproximateReceiveCount"],
			one.Attributes["MessageGroupId"], attributes})
	}
	return got, nil
}

func (it *today) visibility(ctx context.Context, url, receipt string, seconds int32) error {
	input := &client.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: &receipt, VisibilityTimeout: seconds}
	_, err := it.client.ChangeMessageVisibility(ctx, input)
	return err
}

func (it *today) ack(ctx context.Context, url, receipt string) error {
	_, err := it.client.DeleteMessage(ctx, &client.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: &receipt})
	return err
}
