//! Access control lists, quotas, credentials and transactions, as a broker without any of them answers.

use std::io;

use security::{Principal, Resource, Verb};

use super::Call;
use super::room::elements;
use crate::context::Context;
use crate::error::Code;
use crate::wire::create_acls::AclCreationResult;
use crate::wire::delete_acls::DeleteAclsFilterResult;
use crate::wire::describe_user_scram_credentials::DescribeUserScramCredentialsResult;
use crate::wire::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
    DescribeAclsRequest, DescribeAclsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, ListTransactionsRequest, ListTransactionsResponse,
    Segments,
};

/// What is said of one thing besides its name, at most, bytes.
const TEXT_BYTES: usize = 80;
const DENIED: &str = "Cluster authorization failed.";
const NO_AUTHORIZER: &str = "No Authorizer is configured.";
/// States a transaction can be in.
const STATES: [&str; 8] = [
    "CompleteAbort",
    "CompleteCommit",
    "Dead",
    "Empty",
    "Ongoing",
    "PrepareAbort",
    "PrepareCommit",
    "PrepareEpochFence",
];

/// What keeps a principal from looking at the cluster, or from changing it.
fn denied(context: &Context, principal: &Principal, verb: Verb) -> Option<(Code, &'static str)> {
    let allowed = context
        .broker
        .on_behalf_of(principal)
        .allows(verb, Resource::Broker);
    (!allowed).then_some((Code::ClusterAuthorizationFailed, DENIED))
}

pub(super) fn describe_acls(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let _: DescribeAclsRequest<'_> = call.read()?;
    let none = (
        Code::SecurityDisabled,
        "No Authorizer is configured on the broker",
    );
    let (code, text) = denied(context, principal, Verb::Describe).unwrap_or(none);
    call.answer(&DescribeAclsResponse {
        error_code: code.into(),
        error_message: Some(text.into()),
        ..DescribeAclsResponse::default()
    })
}

pub(super) async fn create_acls(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: CreateAclsRequest<'_> = call.read()?;
    let count = request.creations.len();
    call.make_room(elements::<AclCreationResult<'_>>(count, count * TEXT_BYTES))
        .await?;
    let none = (Code::SecurityDisabled, NO_AUTHORIZER);
    let (code, text) = denied(context, principal, Verb::Configure).unwrap_or(none);
    let result = |_| AclCreationResult {
        error_code: code.into(),
        error_message: Some(text.into()),
    };
    call.answer(&CreateAclsResponse {
        results: request.creations.iter().map(result).collect(),
        ..CreateAclsResponse::default()
    })
}

pub(super) async fn delete_acls(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DeleteAclsRequest<'_> = call.read()?;
    let count = request.filters.len();
    call.make_room(elements::<DeleteAclsFilterResult<'_>>(
        count,
        count * TEXT_BYTES,
    ))
    .await?;
    let none = (Code::SecurityDisabled, NO_AUTHORIZER);
    let (code, text) = denied(context, principal, Verb::Configure).unwrap_or(none);
    let result = |_| DeleteAclsFilterResult {
        error_code: code.into(),
        error_message: Some(text.into()),
        ..DeleteAclsFilterResult::default()
    };
    call.answer(&DeleteAclsResponse {
        filter_results: request.filters.iter().map(result).collect(),
        ..DeleteAclsResponse::default()
    })
}

/// There are none, whatever is asked for.
pub(super) fn describe_quotas(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let _: DescribeClientQuotasRequest<'_> = call.read()?;
    let denied = denied(context, principal, Verb::Describe);
    call.answer(&DescribeClientQuotasResponse {
        error_code: denied.map_or(Code::None, |(code, _)| code).into(),
        error_message: denied.map(|(_, text)| text.into()),
        entries: denied.is_none().then(Vec::new),
        ..DescribeClientQuotasResponse::default()
    })
}

/// There are none; a user who is asked for by name does not exist.
pub(super) async fn describe_scram(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeUserScramCredentialsRequest<'_> = call.read()?;
    if let Some((code, text)) = denied(context, principal, Verb::Describe) {
        return call.answer(&DescribeUserScramCredentialsResponse {
            error_code: code.into(),
            error_message: Some(text.into()),
            ..DescribeUserScramCredentialsResponse::default()
        });
    }
    let users = request.users.iter().flatten();
    let (count, text) = users.clone().fold((0, 0), |(count, text), user| {
        (count + 1, text + 2 * user.name.len() + TEXT_BYTES)
    });
    call.make_room(elements::<DescribeUserScramCredentialsResult<'_>>(
        count, text,
    ))
    .await?;
    let results = users.map(|user| DescribeUserScramCredentialsResult {
        user: user.name.clone(),
        error_code: Code::ResourceNotFound.into(),
        error_message: Some(
            format!(
                "Attempt to describe a user credential that does not exist: {}",
                user.name
            )
            .into(),
        ),
        ..DescribeUserScramCredentialsResult::default()
    });
    call.answer(&DescribeUserScramCredentialsResponse {
        results: results.collect(),
        ..DescribeUserScramCredentialsResponse::default()
    })
}

/// None ever began.
pub(super) fn list_transactions(call: &Call<'_>) -> io::Result<Segments> {
    let request: ListTransactionsRequest<'_> = call.read()?;
    let states = request.state_filters.iter();
    let unknown = states.filter(|state| !STATES.contains(&state.as_ref()));
    call.answer(&ListTransactionsResponse {
        unknown_state_filters: unknown.cloned().collect(),
        ..ListTransactionsResponse::default()
    })
}
