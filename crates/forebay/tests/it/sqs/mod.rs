//! Amazon's own client for Rust, against the real process over real sockets; and, where that client hides what is on
//! the wire, plain HTTP.

mod actions;
mod namespaces;
mod order;
mod shared;
mod traps;

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use clients::http::Http;

use crate::broker::{Broker, Options};

/// A broker and a client of it.
pub(crate) struct Sqs {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
}

impl Sqs {
    /// A fresh broker.
    pub(crate) fn start() -> Self {
        Self::with(Options::new())
    }

    /// A fresh broker, started so.
    pub(crate) fn with(options: Options) -> Self {
        Self::of(options.start(), "test", "test")
    }

    /// A client of `broker` that signs with this key.
    pub(crate) fn of(broker: Broker, key: &str, secret: &str) -> Self {
        let client = Self::client(&broker, (key, secret), "us-east-1");
        Self { broker, client }
    }

    /// A client of `broker` that signs with this key, in this region.
    pub(crate) fn client(broker: &Broker, (key, secret): (&str, &str), region: &str) -> Client {
        let at = broker.address("sqs").expect("sqs is on");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://{at}"))
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .build();
        Client::from_conf(config)
    }

    /// The same broker, killed and started again.
    pub(crate) fn restart(self) -> Self {
        Self::of(self.broker.restart(), "test", "test")
    }

    /// A connection that speaks plain HTTP.
    pub(crate) fn http(&self) -> Http {
        Http::connect(self.broker.address("sqs").expect("sqs is on"))
    }

    /// Makes a queue; returns its address.
    pub(crate) async fn queue(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        let made = self
            .client
            .create_queue()
            .queue_name(name)
            .set_attributes(Some(attributes_of(attributes)))
            .send()
            .await;
        made.unwrap().queue_url.unwrap()
    }

    /// Makes a queue in order, which finds repeats by itself.
    pub(crate) async fn fifo(&self, name: &str) -> String {
        let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
        self.queue(name, &attributes).await
    }

    /// Sends a message; returns its identity.
    pub(crate) async fn send(&self, url: &str, body: &str) -> String {
        let sent = self.client.send_message().queue_url(url).message_body(body);
        sent.send().await.unwrap().message_id.unwrap()
    }

    /// Sends a message of a group.
    pub(crate) async fn send_in(&self, url: &str, group: &str, body: &str) {
        let sent = self.client.send_message().queue_url(url);
        let sent = sent.message_body(body).message_group_id(group).send();
        sent.await.unwrap();
    }

    /// Receives up to ten messages with all there is to know of them, hidden for `seconds`.
    pub(crate) async fn receive(&self, url: &str, seconds: i32) -> Vec<Message> {
        let receive = self.client.receive_message().queue_url(url);
        let received = receive
            .max_number_of_messages(10)
            .visibility_timeout(seconds)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send();
        received.await.unwrap().messages.unwrap_or_default()
    }

    /// Deletes a message; the error's code if that is refused.
    pub(crate) async fn delete(&self, url: &str, handle: &str) -> Result<(), String> {
        let delete = self.client.delete_message().queue_url(url);
        let deleted = delete.receipt_handle(handle).send().await;
        deleted.map(|_| ()).map_err(|error| code(&error))
    }

    /// Messages that are visible, in flight, delayed.
    pub(crate) async fn depth(&self, url: &str) -> [u64; 3] {
        let all = self.attributes(url).await;
        let number = |name| all[&name].parse().unwrap();
        [
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        ]
    }

    /// All attributes of a queue.
    pub(crate) async fn attributes(&self, url: &str) -> HashMap<QueueAttributeName, String> {
        let get = self.client.get_queue_attributes().queue_url(url);
        let got = get.attribute_names(QueueAttributeName::All).send().await;
        got.unwrap().attributes.unwrap()
    }
}

/// Attributes as the client wants them.
pub(crate) fn attributes_of(pairs: &[(&str, &str)]) -> HashMap<QueueAttributeName, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (QueueAttributeName::from(*name), (*value).to_owned()))
        .collect()
}

/// An attribute of a queue that knows only when its dead letters go where.
pub(crate) fn redrive(target: &str, count: u32) -> String {
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{target}");
    format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":{count}}}")
}

/// The code of an error.
pub(crate) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    let service = error.as_service_error().expect("the service answered");
    service.code().unwrap_or_default().to_owned()
}

/// Bodies in the order received.
pub(crate) fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|m| m.body().unwrap()).collect()
}

/// A system attribute of a message.
pub(crate) fn system<'m>(
    message: &'m Message,
    name: &MessageSystemAttributeName,
) -> Option<&'m str> {
    message.attributes()?.get(name).map(String::as_str)
}
