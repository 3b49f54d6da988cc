//! The desk: answers a conversation's questions from one snapshot.
//!
//! Always true: every answer of one conversation comes from the same snapshot; wants and haves
//! are looked up through the repository that was asked.
//! Never here: the wire. A desk blocks on disk reads and walks history: it belongs on a worker.

use std::collections::HashSet;
use std::sync::Arc;

use bstr::BString;

use super::arguments::Needs;
use super::boundary::{self, Boundary, Bounded};
use super::negotiation::Negotiation;
use super::packing::{self, Agreed};
use super::question::{Acknowledgments, Answer, FetchAnswer, HaveAnswer, HavesAnswer, Question};
use super::recall;
use super::refs::View;
use super::settings::{Server, Settings};
use super::v2::{Fetch, ObjectInfo};
use super::walk::selected;
use crate::ObjectId;
use crate::history::{Cancel, History, HistoryError};
use crate::objects::StoreError;
use crate::pack_request::PackRequest;
use crate::repository::Snapshot;

/// The desk could not answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// An object could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// History could not be walked.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// A refusal on its way out.
#[derive(Debug)]
pub(super) enum Refusal {
    Loud(String),
    Quiet(String),
    Failed(DeskError),
}

/// Answers one conversation.
#[derive(Debug)]
pub struct Desk {
    snapshot: Arc<Snapshot>,
    server: Server,
    settings: Settings,
    stateless: bool,
    history: History,
    negotiation: Negotiation,
    needs: Needs,
    /// The `deepen-not` refs of `needs`.
    not: Vec<ObjectId>,
    bounded: Bounded,
    /// No fetch was answered yet.
    is_fresh: bool,
    /// See [`packing::COMMITS_MAX`].
    packing_commits_max: usize,
}

// === impl Refusal ===

impl<E: Into<DeskError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

// === impl Desk ===

impl Desk {
    /// A desk for one conversation, which ends where `cancel` says so.
    pub fn new(
        snapshot: Arc<Snapshot>,
        server: Server,
        settings: Settings,
        stateless: bool,
        cancel: Cancel,
    ) -> Self {
        let history = History::new(Arc::clone(&snapshot.store), cancel);
        Self {
            snapshot,
            server,
            settings,
            stateless,
            history,
            negotiation: Negotiation::default(),
            needs: Needs::default(),
            not: Vec::new(),
            bounded: Bounded::default(),
            is_fresh: true,
            packing_commits_max: packing::COMMITS_MAX,
        }
    }

    /// Packs are requested after walks of other lengths.
    #[cfg(test)]
    pub(super) fn with_packing_commits_max(self, commits_max: usize) -> Self {
        Self { packing_commits_max: commits_max, ..self }
    }

    /// The answer, if it was made from this snapshot before: costs no I/O.
    pub fn remembered(&mut self, question: &Question) -> Option<Answer> {
        let lines = match question {
            Question::Fetch(fetch) if self.is_fresh => {
                let key = recall::key(&self.view(), fetch)?;
                let answer = recall::recall(&self.snapshot.memo, &key)?;
                self.is_fresh = false;
                return Some(Answer::Fetch(Box::new(answer)));
            }
            Question::Advertise { capabilities } => self.view().kept_advertisement(capabilities),
            Question::LsRefs(arguments) => self.view().kept_ls_refs(arguments),
            Question::ObjectInfo(_)
            | Question::Boundary(_)
            | Question::Haves { .. }
            | Question::Pack
            | Question::Tags(_)
            | Question::Fetch(_) => None,
        };
        lines.map(Answer::Lines)
    }

