//! What the machines ask and the desk answers.
//!
//! Always true: plain values, so that they can travel between threads.
//! Never here: how an answer is found, or told to the client.

use bstr::BString;
use bytes::Bytes;

use super::arguments::Needs;
use super::boundary::Boundary;
use super::v2::{Fetch, LsRefs, ObjectInfo};
use crate::ObjectId;
use crate::pack_request::PackRequest;

/// What a machine wants to know.
#[derive(Debug)]
pub enum Question {
    /// The refs in v0's form; `{symrefs}` in the capabilities is filled in.
    Advertise {
        /// What stands behind the first ref.
        capabilities: String,
    },
    /// The lines of `ls-refs`, with their flush.
    LsRefs(LsRefs),
    /// The lines of `object-info`, with their flush.
    ObjectInfo(ObjectInfo),
    /// v0: whether the wants may be had, and the boundary that the client shall keep.
    Boundary(Box<Needs>),
    /// v0: which of these we have.
    Haves {
        /// The objects, in order.
        ids: Vec<ObjectId>,
        /// Say of each unknown one whether we know enough by now.
        judge: bool,
        /// Say so at the end.
        judge_end: bool,
    },
    /// v0: the pack that was agreed on.
    Pack,
    /// Which of a request's open tags go along: for whoever builds the pack.
    Tags(Box<PackRequest>),
    /// v2: all of a fetch at once.
    Fetch(Box<Fetch>),
}

/// What the desk says.
#[derive(Debug)]
pub enum Answer {
    /// Framed lines.
    Lines(Bytes),
    /// The boundary, where one was asked for.
    Boundary(Option<Boundary>),
    /// One answer a have.
    Haves(HavesAnswer),
    /// The pack that was agreed on.
    Pack(Box<PackRequest>),
    /// The tags that go along.
    Tags(Vec<ObjectId>),
    /// A fetch in v2.
    Fetch(Box<FetchAnswer>),
    /// No; git tells the client by an `ERR` packet.
    Refused(String),
    /// No; git just hangs up.
    RefusedQuietly(String),
}

/// Answers to a batch of haves.
#[derive(Debug, Default)]
pub struct HavesAnswer {
    /// In the order of the question.
    pub haves: Vec<HaveAnswer>,
    /// Every want reaches something common.
    pub ready_at_end: bool,
}

/// The answer to one have.
#[derive(Debug, Clone, Copy)]
pub enum HaveAnswer {
    /// We have it; so many objects are known to be common by now.
    Known {
        /// The object.
        id: ObjectId,
        /// Common objects so far, each counted once.
        common: usize,
    },
    /// We do not.
    Unknown {
        /// The object.
        id: ObjectId,
        /// Every want reaches something common.
        ready: bool,
    },
}

/// What a fetch in v2 is told.
#[derive(Debug, Clone, Default)]
pub struct FetchAnswer {
    /// Absent where the client sent no haves, or said `done`.
    pub acknowledgments: Option<Acknowledgments>,
    /// What `want-ref` named.
    pub wanted_refs: Vec<(ObjectId, BString)>,
    /// The boundary, where shallow clients or depths are involved.
    pub boundary: Option<Boundary>,
    /// How many of the client's objects are known to be common by now.
    pub common: usize,
    /// The pack; absent while the negotiation goes on.
    pub pack: Option<PackRequest>,
}

/// The `acknowledgments` section.
#[derive(Debug, Clone, Default)]
pub struct Acknowledgments {
    /// What both sides have.
    pub common: Vec<ObjectId>,
    /// No more haves are needed.
    pub ready: bool,
}
