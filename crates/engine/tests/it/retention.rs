//! Records go when they are too old or too many, and not before.

use std::time::Duration;

use storage::batch::BatchBuilder;

use crate::stage::{ENDS, Stage, batch, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn old_records_go() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage
            .make("orders", &[("retention.ms", "60000")])
            .await
            .unwrap();
        stage.publish("orders", batch(&["a", "b"])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(stage.bounds("orders"), (0, 2), "young enough");
        stage.skip(Duration::from_secs(61));
        eventually("the old records go", || stage.bounds("orders") == (2, 2)).await;
        let stage = stage.again(end).await;
        eventually("and stay away", || stage.bounds("orders") == (2, 2)).await;
        let next = stage.publish("orders", batch(&["c"])).await.unwrap();
        assert_eq!(next.base_offset, 2, "{end:?}: offsets go on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_beyond_the_size_go() {
    let stage = Stage::new().await;
    let settings = [("retention.ms", "-1"), ("retention.bytes", "40000")];
    stage.make("orders", &settings).await.unwrap();
    let value = "x".repeat(1000);
    for _ in 0..200 {
        stage.publish("orders", batch(&[&value])).await.unwrap();
    }
    eventually("the first records go", || stage.bounds("orders").0 >= 160).await;
    let (start, end) = stage.bounds("orders");
    assert_eq!(end, 200);
    let kept = stage.values("orders", start).await.unwrap().len();
    assert!((10..=40).contains(&kept), "{kept} records kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_time_are_as_old_as_their_append() {
    let stage = Stage::new().await;
    stage
        .make("orders", &[("retention.ms", "60000")])
        .await
        .unwrap();
    let mut builder = BatchBuilder::new(-1);
    builder.push(-1, None, Some(b"a"), &[]);
    stage.publish("orders", builder.build()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.bounds("orders"), (0, 1), "young enough");
    stage.skip(Duration::from_secs(61));
    eventually("it goes in its time", || stage.bounds("orders") == (1, 1)).await;
}
