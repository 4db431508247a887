// The Go client, amqp091-go: what an application does, one line per case.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const patience = 20 * time.Second

var address = flag.String("address", "", "the broker")

// scene is what every case has: a connection, a channel that confirms, and a queue of its own.
type scene struct {
	connection *amqp.Connection
	channel    *amqp.Channel
	queue      string
}

func fresh(kind string) string {
	var octets [8]byte
	rand.Read(octets[:])
	return fmt.Sprintf("%s-%x", kind, octets)
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("found %#v, expected %#v", found, expected))
	}
}

func within[T any](from <-chan T) T {
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		panic("nothing came")
	}
}

func connect() *amqp.Connection {
	return must(amqp.Dial("amqp://guest:guest@" + *address + "/"))
}

// publish returns when the broker has confirmed.
func (s *scene) publish(exchange, key, body string, headers amqp.Table) bool {
	message := amqp.Publishing{Body: []byte(body), Headers: headers, DeliveryMode: amqp.Persistent}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	confirm := must(s.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, message))
	return must(confirm.WaitContext(ctx))
}

// wait gets a message that is there or comes soon.
func (s *scene) wait(queue string) amqp.Delivery {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		if message, ok, err := s.channel.Get(queue, false); err != nil || ok {
			check(err)
			return message
		}
	}
	panic("nothing came")
}

// refused asks on a channel of its own, which has to be closed with this code and words.
func (s *scene) refused(code int, words string, ask func(*amqp.Channel) error) {
	channel := must(s.connection.Channel())
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	var failure *amqp.Error
	if err := ask(channel); !errors.As(err, &failure) {
		failure = within(closed)
	}
	equal(failure.Code, code)
	if !strings.Contains(failure.Reason, words) {
		panic(failure.Reason)
	}
}

func passive(queue string) func(*amqp.Channel) error {
	return func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
		return err
	}
}

func routedByABinding(s *scene) {
	exchange := fresh("exchange")
	check(s.channel.ExchangeDeclare(exchange, "topic", false, true, false, false, nil))
	check(s.channel.QueueBind(s.queue, "a.*", exchange, false, nil))
	headers := amqp.Table{"text": "x", "number": int64(1) << 40, "list": []any{"a", true}, "none": nil}
	equal(s.publish(exchange, "a.b", "x", headers), true)
	message := s.wait(s.queue)
	equal([]string{message.Exchange, message.RoutingKey, string(message.Body)}, []string{exchange, "a.b", "x"})
	equal(message.Headers, headers)
	check(s.channel.QueueUnbind(s.queue, "a.*", exchange, nil))
}

func aThousandConfirmedAndConsumed(s *scene) {
	deliveries := must(s.channel.Consume(s.queue, "", false, false, false, false, nil))
	confirms := make([]*amqp.DeferredConfirmation, 1000)
	for number := range confirms {
		message := amqp.Publishing{Body: []byte(fmt.Sprint(number))}
		confirms[number] = must(s.channel.PublishWithDeferredConfirm("", s.queue, false, false, message))
	}
	for number := range confirms {
		delivery := within(deliveries)
		equal(string(delivery.Body), fmt.Sprint(number))
		check(delivery.Ack(false))
		equal(confirms[number].Wait(), true)
	}
	state := must(s.channel.QueueDeclarePassive(s.queue, false, false, false, false, nil))
	equal([]int{state.Messages, state.Consumers}, []int{0, 1})
}

func aLargeMessage(s *scene) {
	body := strings.Repeat("abc", 700_000)
	s.publish("", s.queue, body, nil)
	equal(bytes.Equal(s.wait(s.queue).Body, []byte(body)), true)
}

func givenBackItComesAgain(s *scene) {
	s.publish("", s.queue, "x", nil)
	first := s.wait(s.queue)
	equal(first.Redelivered, false)
	check(first.Nack(false, true))
	equal(s.wait(s.queue).Redelivered, true)
}

