//! Requests to engine calls and back: one file per chapter of the protocol.

mod admin;
mod assignment;
mod call;
mod cluster;
mod commits;
mod configs;
mod fetch;
mod groups;
mod log_dirs;
mod metadata;
mod offsets;
mod partitions;
pub(crate) mod produce;
mod producers;
mod replicas;
mod room;
mod subscription;
mod topics;
mod versions;

use std::io;

use bytes::Bytes;
use security::Principal;

pub(crate) use call::{Call, encode};
pub use configs::topic_defaults;
pub(crate) use room::decoded_bytes_max;
pub use subscription::subscription;

use call::malformed;

use crate::context::Context;
use crate::wire::{ApiKey, Reader, Segments, frame};

/// Largest request that carries no records, bytes. What it decodes to, and the answer to it, take several times
/// as much; a hundred thousand partitions fit.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Reads a request's header. Unknown keys end the connection, as they do elsewhere: no answer could be framed.
pub(crate) fn open(frame: &Bytes) -> io::Result<Call<'_>> {
    let mut body = Reader::new(frame);
    check_known(&mut body.clone())?;
    let header = frame::decode_request_header(&mut body).map_err(malformed)?;
    let key = ApiKey::try_from(header.request_api_key).map_err(malformed)?;
    let version = header.request_api_version;
    let known = versions::advertised(key).is_some() && key.supports(version);
    // An unknown version of this one request is answered: it is how the two sides find a common one.
    if !known && key != ApiKey::ApiVersions {
        let number = header.request_api_key;
        let text = format!("{key:?} (API key {number}) version {version} is not supported");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if key != ApiKey::Produce && frame.len() > REQUEST_BYTES_MAX {
        let text = format!(
            "{key:?} of {} bytes: at most {REQUEST_BYTES_MAX} are read",
            frame.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Call {
        key,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.map(std::borrow::Cow::into_owned),
        client_host: String::new(),
        advertised: (String::new(), 0),
        room: None,
        answer_bytes_max: usize::MAX,
        body,
    })
}

/// Refuses an API that nothing is known of, by its number.
fn check_known(header: &mut Reader<'_>) -> io::Result<()> {
    let number = header.i16().map_err(malformed)?;
    if ApiKey::try_from(number).is_ok() {
        return Ok(());
    }
    let text = format!("API key {number} is not known");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// What a client calls itself, of a request that may be of any kind: its header begins as all do.
pub(crate) fn client_of(frame: &Bytes) -> Option<String> {
    let mut header = Reader::new(frame);
    let _key_version_and_correlation = (header.i16().ok()?, header.i16().ok()?, header.i32().ok()?);
    let client = header.nullable_string(false).ok()??;
    Some(client.into_owned())
}

/// Carries out any request but Produce, which overlaps with others.
pub(crate) async fn handle(
    context: &Context,
    principal: &Principal,
    call: Call<'_>,
) -> io::Result<Segments> {
    match call.key {
        ApiKey::Fetch => fetch::fetch(context, principal, &call).await,
        ApiKey::ListOffsets => offsets::list(context, principal, &call).await,
        ApiKey::OffsetForLeaderEpoch => offsets::for_leader_epoch(context, principal, &call).await,
        ApiKey::DeleteRecords => offsets::delete_records(context, principal, &call).await,
        ApiKey::Metadata => metadata::metadata(context, principal, &call).await,
        ApiKey::DescribeCluster => metadata::describe_cluster(context, principal, &call),
        ApiKey::DescribeTopicPartitions => partitions::describe(context, principal, &call),
        ApiKey::OffsetCommit => commits::commit(context, principal, &call).await,
        ApiKey::OffsetFetch => commits::fetch(context, principal, &call).await,
        ApiKey::OffsetDelete => commits::delete(context, principal, &call).await,
        ApiKey::FindCoordinator => groups::find_coordinator(context, &call).await,
        ApiKey::JoinGroup => groups::join(context, principal, &call).await,
        ApiKey::SyncGroup => groups::sync(context, principal, &call).await,
        ApiKey::Heartbeat => groups::heartbeat(context, principal, &call).await,
        ApiKey::LeaveGroup => groups::leave(context, principal, &call).await,
        ApiKey::DescribeGroups => admin::describe_groups(context, principal, &call).await,
        ApiKey::ListGroups => admin::list_groups(context, principal, &call).await,
        ApiKey::DeleteGroups => admin::delete_groups(context, principal, &call).await,
        ApiKey::ApiVersions => versions::versions(context, &call),
        ApiKey::InitProducerId => producers::init_producer_id(context, principal, &call).await,
        ApiKey::CreateTopics => topics::create(context, principal, &call).await,
        ApiKey::DeleteTopics => topics::delete(context, principal, &call).await,
        ApiKey::CreatePartitions => topics::create_partitions(context, principal, &call).await,
        ApiKey::DescribeConfigs => configs::describe(context, principal, &call).await,
        ApiKey::AlterConfigs => configs::alter(context, principal, &call).await,
        ApiKey::IncrementalAlterConfigs => {
            configs::alter_incremental(context, principal, &call).await
        }
        ApiKey::ElectLeaders => replicas::elect(context, principal, &call).await,
        ApiKey::AlterPartitionReassignments => {
            replicas::alter_reassignments(context, principal, &call).await
        }
        ApiKey::ListPartitionReassignments => {
            replicas::list_reassignments(context, principal, &call)
        }
        ApiKey::DescribeLogDirs => log_dirs::describe(context, principal, &call).await,
        ApiKey::DescribeProducers => producers::describe(context, principal, &call).await,
        ApiKey::ListConfigResources => configs::list(context, principal, &call).await,
        ApiKey::DescribeAcls => cluster::describe_acls(context, principal, &call),
        ApiKey::CreateAcls => cluster::create_acls(context, principal, &call).await,
        ApiKey::DeleteAcls => cluster::delete_acls(context, principal, &call).await,
        ApiKey::DescribeClientQuotas => cluster::describe_quotas(context, principal, &call),
        ApiKey::DescribeUserScramCredentials => {
            cluster::describe_scram(context, principal, &call).await
        }
        ApiKey::ListTransactions => cluster::list_transactions(&call),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{other:?} is not served"),
        )),
    }
}
