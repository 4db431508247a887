//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use kafka::wire::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka::wire::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs,
    incremental_alter_configs as incremental,
};

use crate::client::{Client, Server};
use crate::kit::Batch;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn ready() -> (Server, Client) {
    let server = Server::with(|engine, _| {
        let defaults = &mut engine.topic_defaults;
        defaults.insert("max.message.bytes".into(), "2000000".into());
        defaults.insert("cleanup.policy".into(), "compact".into());
    })
    .await;
    let mut client = server.connect();
    client
        .create(
            "orders",
            1,
            &[("retention.ms", "60000"), ("max.message.bytes", "3000")],
        )
        .await;
    (server, client)
}

async fn describe(
    client: &mut Client,
    target: (i8, &'static str),
    keys: &[&'static str],
    all: bool,
) -> DescribeConfigsResult<'static> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: target.0,
            resource_name: target.1.into(),
            configuration_keys: (!keys.is_empty())
                .then(|| keys.iter().map(|k| (*k).into()).collect()),
        }],
        include_synonyms: all,
        include_documentation: all,
    };
    let mut answer: DescribeConfigsResponse<'_> = client.ask(4, &request).await;
    answer.results.remove(0)
}

async fn value(client: &mut Client, name: &'static str) -> String {
    let shown = describe(client, (TOPIC, "orders"), &[name], false).await;
    shown.configs[0].value.clone().unwrap().into_owned()
}

fn find<'a>(
    shown: &'a DescribeConfigsResult<'_>,
    name: &str,
) -> &'a DescribeConfigsResourceResult<'a> {
    shown
        .configs
        .iter()
        .find(|c| c.name == name)
        .unwrap_or_else(|| panic!("{name} is not listed"))
}

#[tokio::test]
async fn every_value_says_where_it_comes_from() {
    let (_server, mut client) = ready().await;
    let shown = describe(&mut client, (TOPIC, "orders"), &[], true).await;
    let layers = |name: &str| -> Vec<(String, i8)> {
        let config = find(&shown, name);
        let of = |s: &kafka::wire::describe_configs::DescribeConfigsSynonym<'_>| {
            (s.value.clone().unwrap().into_owned(), s.source)
        };
        assert_eq!(config.config_source, config.synonyms[0].source);
        assert!(
            config
                .documentation
                .as_ref()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(!config.read_only && !config.is_sensitive);
        config.synonyms.iter().map(of).collect()
    };
    let own = |value: &str, source| (value.to_owned(), source);
    assert_eq!(
        layers("retention.ms"),
        [own("60000", 1), own("604800000", 5)]
    );
    assert_eq!(
        layers("max.message.bytes"),
        [own("3000", 1), own("2000000", 4), own("1048588", 5)]
    );
    assert_eq!(
        layers("cleanup.policy"),
        [own("compact", 4), own("delete", 5)]
    );
    assert_eq!(layers("segment.bytes"), [own("1073741824", 5)]);
    for (name, kind) in [
        ("preallocate", 1),
        ("compression.type", 2),
        ("max.message.bytes", 3),
        ("retention.ms", 5),
        ("min.cleanable.dirty.ratio", 6),
        ("cleanup.policy", 7),
    ] {
        assert_eq!(find(&shown, name).config_type, kind, "{name}");
    }
}

#[tokio::test]
async fn only_the_keys_asked_for_are_shown() {
    let (_server, mut client) = ready().await;
    let shown = describe(
        &mut client,
        (TOPIC, "orders"),
        &["retention.ms", "no.such.key"],
        false,
    )
    .await;
    let names: Vec<_> = shown.configs.iter().map(|c| c.name.as_ref()).collect();
    assert_eq!(names, ["retention.ms"]);
    assert!(shown.configs[0].synonyms.is_empty() && shown.configs[0].documentation.is_none());
}

#[tokio::test]
async fn a_broker_is_described_by_its_id_or_by_the_empty_name() {
    let (_server, mut client) = ready().await;
    for name in ["1", ""] {
        let shown = describe(&mut client, (BROKER, name), &[], true).await;
        assert_eq!(shown.error_code, 0);
        assert_eq!(
            find(&shown, "auto.create.topics.enable").value.as_deref(),
            Some("true")
        );
        assert_eq!(find(&shown, "num.partitions").value.as_deref(), Some("1"));
        assert!(find(&shown, "num.partitions").read_only);
    }
    assert_eq!(
        describe(&mut client, (BROKER, "2"), &[], false)
            .await
            .error_code,
        42
    );
    assert_eq!(
        describe(&mut client, (BROKER, "x"), &[], false)
            .await
            .error_code,
        42
    );
    assert_eq!(
        describe(&mut client, (TOPIC, "nowhere"), &[], false)
            .await
            .error_code,
        3
    );
    assert_eq!(
        describe(&mut client, (99, "x"), &[], false)
            .await
            .error_code,
        42
    );
}

/// A change: kind, setting, value.
type Change = (i8, &'static str, Option<&'static str>);

async fn change(
    client: &mut Client,
    target: (i8, &'static str),
    changes: &[Change],
    validate_only: bool,
) -> i16 {
    let configs = changes
        .iter()
        .map(
            |(config_operation, name, value)| incremental::AlterableConfig {
                name: (*name).into(),
                config_operation: *config_operation,
                value: value.map(Into::into),
            },
        )
        .collect();
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: target.0,
            resource_name: target.1.into(),
            configs,
        }],
        validate_only,
    };
    let answer: IncrementalAlterConfigsResponse<'_> = client.ask(1, &request).await;
    let result = &answer.responses[0];
    assert_eq!(
        result.error_code != 0,
        result.error_message.is_some(),
        "{result:?}"
    );
    result.error_code
}

