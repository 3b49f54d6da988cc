//! What configuration makes of a push, and when a child has to serve it.

use super::super::settings::{AlternateRefs, Deny};
use super::*;
use crate::objects::tests::fixture::Fixture;
use crate::repository::{Environment, Repository};

fn parsed(text: &str) -> Settings {
    Settings::from_config(&config(text)).unwrap()
}

#[test]
fn limits_are_those_of_git() {
    let check = |text: &str, expected: u32| assert_eq!(parsed(text).unpack_limit, expected);
    check("", 100);
    check("transfer.unpacklimit=7", 7);
    check("transfer.unpacklimit=7 receive.unpacklimit=1k", 1_024);
    check("transfer.unpacklimit=-1", 100);
    check("receive.unpacklimit=0", 0);
    assert_eq!(parsed("receive.maxinputsize=2m").input_bytes_max, Some(2 << 20));
    assert_eq!(parsed("receive.maxinputsize=0").input_bytes_max, None);
}

#[test]
fn fsck_is_told_to_the_child() {
    let check = |text: &str, expected: Option<&str>| {
        let settings = parsed(text);
        assert_eq!(settings.fsck.as_ref().map(ToString::to_string).as_deref(), expected, "{text}");
        assert_eq!(settings.fallback, None);
    };
    check("", None);
    check("receive.fsck.badtimezone=ignore", None);
    check("transfer.fsckobjects=true", Some(""));
    check("transfer.fsckobjects=true receive.fsckobjects=false", None);
    check(
        "transfer.fsckobjects=true receive.fsck.badtimezone=ignore receive.fsck.skiplist=/a \
         receive.fsck.missingspacebeforedate=warn",
        Some("=badtimezone=ignore,skiplist=/a,missingspacebeforedate=warn"),
    );
    // git of another version may know it; whoever does not check does not ask.
    let unknown = "receive.fsck.brandnew=warn";
    check(unknown, None);
    let unknown = parsed(&format!("receive.fsckobjects=1 {unknown}"));
    assert_eq!(unknown.fallback, Some(Fallback::FsckMessages));
    let bad = Settings::from_config(&config("receive.fsck.badtimezone=maybe"));
    assert_eq!(
        bad.unwrap_err().to_string(),
        "unable to parse 'receive.fsck.badtimezone': bad value 'maybe'"
    );
}

#[test]
fn branches_are_guarded_by_words_and_booleans() {
    let check = |value: &str, expected: Deny| {
        let settings = parsed(&format!("receive.denycurrentbranch={value}"));
        assert_eq!(settings.deny_current_branch, expected, "{value}");
    };
    check("Ignore", Deny::Ignore);
    check("warn", Deny::Warn);
    check("refuse", Deny::Refuse);
    check("updateInstead", Deny::UpdateInstead);
    check("true", Deny::Refuse);
    check("no", Deny::Ignore);
    assert_eq!(parsed("").deny_current_branch, Deny::Unconfigured);
}

#[test]
fn only_what_is_done_exactly_is_done_here() {
    let check = |text: &str, expected: Option<Fallback>| {
        assert_eq!(parsed(text).fallback, expected, "{text}");
    };
    check("receive.certnonceseed=x", Some(Fallback::PushCertificates));
    check("receive.procreceiverefs=refs/for", Some(Fallback::ProcReceive));
    check("receive.shallowupdate=true", Some(Fallback::ShallowUpdate));
    check("transfer.advertisesid=true", Some(Fallback::SessionId));
    check("receive.denycurrentbranch=updateInstead", None);
    let refs = parsed("core.alternaterefsprefixes=refs/heads").alternate_refs;
    assert_eq!(refs, AlternateRefs::Prefixes(vec!["refs/heads".into()]));
    let machine =
        ReceivePack::new(Version::V0, Mode::Stateful, server(), parsed("transfer.advertisesid=1"));
    assert_eq!(converse(machine, &[]), "FALLBACK session-id");
}

#[test]
fn repositories_tell_whether_a_child_is_needed() {
    let fixture = Fixture::with_history(3);
    let check = |expected: Option<Fallback>, case: &str| {
        let repository = Repository::open(fixture.dir.path(), Environment::default()).unwrap();
        let snapshot = repository.snapshot().unwrap();
        let settings = Settings::of(&snapshot.config, &snapshot).unwrap();
        assert_eq!(settings.fallback, expected, "{case}");
    };
    check(None, "bare");
    fixture.git(&["config", "core.bare", "false"]);
    check(None, "a work tree on a branch");
    fixture.git(&["config", "receive.denyCurrentBranch", "updateInstead"]);
    check(Some(Fallback::WorkTree), "a work tree to update");
    fixture.git(&["config", "--unset", "receive.denyCurrentBranch"]);
    fixture.git(&["update-ref", "--no-deref", "HEAD", "main"]);
    check(Some(Fallback::WorkTree), "a detached work tree");
    fixture.git(&["config", "core.bare", "true"]);
    check(None, "bare and detached");
    fixture.git(&["worktree", "add", "-q", "--no-checkout", "linked", "main"]);
    check(Some(Fallback::WorkTree), "a linked worktree");
    fixture.git(&["worktree", "remove", "--force", "linked"]);
    fixture.git(&["config", "core.alternateRefsCommand", "exit 1"]);
    check(None, "no alternates");
    let pool = Fixture::empty();
    let line = format!("{}\n", pool.objects().display());
    std::fs::write(fixture.objects().join("info/alternates"), line).unwrap();
    check(Some(Fallback::AlternateRefsCommand), "a command for alternates");
    fixture.git(&["config", "core.alternateRefsCommand", "exit 0 #"]);
    check(None, "a command that says nothing");
    std::fs::write(fixture.dir.path().join("shallow"), format!("{}\n", fixture.id("main")))
        .unwrap();
    check(Some(Fallback::Repository(crate::repository::Unsupported::Shallow)), "shallow");
}