    /// Answers one question.
    pub fn answer(&mut self, question: Question) -> Result<Answer, DeskError> {
        let answer = match question {
            Question::Advertise { capabilities } => {
                Ok(Answer::Lines(self.view().advertisement(&capabilities)?))
            }
            Question::LsRefs(arguments) => Ok(Answer::Lines(self.view().ls_refs(&arguments)?)),
            Question::ObjectInfo(arguments) => self.object_info(&arguments),
            Question::Boundary(needs) => self.bound_v0(*needs),
            Question::Haves { ids, judge, judge_end } => self.judge(&ids, judge, judge_end),
            Question::Pack => self.pack().map(|pack| Answer::Pack(Box::new(pack))),
            Question::Tags(request) => self.tags(&request),
            Question::Fetch(fetch) => self.fetch_first(*fetch),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(Refusal::Loud(message)) => Ok(Answer::Refused(message)),
            Err(Refusal::Quiet(message)) => Ok(Answer::RefusedQuietly(message)),
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    fn view(&self) -> View<'_> {
        View::new(&self.snapshot, &self.server.namespace, &self.settings.hide)
    }

    fn object_info(&self, arguments: &ObjectInfo) -> Result<Answer, Refusal> {
        let lines = super::refs::object_info(&self.snapshot.store, arguments)?;
        Ok(Answer::Lines(lines.into()))
    }

    /// The same as [`Self::fetch`], kept for others if nothing went before it.
    fn fetch_first(&mut self, fetch: Fetch) -> Result<Answer, Refusal> {
        let is_fresh = std::mem::replace(&mut self.is_fresh, false);
        let key = if is_fresh { recall::key(&self.view(), &fetch) } else { None };
        let answer = self.fetch(fetch)?;
        if let Some(key) = key {
            recall::remember(&self.snapshot.memo, key, &answer);
        }
        Ok(Answer::Fetch(Box::new(answer)))
    }

    /// v2: wants, haves, acknowledgments, and the pack once enough is known.
    fn fetch(&mut self, fetch: Fetch) -> Result<FetchAnswer, Refusal> {
        let Fetch { mut needs, haves, done, wait_for_done } = fetch;
        // A boundary belongs to one command; what it asks for must not depend on earlier ones.
        self.history.restore_parents();
        let wanted_refs = self.wanted_refs(&needs.want_refs)?;
        needs.wants.extend(wanted_refs.iter().map(|(id, _)| *id));
        self.take_wants(needs)?;
        self.not = self.resolve_deepen_not()?;
        // Every have that exists is acknowledged, also one that another one implies.
        let mut common = Vec::new();
        for id in &haves {
            if self.negotiation.have(&mut self.history, &self.snapshot.store, id)? {
                common.push(*id);
            }
        }
        let mut answer = FetchAnswer { wanted_refs, ..FetchAnswer::default() };
        if !haves.is_empty() && !done {
            let ready = !wait_for_done && self.negotiation.ready(&mut self.history)?;
            answer.acknowledgments = Some(Acknowledgments { common, ready });
            if !ready {
                return Ok(answer);
            }
        }
        answer.boundary = self.bound()?;
        // v2 has the section whenever the client is shallow, though nothing changes for it.
        if answer.boundary.is_none() && self.bounded.shallow.is_some() {
            answer.boundary = Some(Boundary::default());
        }
        answer.common = self.negotiation.common().len();
        answer.pack = Some(self.pack()?);
        Ok(answer)
    }

    fn wanted_refs(&self, names: &[BString]) -> Result<Vec<(ObjectId, BString)>, Refusal> {
        let (view, mut seen) = (self.view(), HashSet::new());
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let Some(id) = view.visible(name.as_ref()) else {
                return Err(Refusal::Loud(format!("unknown ref {name}")));
            };
            if !seen.insert(name) {
                return Err(Refusal::Loud(format!("duplicate want-ref {name}")));
            }
            found.push((id, name.clone()));
        }
        Ok(found)
    }

    /// v0: the wants are checked against what was advertised, then the boundary is drawn.
    fn bound_v0(&mut self, needs: Needs) -> Result<Answer, Refusal> {
        self.take_wants(needs)?;
        self.not = self.resolve_deepen_not()?;
        self.check_wants_v0()?;
        let boundary = self.bound()?;
        // What was cut off once is wanted now, and has to be judged like wants.
        self.negotiation.want(&[&self.needs.wants[..], &self.bounded.more_wants].concat());
        Ok(Answer::Boundary(boundary))
    }

