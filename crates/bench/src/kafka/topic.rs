//! Versions both sides speak, and topics that live as long as a measurement.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafka::wire::create_topics::{CreatableTopic, CreatableTopicConfig};
use kafka::wire::metadata::MetadataRequestTopic;
use kafka::wire::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse,
};

use super::connection::Connection;
use super::options::Durability;

/// How long a broker may take to create or delete a topic.
const PATIENCE_MS: i32 = 30_000;
/// How often it is asked whether the topic is ready.
const ASK_EVERY: Duration = Duration::from_millis(50);
const ASK_MAX: u32 = 600;
/// The highest versions that name topics instead of numbering them.
const PRODUCE_MAX: i16 = 12;
const FETCH_MAX: i16 = 12;
const DELETE_TOPICS_MAX: i16 = 5;
const CREATE_TOPICS_MAX: i16 = 7;
const METADATA_MAX: i16 = 12;

/// The version of each API that we and the broker speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    pub(super) produce: i16,
    pub(super) fetch: i16,
    metadata: i16,
    create_topics: i16,
    delete_topics: i16,
}

/// A broker's address and the versions to use with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) versions: Versions,
}

impl Peer {
    /// Asks the broker what it speaks.
    pub(super) async fn meet(address: SocketAddr) -> Result<Self> {
        let mut connection = Connection::open(address).await?;
        // Version 0 is the one that every broker has understood, ever.
        let answer = connection.call(&ApiVersionsRequest::default(), 0).await?;
        let theirs: ApiVersionsResponse<'_> = answer.decode()?;
        check("versions", theirs.error_code, None)?;
        let choose = |key: ApiKey, ours: i16| {
            let number = i16::from(key);
            let range = theirs.api_keys.iter().find(|range| range.api_key == number);
            let range = range.with_context(|| format!("the broker lacks {}", key.name()))?;
            let version = ours.min(range.max_version);
            ensure!(
                version >= range.min_version && key.supports(version),
                "no common version of {}",
                key.name()
            );
            Ok(version)
        };
        let versions = Versions {
            produce: choose(ApiKey::Produce, PRODUCE_MAX)?,
            fetch: choose(ApiKey::Fetch, FETCH_MAX)?,
            metadata: choose(ApiKey::Metadata, METADATA_MAX)?,
            create_topics: choose(ApiKey::CreateTopics, CREATE_TOPICS_MAX)?,
            delete_topics: choose(ApiKey::DeleteTopics, DELETE_TOPICS_MAX)?,
        };
        Ok(Self { address, versions })
    }

    /// Makes a topic and waits until all its partitions have their leader.
    pub(super) async fn create_topic(
        &self,
        name: &str,
        partitions: u16,
        durability: Option<Durability>,
    ) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        let configs = durability.map(|durability| CreatableTopicConfig {
            name: "durability".into(),
            value: Some(durability.word().into()),
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions.into(),
            replication_factor: 1,
            configs: configs.into_iter().collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: PATIENCE_MS,
            validate_only: false,
        };
        let answer = connection
            .call(&request, self.versions.create_topics)
            .await?;
        let created: CreateTopicsResponse<'_> = answer.decode()?;
        for topic in &created.topics {
            check(
                "topic creation",
                topic.error_code,
                topic.error_message.as_deref(),
            )?;
        }
        for _ in 0..ASK_MAX {
            if self.is_led(&mut connection, name, partitions).await? {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        bail!("the topic's partitions do not get leaders");
    }

    async fn is_led(
        &self,
        connection: &mut Connection,
        name: &str,
        partitions: u16,
    ) -> Result<bool> {
        let topic = MetadataRequestTopic {
            name: Some(name.into()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = connection.call(&request, self.versions.metadata).await?;
        let metadata: MetadataResponse<'_> = answer.decode()?;
        let found = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let leaders: Vec<i32> = found
            .filter(|p| p.error_code == 0 && p.leader_id >= 0)
            .map(|p| p.leader_id)
            .collect();
        ensure!(
            leaders.windows(2).all(|pair| pair[0] == pair[1]),
            "the topic's leaders are several brokers; this load drives one"
        );
        Ok(leaders.len() == usize::from(partitions))
    }

    /// Deletes a topic.
    pub(super) async fn delete_topic(&self, name: &str) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: PATIENCE_MS,
            ..DeleteTopicsRequest::default()
        };
        let answer = connection
            .call(&request, self.versions.delete_topics)
            .await?;
        let deleted: DeleteTopicsResponse<'_> = answer.decode()?;
        for topic in &deleted.responses {
            check(
                "topic deletion",
                topic.error_code,
                topic.error_message.as_deref(),
            )?;
        }
        Ok(())
    }
}

/// Turns an error code into an error.
pub(super) fn check(what: &str, code: i16, message: Option<&str>) -> Result<()> {
    match message {
        _ if code == 0 => Ok(()),
        Some(message) => bail!("{what} failed with error code {code}: {message}"),
        None => bail!("{what} failed with error code {code}"),
    }
}
