//! Jobs.

use serde_json::json;

use super::super::fields::{condition, number, text};
use super::super::{Fate, Settings, given};
use super::Play;
use crate::api::Span;
use crate::apiserver::Kind;

fn ended(play: &Play, job: &str) -> Option<(String, String)> {
    let job = play.get(Kind::Job, job);
    let of = |kind: &str| {
        condition(&job["status"], kind).map(|it| (kind.to_owned(), text(it, "/reason").to_owned()))
    };
    of("Complete").or_else(|| of("Failed"))
}

#[test]
fn a_job_goes_as_its_name_or_its_image_says() {
    let mut settings = Settings::default();
    settings.jobs.insert("named".to_owned(), Fate::Fails(Span::seconds(3)));
    let mut play = Play::new(settings);
    for (name, image) in
        [("well", "app:v1-takes5"), ("ill", "app:fail2"), ("never", "app:hang"), ("named", "app:v1")]
    {
        play.create(Kind::Job, given::job(name, image));
    }
    assert_eq!(number(&play.get(Kind::Job, "well"), "/status/active"), Some(1));
    play.wait(4);
    assert_eq!(ended(&play, "well"), None);
    let failed = Some(("Failed".to_owned(), "BackoffLimitExceeded".to_owned()));
    assert_eq!((ended(&play, "ill"), ended(&play, "named")), (failed.clone(), failed));
    play.wait(1);
    assert_eq!(ended(&play, "well"), Some(("Complete".to_owned(), "CompletionsReached".to_owned())));
    play.wait(100_000);
    assert_eq!(ended(&play, "never"), None);
}

#[test]
fn it_tries_again_and_has_a_deadline() {
    let mut play = Play::new(Settings::default());
    let mut job = given::job("again", "app:fail");
    job["spec"]["backoffLimit"] = json!(2);
    play.create(Kind::Job, job);
    let tries = |play: &Play| play.all(Kind::Pod).len();
    assert_eq!(tries(&play), 1);
    play.wait(10);
    assert_eq!(tries(&play), 2);
    play.wait(20);
    assert_eq!((tries(&play), ended(&play, "again").unwrap().1), (3, "BackoffLimitExceeded".to_owned()));
    let mut job = given::job("slow", "app:hang");
    job["spec"]["activeDeadlineSeconds"] = json!(30);
    play.create(Kind::Job, job);
    play.wait(30);
    assert_eq!(ended(&play, "slow").unwrap().1, "DeadlineExceeded");
    play.wait(1);
    assert_eq!(tries(&play), 3, "the pod that ran was ended");
}

#[test]
fn a_finalizer_keeps_it() {
    let mut play = Play::new(Settings::default());
    let mut job = given::job("hook", "app:v1");
    job["metadata"]["finalizers"] = json!(["palier.dev/until-seen"]);
    play.create(Kind::Job, job);
    assert_eq!(ended(&play, "hook").unwrap().0, "Complete");
    play.delete(Kind::Job, "hook", None);
    assert!(play.get(Kind::Job, "hook")["metadata"]["deletionTimestamp"].is_string());
    play.edit(Kind::Job, "hook", |it| it["metadata"]["finalizers"] = json!([]));
    assert_eq!((play.all(Kind::Job).len(), play.all(Kind::Pod).len()), (0, 0));
}
