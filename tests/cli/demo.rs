//! The demo ends as it says, whatever the weather.

use clap::ValueEnum;
use palier::cli::demo::{DemoArgs, DemoFault, demo};
use palier::cli::{ExitStatus, Printer};

fn played(seed: u64, fault: Vec<DemoFault>) -> (ExitStatus, String) {
    let (printer, out, _) = Printer::captured();
    let ended = demo(&DemoArgs { seed, fault, speed: 1 }, &printer).expect("it plays");
    (ended, out.text())
}

#[test]
fn a_good_a_bad_and_a_killed_release_and_nobody_loses_anything() {
    let (ended, text) = played(1, vec![]);
    assert_eq!(ended, ExitStatus::Success, "{text}");
    let summary: Vec<&str> = text.lines().skip_while(|line| *line != "What the visitors got").collect();
    for (line, (tag, outcome)) in
        summary[2..].iter().zip([("v2", "Completed"), ("v3", "RolledBack"), ("v4", "Completed")])
    {
        assert!(line.contains(tag) && line.contains(outcome) && line.contains(" 0 lost"), "{text}");
    }
    assert!(summary[3].contains("v3 ") && summary[4].contains("killed 3 times"), "{text}");
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_one_another() {
    let story = |seed| played(seed, vec![DemoFault::SlowNetwork]).1.replace(&format!("--seed {seed}"), "");
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}

#[test]
fn it_ends_the_same_in_any_weather() {
    for fault in DemoFault::value_variants() {
        let (ended, text) = played(2, vec![*fault]);
        assert_eq!(ended, ExitStatus::Success, "{fault:?}: {text}");
    }
    let (ended, text) = played(5, DemoFault::value_variants().to_vec());
    assert_eq!(ended, ExitStatus::Success, "all of them: {text}");
}
