//! What happens to the requests of a connection on their way.

use std::time::Duration;

use super::refusal::Refusal;
use super::request::Act;
use super::store::{Key, Part};

/// Says what becomes of each request. Asked once for each, in the order in which they arrive.
pub type Weather = Box<dyn FnMut(&Sighted) -> Fate + Send>;

/// A request, as the weather sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighted {
    /// User name.
    pub user: String,
    /// What it is to do.
    pub act: Act,
    /// With which object; the name is empty for lists, watches and creations.
    pub key: Key,
    /// With which part of it.
    pub part: Part,
    /// Its place among the requests of the connection, from 1.
    pub number: u64,
    /// Its place among the writes of the connection, from 1; `None` if it is no write.
    pub write: Option<u64>,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// The request arrives this much later. Whether the client still waits makes no difference.
    pub request_delay: Duration,
    /// The answer arrives this much later.
    pub answer_delay: Duration,
    /// What is done.
    pub deed: Deed,
    /// What becomes of a watch.
    pub stream: Stream,
}

/// What is done with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Deed {
    /// What it asks for.
    #[default]
    Pass,
    /// Nothing, and the client is told this.
    Refuse(Refusal),
    /// Nothing, and the connection breaks.
    Drop,
    /// What it asks for, and the connection breaks before the answer.
    LoseAnswer,
    /// What it asks for, and no answer ever comes.
    Silence,
    /// What it asks for, twice; the answer is the second one.
    Twice,
    /// The client dies before the request leaves it.
    KillBefore,
    /// The client dies when it is done and before it learns of it.
    KillAfter,
}

/// What becomes of a watch. Events are counted from 0; bookmarks are events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// It goes on.
    #[default]
    Pass,
    /// The connection breaks before this event, or, with `within`, in the middle of it.
    Cut {
        /// Which event.
        event: u64,
        /// Whether half of the event arrives.
        within: bool,
    },
    /// Nothing comes any more from this event on, and the connection stays open.
    Silent {
        /// Which event.
        event: u64,
    },
    /// Every event arrives this much later.
    Late(Duration),
    /// This event arrives twice.
    Twice {
        /// Which event.
        event: u64,
    },
    /// This event does not arrive; then the stream ends, and the next watch of the kind is refused with 410.
    Lose {
        /// Which event.
        event: u64,
    },
}

impl From<Deed> for Fate {
    fn from(deed: Deed) -> Self {
        Self { deed, ..Self::default() }
    }
}

impl From<Stream> for Fate {
    fn from(stream: Stream) -> Self {
        Self { stream, ..Self::default() }
    }
}
