package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/aws/credentials"
	"github.com/aws/aws-sdk-go/aws/session"
	client "github.com/aws/aws-sdk-go/service/sqs"
)

type old struct{ client *client.SQS }

func newOld(endpoint string) sqs {
	return &old{client.New(session.Must(session.NewSession(&aws.Config{
		Region:      aws.String("us-east-1"),
		Endpoint:    aws.String(endpoint),
		Credentials: credentials.NewStaticCredentials("conformance", "conformance/secret+key", ""),
		MaxRetries:  aws.Int(0),
	})))}
}

func (it *old) code(err error) string {
	var known awserr.Error
	if errors.As(err, &known) {
		return known.Code()
	}
	return fmt.Sprint(err)
}

func (it *old) create(ctx context.Context, name string, attributes map[string]string) (string, error) {
	input := &client.CreateQueueInput{QueueName: &name, Attributes: aws.StringMap(attributes)}
	made, err := it.client.CreateQueueWithContext(ctx, input)
	if err != nil {
		return "", err
	}
	return *made.QueueUrl, nil
}

func (it *old) remove(ctx context.Context, url string) error {
	_, err := it.client.DeleteQueueWithContext(ctx, &client.DeleteQueueInput{QueueUrl: &url})
	return err
}

func (it *old) url(ctx context.Context, name string) (string, error) {
	found, err := it.client.GetQueueUrlWithContext(ctx, &client.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return "", err
	}
	return *found.QueueUrl, nil
}

func (it *old) attributes(ctx context.Context, url string, names ...string) (map[string]string, error) {
	input := &client.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: aws.StringSlice(names)}
	found, err := it.client.GetQueueAttributesWithContext(ctx, input)
	if err != nil {
		return nil, err
	}
	return aws.StringValueMap(found.Attributes), nil
}

func (it *old) send(ctx context.Context, url, body, group string, attributes map[string]string) error {
	input := &client.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageAttributes: map[string]*client.MessageAttributeValue{}}
	for name, value := range attributes {
		input.MessageAttributes[name] = &client.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
	}
	if group != "" {
		input.MessageGroupId = &group
	}
	_, err := it.client.SendMessageWithContext(ctx, input)
	return err
}

func (it *old) sendMany(ctx context.Context, url string, bodies []string) (sent, failed []string, err error) {
	input := &client.SendMessageBatchInput{QueueUrl: &url}
	for i, body := range bodies {
		input.Entries = append(input.Entries, &client.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &body})
	}
	answer, err := it.client.SendMessageBatchWithContext(ctx, input)
	if err != nil && answer == nil {
		return nil, nil, err
	}
	for _, one := range answer.Successful {
		sent = append(sent, *one.Id)
	}
	for _, one := range answer.Failed {
		failed = append(failed, *one.Id)
	}
	return sent, failed, err
}

func (it *old) receive(ctx context.Context, url string, most, wait, visibility int32) ([]message, error) {
	answer, err := it.client.ReceiveMessageWithContext(ctx, &client.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: aws.Int64(int64(most)), WaitTimeSeconds: aws.Int64(int64(wait)),
		VisibilityTimeout: aws.Int64(int64(visibility)), MessageAttributeNames: aws.StringSlice([]string{"All"}),
		AttributeNames: aws.StringSlice([]string{"All"}),
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
		got = append(got, message{*one.Body, *one.ReceiptHandle, aws.StringValue(one.Attributes["ApproximateReceiveCount"]),
			aws.StringValue(one.Attributes["MessageGroupId"]), attributes})
	}
	return got, nil
}

func (it *old) visibility(ctx context.Context, url, receipt string, seconds int32) error {
	_, err := it.client.ChangeMessageVisibilityWithContext(ctx, &client.ChangeMessageVisibilityInput{
		QueueUrl: &url, ReceiptHandle: &receipt, VisibilityTimeout: aws.Int64(int64(seconds)),
	})
	return err
}

func (it *old) ack(ctx context.Context, url, receipt string) error {
	_, err := it.client.DeleteMessageWithContext(ctx, &client.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: &receipt})
	return err
}
