//! Access control lists, quotas, credentials and transactions: a broker without them answers as such a broker does.

use kafka::wire::create_acls::AclCreation;
use kafka::wire::delete_acls::DeleteAclsFilter;
use kafka::wire::describe_user_scram_credentials::UserName;
use kafka::wire::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
    DescribeAclsRequest, DescribeAclsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, ListTransactionsRequest, ListTransactionsResponse,
};

use crate::client::Server;

/// No authorizer is configured.
const SECURITY_DISABLED: i16 = 54;
const RESOURCE_NOT_FOUND: i16 = 91;

#[tokio::test]
async fn access_control_lists_are_said_to_be_off() {
    let server = Server::start().await;
    let mut client = server.connect();
    for version in 1..=3 {
        let found: DescribeAclsResponse<'_> =
            client.ask(version, &DescribeAclsRequest::default()).await;
        let text = found.error_message.as_deref();
        assert_eq!(
            (found.error_code, text),
            (
                SECURITY_DISABLED,
                Some("No Authorizer is configured on the broker")
            )
        );
        let create = CreateAclsRequest {
            creations: vec![AclCreation::default(), AclCreation::default()],
        };
        let made: CreateAclsResponse<'_> = client.ask(version, &create).await;
        let delete = DeleteAclsRequest {
            filters: vec![DeleteAclsFilter::default()],
        };
        let gone: DeleteAclsResponse<'_> = client.ask(version, &delete).await;
        let codes = made.results.iter().map(|result| result.error_code);
        let codes = codes.chain(gone.filter_results.iter().map(|result| result.error_code));
        assert_eq!(codes.collect::<Vec<_>>(), [SECURITY_DISABLED; 3]);
    }
}

#[tokio::test]
async fn there_are_no_quotas_credentials_and_transactions() {
    let server = Server::start().await;
    let mut client = server.connect();
    let quotas: DescribeClientQuotasResponse<'_> =
        client.ask(1, &DescribeClientQuotasRequest::default()).await;
    assert_eq!((quotas.error_code, quotas.entries), (0, Some(Vec::new())));

    let of = |users| DescribeUserScramCredentialsRequest { users };
    let all: DescribeUserScramCredentialsResponse<'_> = client.ask(0, &of(None)).await;
    assert_eq!((all.error_code, all.results.len()), (0, 0));
    let one = of(Some(vec![UserName { name: "bob".into() }]));
    let one: DescribeUserScramCredentialsResponse<'_> = client.ask(0, &one).await;
    assert_eq!(one.results[0].error_code, RESOURCE_NOT_FOUND);
    assert_eq!(
        one.results[0].error_message.as_deref(),
        Some("Attempt to describe a user credential that does not exist: bob")
    );

    let list = ListTransactionsRequest {
        state_filters: vec!["Ongoing".into(), "Sleeping".into()],
        ..ListTransactionsRequest::default()
    };
    let listed: ListTransactionsResponse<'_> = client.ask(1, &list).await;
    assert_eq!((listed.error_code, listed.transaction_states.len()), (0, 0));
    assert_eq!(listed.unknown_state_filters, ["Sleeping"]);
}
