//! One request on its way through a handler, and what handlers make of names and answers.

use std::sync::Arc;

use engine::queue::Queue;
use net::SharedPermit;
use security::Principal;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::arn::{self, Home, Located, Namespace, UrlStyle};
use crate::context::Context;
use crate::error::{Fault, Outcome};
use crate::wire::Members;

/// One request on its way through a handler.
pub(crate) struct Call<'a> {
    pub(crate) context: &'a Context,
    /// What addresses of queues begin with.
    pub(crate) base_url: String,
    /// How they say their region.
    pub(crate) url_style: UrlStyle,
    /// The queue the path names, if it names one.
    pub(crate) path_queue: Option<Located<'a>>,
    /// It came by the Query protocol.
    pub(crate) is_query: bool,
    /// The trace the request belongs to, as its header says.
    pub(crate) trace: Option<&'a str>,
    /// Whose queues it is about where it does not say it.
    pub(crate) namespace: Namespace,
    pub(crate) principal: Principal,
    pub(crate) access_key: Option<String>,
    /// Room for the answer.
    pub(crate) room: SharedPermit,
}

/// A member that names a queue, and nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OfQueue {
    #[serde(default)]
    pub(super) queue_url: Option<String>,
}

/// The members by which an action names its queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    queue_url: Option<String>,
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

/// The answer of actions that have nothing to say.
pub(super) fn nothing() -> Value {
    Value::Object(Map::new())
}

/// An answer its members are moved into; the macro for this copies them, bodies of messages included.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter();
    Value::Object(members.map(|(name, v)| (name.to_owned(), v)).collect())
}

impl Call<'_> {
    pub(super) fn home(&self) -> &Home {
        &self.context.home
    }

    /// The name by which the broker knows a queue of the caller's.
    pub(super) fn qualify(&self, name: &str) -> String {
        self.home().qualify(&self.namespace, name)
    }

    /// The queue a request is about: the one its address names, or its path.
    pub(super) fn queue(&self, url: Option<&str>) -> Outcome<Arc<Queue>> {
        let in_url;
        let located = if let Some(url) = url {
            // An address that names no queue names one that does not exist.
            in_url = arn::in_url(url).ok_or_else(Fault::no_queue)?;
            &in_url
        } else {
            let in_path = self.path_queue.as_ref();
            in_path.ok_or_else(|| Fault::missing("QueueUrl"))?
        };
        self.located(located)
    }

    /// The queue at a place.
    pub(super) fn located(&self, located: &Located<'_>) -> Outcome<Arc<Queue>> {
        let of = located.namespace(&self.namespace);
        let name = self.home().qualify(&of, located.name);
        let broker = &self.context.broker;
        broker
            .on_behalf_of(&self.principal)
            .queue(&name)
            .map_err(|error| match error {
                engine::Error::UnknownQueue
                    if broker.on_behalf_of(&self.principal).is_only_topic(&name) =>
                {
                    Fault::only_topic(&name)
                }
                error => error.into(),
            })
    }

    /// Attaches a queue to a topic whose name is used as a queue's, where the settings say so.
    pub(super) async fn attach(&self, members: &Members) -> Outcome<()> {
        let broker = &self.context.broker;
        if !broker.settings().attach_topics {
            return Ok(());
        }
        let Ok(named) = members.clone().read::<Named>() else {
            // The action itself says what is wrong with them.
            return Ok(());
        };
        let in_url = named.queue_url.as_deref().and_then(arn::in_url);
        let by_name = named.queue_name.as_deref().map(|name| Located {
            account: named.owner.as_deref().filter(|owner| !owner.is_empty()),
            region: None,
            name,
        });
        let located = in_url.or(by_name);
        let Some(located) = located.as_ref().or(self.path_queue.as_ref()) else {
            return Ok(());
        };
        let of = located.namespace(&self.namespace);
        let name = self.home().qualify(&of, located.name);
        Ok(broker
            .on_behalf_of(&self.principal)
            .attach_on_use(&name)
            .await?)
    }

    /// Sees to it that the caller's namespace is there. The broker limits how many vhosts there are.
    pub(super) async fn make_vhost(&self) -> Outcome<()> {
        let access = self.context.broker.on_behalf_of(&self.principal);
        if let Some(vhost) = self.home().vhost(&self.namespace) {
            access.create_vhost(&vhost).await?;
        }
        Ok(())
    }

    /// The address of a queue, by the name the broker knows it by.
    pub(super) fn url(&self, qualified: &str) -> String {
        let (of, name) = self.home().split(qualified);
        arn::url(&self.base_url, self.url_style, &of, name)
    }

    /// Its resource name, likewise.
    pub(super) fn arn(&self, qualified: &str) -> String {
        self.home().arn(qualified)
    }

    /// Its plain name, likewise.
    pub(super) fn plain<'q>(&self, qualified: &'q str) -> &'q str {
        self.home().split(qualified).1
    }
}