    /// Keeps each want once, provided that it exists.
    fn take_wants(&mut self, mut needs: Needs) -> Result<(), Refusal> {
        let mut seen = HashSet::new();
        needs.wants.retain(|id| seen.insert(*id));
        for id in &needs.wants {
            if self.snapshot.store.header(id)?.is_none() {
                return Err(Refusal::Loud(format!("upload-pack: not our ref {id}")));
            }
        }
        self.negotiation.want(&needs.wants);
        self.needs = needs;
        Ok(())
    }

    /// v0 lets clients want what was advertised and, as configured, what that reaches.
    fn check_wants_v0(&mut self) -> Result<(), Refusal> {
        let allow = self.settings.allow_wants;
        if allow.any() {
            return Ok(());
        }
        let with_hidden = allow.tip() || allow.reachable();
        let ours = self.view().tips(with_hidden);
        let strangers: Vec<ObjectId> =
            self.needs.wants.iter().filter(|id| !ours.contains(*id)).copied().collect();
        let Some(first) = strangers.first() else { return Ok(()) };
        // Over stateless HTTP a want may have been advertised by an earlier process.
        let may_reach = self.stateless || allow.reachable();
        if may_reach && self.all_reachable(&strangers, &ours)? {
            return Ok(());
        }
        Err(Refusal::Loud(format!("upload-pack: not our ref {first}")))
    }

    fn all_reachable(
        &mut self,
        wants: &[ObjectId],
        ours: &HashSet<ObjectId>,
    ) -> Result<bool, Refusal> {
        let tips = self.history.commits(wants)?;
        // A broken ref reaches nothing.
        let mut excluded = Vec::with_capacity(ours.len());
        for id in ours {
            match self.history.commit(id) {
                Ok(node) => excluded.extend(node),
                Err(HistoryError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let beyond = match selected(&mut self.history, &tips, &excluded, None) {
            Err(HistoryError::Missing(_)) => return Ok(false),
            walked => walked?,
        };
        Ok(beyond.is_empty())
    }

    fn bound(&mut self) -> Result<Option<Boundary>, Refusal> {
        let (history, store) = (&mut self.history, &self.snapshot.store);
        self.bounded = boundary::draw(history, store, &self.needs, &self.not)?;
        Ok(self.bounded.boundary.clone())
    }

    fn resolve_deepen_not(&self) -> Result<Vec<ObjectId>, Refusal> {
        let view = self.view();
        let resolve = |name: &BString| match view.expand(name.as_ref()).as_slice() {
            [id] => Ok(*id),
            [] => Err(format!("git upload-pack: deepen-not is not a ref: deepen-not {name}")),
            [_, _, ..] => Err(format!("git upload-pack: ambiguous deepen-not: deepen-not {name}")),
        };
        self.needs.depth.not.iter().map(resolve).collect::<Result<_, _>>().map_err(Refusal::Quiet)
    }

    fn judge(&mut self, ids: &[ObjectId], judge: bool, at_end: bool) -> Result<Answer, Refusal> {
        let mut answer = HavesAnswer::default();
        for id in ids {
            let known = self.negotiation.have(&mut self.history, &self.snapshot.store, id)?;
            answer.haves.push(if known {
                HaveAnswer::Known { id: *id, common: self.negotiation.common().len() }
            } else {
                let ready = judge && self.negotiation.ready(&mut self.history)?;
                HaveAnswer::Unknown { id: *id, ready }
            });
        }
        answer.ready_at_end = at_end && self.negotiation.ready(&mut self.history)?;
        Ok(Answer::Haves(answer))
    }

    fn pack(&mut self) -> Result<PackRequest, Refusal> {
        let agreed = Agreed {
            needs: &self.needs,
            bounded: &self.bounded,
            haves: self.negotiation.known().copied().collect(),
            commits_max: self.packing_commits_max,
        };
        let view = View::new(&self.snapshot, &self.server.namespace, &self.settings.hide);
        packing::request(&mut self.history, &self.snapshot, view, agreed)
    }

    fn tags(&self, request: &PackRequest) -> Result<Answer, Refusal> {
        let store = Arc::clone(&self.snapshot.store);
        let mut history = History::new(store, self.history.cancel().clone());
        Ok(Answer::Tags(packing::open_tags(&mut history, request)?))
    }
}
