//! ApiVersions: what this broker speaks.

use std::io;

use super::Call;
use crate::context::Context;
use crate::error::Code;
use crate::wire::api_versions::ApiVersion;
use crate::wire::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, Segments};

/// The requests that are really carried out.
const SERVED: [ApiKey; 39] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::OffsetDelete,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::DescribeLogDirs,
    ApiKey::DescribeProducers,
    ApiKey::ListConfigResources,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::ListTransactions,
    ApiKey::DescribeCluster,
    ApiKey::DescribeTopicPartitions,
];

/// The advertised range of an API; `None` when it is not served.
pub(super) fn advertised(key: ApiKey) -> Option<ApiVersion> {
    if !SERVED.contains(&key) {
        return None;
    }
    let versions = key.advertised();
    Some(ApiVersion {
        api_key: key.into(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    })
}

pub(super) fn versions(context: &Context, call: &Call<'_>) -> io::Result<Segments> {
    if !call.key.supports(call.version) {
        // The oldest layout, which every client can read, and only this API's own range in it.
        let response = ApiVersionsResponse {
            error_code: Code::UnsupportedVersion.into(),
            api_keys: advertised(ApiKey::ApiVersions).into_iter().collect(),
            ..ApiVersionsResponse::default()
        };
        return Call {
            version: 0,
            ..call.clone()
        }
        .answer(&response);
    }
    let request: ApiVersionsRequest<'_> = call.read()?;
    let refused = refuse(context, &request, call.version);
    let response = ApiVersionsResponse {
        error_code: refused.unwrap_or(Code::None).into(),
        api_keys: if refused.is_some() {
            Vec::new()
        } else {
            SERVED.into_iter().filter_map(advertised).collect()
        },
        ..ApiVersionsResponse::default()
    };
    call.answer(&response)
}

fn refuse(context: &Context, request: &ApiVersionsRequest<'_>, version: i16) -> Option<Code> {
    if version >= 3
        && !(is_plain(&request.client_software_name) && is_plain(&request.client_software_version))
    {
        return Some(Code::InvalidRequest);
    }
    let other_cluster = request
        .cluster_id
        .as_deref()
        .is_some_and(|id| id != context.broker.cluster_id());
    let other_node = request.node_id >= 0 && request.node_id != context.node_id();
    // A client that was led to the wrong broker starts over from its bootstrap list.
    (version >= 5 && (other_cluster || other_node)).then_some(Code::RebootstrapRequired)
}

/// Letters and digits, with dots and dashes inside.
fn is_plain(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}