func rejectedItIsDeadLettered(s *scene) {
	queue := fresh("queue")
	arguments := amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.queue}
	must(s.channel.QueueDeclare(queue, false, false, true, false, arguments))
	s.publish("", queue, "x", nil)
	check(s.wait(queue).Reject(false))
	headers := s.wait(s.queue).Headers
	death := headers["x-death"].([]any)[0].(amqp.Table)
	found := []any{death["reason"], death["queue"], death["count"], death["exchange"], death["routing-keys"]}
	equal(found, []any{"rejected", queue, int64(1), "", []any{queue}})
	equal(headers["x-first-death-reason"], "rejected")
}

func nothingIsThere(s *scene) {
	_, ok, err := s.channel.Get(s.queue, true)
	check(err)
	equal(ok, false)
}

func unroutableItIsReturned(s *scene) {
	returned := s.channel.NotifyReturn(make(chan amqp.Return, 1))
	check(s.channel.Publish("amq.direct", fresh("nowhere"), true, false, amqp.Publishing{Body: []byte("back")}))
	message := within(returned)
	equal([]any{message.ReplyCode, message.ReplyText, string(message.Body)}, []any{uint16(312), "NO_ROUTE", "back"})
}

func aFullQueueRefuses(s *scene) {
	queue := fresh("queue")
	arguments := amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"}
	must(s.channel.QueueDeclare(queue, false, false, true, false, arguments))
	equal([]bool{s.publish("", queue, "fits", nil), s.publish("", queue, "does not", nil)}, []bool{true, false})
}

func prefetchHoldsBack(s *scene) {
	check(s.channel.Qos(2, 0, false))
	deliveries := must(s.channel.Consume(s.queue, "", false, false, false, false, nil))
	for range 3 {
		s.publish("", s.queue, "x", nil)
	}
	within(deliveries)
	second := within(deliveries)
	select {
	case <-deliveries:
		panic("more than was asked for")
	case <-time.After(200 * time.Millisecond):
	}
	check(second.Ack(true))
	within(deliveries)
}

func transactionsHoldBack(s *scene) {
	channel := must(s.connection.Channel())
	check(channel.Tx())
	check(channel.Publish("", s.queue, false, false, amqp.Publishing{Body: []byte("dropped")}))
	check(channel.TxRollback())
	check(channel.Publish("", s.queue, false, false, amqp.Publishing{Body: []byte("kept")}))
	check(channel.TxCommit())
	equal(string(s.wait(s.queue).Body), "kept")
	nothingIsThere(s)
}

func exclusiveQueuesAreLocked(s *scene) {
	other := connect()
	defer other.Close()
	theirs := &scene{connection: other}
	theirs.refused(405, "cannot obtain exclusive access to locked queue", passive(s.queue))
}

func whatIsMissingIsNotFound(s *scene) {
	queue := fresh("queue")
	s.refused(404, "NOT_FOUND - no queue '"+queue+"' in vhost '/'", passive(queue))
	s.refused(404, "no exchange", func(channel *amqp.Channel) error {
		return channel.ExchangeDeclarePassive(queue, "direct", false, false, false, false, nil)
	})
}

func whatDiffersIsRefused(s *scene) {
	s.refused(406, "inequivalent arg 'x-message-ttl'", func(channel *amqp.Channel) error {
		_, err := channel.QueueDeclare(s.queue, false, false, true, false, amqp.Table{"x-message-ttl": 1})
		return err
	})
}

func aConsumerIsToldThatItsQueueIsGone(s *scene) {
	queue := must(s.channel.QueueDeclare("", false, false, true, false, nil)).Name
	cancelled := s.channel.NotifyCancel(make(chan string, 1))
	deliveries := must(s.channel.Consume(queue, "mine", false, false, false, false, nil))
	must(s.channel.QueueDelete(queue, false, false, false))
	equal(within(cancelled), "mine")
	for range deliveries {
		panic("it was empty")
	}
}

