//! Levels of the log are changed while the broker runs, as administrators' tools do it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use kafka::wire::describe_configs::DescribeConfigsResource;
use kafka::wire::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use kafka::wire::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::broker::{Broker, Options};
use crate::client::{Client, answer};

const LOGGERS: i8 = 8;

/// Gives a logger a level, or takes it away; the error code of the answer.
async fn set(client: &mut Client, logger: &str, level: Option<&str>) -> i16 {
    let asked = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: LOGGERS,
            resource_name: "1".into(),
            configs: vec![AlterableConfig {
                name: logger.into(),
                config_operation: i8::from(level.is_none()),
                value: level.map(Into::into),
            }],
        }],
        ..IncrementalAlterConfigsRequest::default()
    };
    let body = client.call(1, &asked).await.unwrap();
    let answered: IncrementalAlterConfigsResponse<'_> = answer(&body, 1);
    answered.responses[0].error_code
}

async fn level(client: &mut Client, logger: &str) -> String {
    let asked = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: LOGGERS,
            resource_name: "1".into(),
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    };
    let body = client.call(4, &asked).await.unwrap();
    let answered: DescribeConfigsResponse<'_> = answer(&body, 4);
    let mut configs = answered.results[0].configs.iter();
    let found = configs.find(|config| config.name == logger);
    found.unwrap().value.as_deref().unwrap().to_owned()
}

/// Has the broker notice that a peer sends nonsense; what it says of that, where it says so.
fn nonsense(broker: &Broker) -> String {
    let mut stream = TcpStream::connect(broker.address("kafka").unwrap()).unwrap();
    let peer = stream.local_addr().unwrap();
    stream.write_all(&[0xff; 8]).unwrap();
    // It is logged before the connection goes.
    let _ = stream.read_to_end(&mut Vec::new());
    format!("protocol error peer={peer}")
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_of_the_log_change_while_it_runs() {
    let broker = Options::new().env("FOREBAY__LOG__LEVEL", "info").start();
    let at = broker.address("kafka").unwrap();
    let mut client = Client::connect(at).await.unwrap();
    assert_eq!(level(&mut client, "root").await, "INFO");
    assert_eq!(level(&mut client, "kafka").await, "INFO");
    let said = nonsense(&broker);
    broker.await_log(&said);

    assert_eq!(set(&mut client, "kafka", Some("FATAL")).await, 0);
    assert_eq!(level(&mut client, "kafka").await, "FATAL");
    assert_eq!(level(&mut client, "root").await, "INFO");
    let unsaid = nonsense(&broker);
    assert_eq!(set(&mut client, "kafka", None).await, 0);
    assert_eq!(level(&mut client, "kafka").await, "INFO");
    let said = nonsense(&broker);
    broker.await_log(&said);
    assert!(!broker.log().contains(&unsaid), "{}", broker.log());

    assert_eq!(set(&mut client, "root", Some("DEBUG")).await, 0);
    assert_eq!(level(&mut client, "storage").await, "DEBUG");
    assert_eq!(set(&mut client, "root", Some("LOUD")).await, 40);
    assert_eq!(set(&mut client, "root", None).await, 42);
    assert_eq!(set(&mut client, "nobody", Some("INFO")).await, 40);
}