async fn orders(client: &mut Client, changes: &[Change]) -> i16 {
    change(client, (TOPIC, "orders"), changes, false).await
}

#[tokio::test]
async fn settings_are_set_and_given_back_to_their_default() {
    let (server, mut client) = ready().await;
    assert_eq!(
        orders(
            &mut client,
            &[
                (SET, "retention.ms", Some("5")),
                (SET, "segment.ms", Some("7"))
            ]
        )
        .await,
        0
    );
    assert_eq!(value(&mut client, "retention.ms").await, "5");
    assert_eq!(value(&mut client, "segment.ms").await, "7");
    assert_eq!(
        orders(&mut client, &[(DELETE, "retention.ms", None)]).await,
        0
    );
    assert_eq!(value(&mut client, "retention.ms").await, "604800000");
    assert_eq!(
        value(&mut client, "max.message.bytes").await,
        "3000",
        "others are left alone"
    );
    assert_eq!(
        change(
            &mut client,
            (TOPIC, "orders"),
            &[(SET, "segment.ms", Some("9"))],
            true
        )
        .await,
        0
    );
    assert_eq!(
        value(&mut client, "segment.ms").await,
        "7",
        "that was only a question"
    );
    drop(client);
    // Broker defaults come from the command line, and are the fixture's again.
    let server = server.restart().await;
    assert_eq!(value(&mut server.connect(), "segment.ms").await, "7");
}

#[tokio::test]
async fn lists_are_appended_to_and_subtracted_from() {
    let (_server, mut client) = ready().await;
    assert_eq!(
        orders(&mut client, &[(APPEND, "cleanup.policy", Some("delete"))]).await,
        0
    );
    assert_eq!(
        value(&mut client, "cleanup.policy").await,
        "compact,delete",
        "starting from the broker's default"
    );
    assert_eq!(
        orders(&mut client, &[(APPEND, "cleanup.policy", Some("delete"))]).await,
        0
    );
    assert_eq!(
        value(&mut client, "cleanup.policy").await,
        "compact,delete",
        "nothing twice"
    );
    assert_eq!(
        orders(
            &mut client,
            &[(SUBTRACT, "cleanup.policy", Some("compact"))]
        )
        .await,
        0
    );
    assert_eq!(value(&mut client, "cleanup.policy").await, "delete");
    assert_eq!(
        orders(&mut client, &[(APPEND, "cleanup.policy", Some("shred"))]).await,
        40
    );
    assert_eq!(
        orders(&mut client, &[(APPEND, "retention.ms", Some("5"))]).await,
        40,
        "not a list"
    );
}

#[tokio::test]
async fn impossible_changes_get_the_right_code_and_change_nothing() {
    let (_server, mut client) = ready().await;
    let cases: [(&[Change], i16); 6] = [
        (&[(SET, "no.such.key", Some("1"))], 40),
        (&[(SET, "retention.ms", Some("soon"))], 40),
        (&[(SET, "retention.ms", None)], 42),
        (&[(9, "retention.ms", Some("1"))], 42),
        (
            &[
                (SET, "retention.ms", Some("1")),
                (DELETE, "retention.ms", None),
            ],
            42,
        ),
        (
            &[
                (SET, "retention.ms", Some("1")),
                (SET, "segment.ms", Some("x")),
            ],
            40,
        ),
    ];
    for (changes, code) in cases {
        assert_eq!(orders(&mut client, changes).await, code, "{changes:?}");
    }
    assert_eq!(value(&mut client, "retention.ms").await, "60000");
    let set: &[Change] = &[(SET, "retention.ms", Some("1"))];
    assert_eq!(change(&mut client, (TOPIC, "nowhere"), set, false).await, 3);
    assert_eq!(change(&mut client, (BROKER, "0"), set, false).await, 42);
    assert_eq!(change(&mut client, (99, "x"), set, false).await, 42);
}

#[tokio::test]
async fn a_change_takes_effect_at_once() {
    let (_server, mut client) = ready().await;
    assert_eq!(
        client
            .produce("orders", 0, &Batch::sized(5000))
            .await
            .error_code,
        10
    );
    assert_eq!(
        orders(&mut client, &[(DELETE, "max.message.bytes", None)]).await,
        0
    );
    assert_eq!(
        client
            .produce("orders", 0, &Batch::sized(5000))
            .await
            .error_code,
        0
    );
}

#[tokio::test]
async fn the_older_request_replaces_all_settings() {
    let (_server, mut client) = ready().await;
    for version in 0..=2 {
        orders(&mut client, &[(SET, "retention.ms", Some("5"))]).await;
        let request = |value: Option<&'static str>, validate_only| AlterConfigsRequest {
            resources: vec![alter_configs::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: "orders".into(),
                configs: vec![alter_configs::AlterableConfig {
                    name: "segment.ms".into(),
                    value: value.map(Into::into),
                }],
            }],
            validate_only,
        };
        let answer: AlterConfigsResponse<'_> = client.ask(version, &request(Some("8"), true)).await;
        assert_eq!(answer.responses[0].error_code, 0);
        assert_eq!(value(&mut client, "retention.ms").await, "5");
        let answer: AlterConfigsResponse<'_> =
            client.ask(version, &request(Some("8"), false)).await;
        assert_eq!(answer.responses[0].error_code, 0);
        assert_eq!(value(&mut client, "retention.ms").await, "604800000");
        assert_eq!(value(&mut client, "segment.ms").await, "8");
        let answer: AlterConfigsResponse<'_> =
            client.ask(version, &request(Some("soon"), false)).await;
        assert_eq!(answer.responses[0].error_code, 40);
    }
}