func aConsumerCancels(s *scene) {
	deliveries := must(s.channel.Consume(s.queue, "mine", false, false, false, false, nil))
	check(s.channel.Cancel("mine", false))
	for range deliveries {
		panic("it was empty")
	}
	s.publish("", s.queue, "x", nil)
	equal(string(s.wait(s.queue).Body), "x")
}

func exchangesFeedExchanges(s *scene) {
	source, target := fresh("exchange"), fresh("exchange")
	for _, name := range []string{source, target} {
		check(s.channel.ExchangeDeclare(name, "fanout", false, true, false, false, nil))
	}
	check(s.channel.QueueBind(s.queue, "", target, false, nil))
	check(s.channel.ExchangeBind(target, "", source, false, nil))
	s.publish(source, "k", "x", nil)
	equal(string(s.wait(s.queue).Body), "x")
}

func heartbeatsKeepItOpen(*scene) {
	connection := must(amqp.DialConfig("amqp://guest:guest@"+*address+"/", amqp.Config{Heartbeat: time.Second}))
	time.Sleep(3500 * time.Millisecond)
	check(must(connection.Channel()).Close())
	check(connection.Close())
}

func afterAnErrorThereIsAnotherChannel(s *scene) {
	for range 5 {
		s.refused(404, "NOT_FOUND", passive(fresh("queue")))
		other := connect()
		check(must(other.Channel()).Close())
		check(other.Close())
	}
}

func whatIsNotThereEndsTheConnection(*scene) {
	connection := connect()
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	must(connection.Channel()).Qos(1, 1, false)
	equal(within(closed).Code, 540)
}

func aWrongPasswordIsRefused(*scene) {
	_, err := amqp.Dial("amqp://guest:wrong@" + *address + "/")
	equal(errors.Is(err, amqp.ErrCredentials), true)
}

func run(body func(*scene)) (failure any) {
	defer func() { failure = recover() }()
	connection := connect()
	defer connection.Close()
	channel := must(connection.Channel())
	check(channel.Confirm(false))
	queue := must(channel.QueueDeclare(fresh("queue"), false, false, true, false, nil)).Name
	body(&scene{connection, channel, queue})
	return nil
}

func main() {
	flag.Bool("quick", false, "the same here")
	flag.Parse()
	cases := []struct {
		name string
		body func(*scene)
	}{
		{"routed_by_a_binding", routedByABinding},
		{"a_thousand_confirmed_and_consumed", aThousandConfirmedAndConsumed},
		{"a_large_message", aLargeMessage},
		{"given_back_it_comes_again", givenBackItComesAgain},
		{"rejected_it_is_dead_lettered", rejectedItIsDeadLettered},
		{"nothing_is_there", nothingIsThere},
		{"unroutable_it_is_returned", unroutableItIsReturned},
		{"a_full_queue_refuses", aFullQueueRefuses},
		{"prefetch_holds_back", prefetchHoldsBack},
		{"transactions_hold_back", transactionsHoldBack},
		{"exclusive_queues_are_locked", exclusiveQueuesAreLocked},
		{"what_is_missing_is_not_found", whatIsMissingIsNotFound},
		{"what_differs_is_refused", whatDiffersIsRefused},
		{"a_consumer_is_told_that_its_queue_is_gone", aConsumerIsToldThatItsQueueIsGone},
		{"a_consumer_cancels", aConsumerCancels},
		{"exchanges_feed_exchanges", exchangesFeedExchanges},
		{"heartbeats_keep_it_open", heartbeatsKeepItOpen},
		{"after_an_error_there_is_another_channel", afterAnErrorThereIsAnotherChannel},
		{"what_is_not_there_ends_the_connection", whatIsNotThereEndsTheConnection},
		{"a_wrong_password_is_refused", aWrongPasswordIsRefused},
	}
	for _, one := range cases {
		if failure := run(one.body); failure != nil {
			fmt.Printf("not ok %s: %s\n", one.name, strings.ReplaceAll(fmt.Sprint(failure), "\n", " "))
		} else {
			fmt.Printf("ok %s\n", one.name)
		}
	}
	os.Stdout.Sync()
}
