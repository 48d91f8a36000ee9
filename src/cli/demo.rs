//! `palier demo`: a good release, a bad one, and one in the middle of which the controller is killed. No cluster and no download: the
//! controller is the real one, the API server, Kubernetes' own controllers, the gateway and Prometheus are those of the rig.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::api::{Outcome, Rollout, Span};
use crate::apiserver::natives::{Native, Settings};
use crate::apiserver::{Act, Deed, Fate, Front, Kind, Refusal, Sight, Sighted, Store, Weather};
use crate::rig::given::{SHOP, image};
use crate::rig::visitors::Visits;
use crate::rig::{CONTROLLER, Mood, Replica, Rig, Setup, play};

use super::live::Live;
use super::signals::EndSignals;
use super::view::{Detail, Ink, render_status, span, stamp, status_line};
use super::{CliError, ExitStatus, Printer};

/// Arguments of `palier demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The chance; the same number gives the same story
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// What goes wrong all the time: lost-answers, refusals, slow-network, old-views, slow-gateway, metrics-away
    #[arg(long, value_name = "FAULT", hide_possible_values = true)]
    pub fault: Vec<DemoFault>,
    /// How many times as fast as a clock it is shown on a terminal
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub speed: u32,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DemoFault {
    /// One write of seven is done, and its answer is lost
    LostAnswers,
    /// One request of five is refused: 409, 429, 500 or 503 in turn
    Refusals,
    /// Every request and every answer is 400 ms on its way
    SlowNetwork,
    /// The controller's watches lag 3 s behind
    OldViews,
    /// The gateway needs 5 s to accept a route, and 2 s more to act by it
    SlowGateway,
    /// Prometheus is away for a minute in the middle of each release
    MetricsAway,
}

/// From one picture to the next, by the demo's clock.
const FRAME: Duration = Duration::from_millis(250);
/// Requests of visitors in that time.
const VISITORS: u32 = 10;
/// No release takes longer by the demo's clock.
const LONGEST: Duration = Duration::from_secs(1_800);
const WORKLOAD: &str = "api";
/// The share of bad answers of the bad version.
const BAD: f64 = 0.3;

/// One act of the demo.
struct Scene {
    title: &'static str,
    tag: &'static str,
    is_bad: bool,
    kills: bool,
    wanted: Outcome,
}

const SCENES: [Scene; 3] = [
    Scene {
        title: "a good version is pushed",
        tag: "v2",
        is_bad: false,
        kills: false,
        wanted: Outcome::Completed,
    },
    Scene {
        title: "a bad version is pushed: under the load of 50 %, three of ten answers are errors",
        tag: "v3",
        is_bad: true,
        kills: false,
        wanted: Outcome::RolledBack,
    },
    Scene {
        title: "a good version again, and the controller is killed (kill -9) at every weight",
        tag: "v4",
        is_bad: false,
        kills: true,
        wanted: Outcome::Completed,
    },
];

/// Plays the demo.
///
/// # Errors
/// When nobody reads the output any more.
pub fn demo(args: &DemoArgs, printer: &Printer) -> Result<ExitStatus, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    listen(stop.clone());
    let late = Span::seconds(2);
    let mut settings = Settings {
        seed: args.seed,
        pod_start: Span::seconds(2),
        pod_end: Span::seconds(1),
        // What Kubernetes' controllers do comes when it comes: that is the chance of the demo.
        lags: [Native::ReplicaSets, Native::Endpoints, Native::Gateway].map(|native| (native, late)).into(),
        shuffles: true,
        ..Settings::default()
    };
    if args.fault.contains(&DemoFault::SlowGateway) {
        settings.gateway.accepts_after = Span::seconds(5);
        settings.gateway.acts_after = Span::seconds(2);
    }
    play(args.seed, settings, async |rig| Demo::new(&rig, args, printer, &stop).play().await)?
}

/// Ctrl-C asks for an end, so that the terminal is left as it was found.
fn listen(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            if let Ok(mut ends) = EndSignals::catch() {
                ends.next().await;
                stop.store(true, Ordering::Relaxed);
                ends.next().await;
                std::process::exit(130);
            }
        });
    });
}

struct Demo<'d> {
    rig: &'d Rig,
    args: &'d DemoArgs,
    printer: &'d Printer,
    stop: &'d AtomicBool,
    visits: Visits,
    last_line: String,
    kills: u32,
    summary: Vec<String>,
}

/// How an act ended.
enum End {
    Done(Option<Outcome>),
    Interrupted,
}

impl<'d> Demo<'d> {
    fn new(rig: &'d Rig, args: &'d DemoArgs, printer: &'d Printer, stop: &'d AtomicBool) -> Self {
        let (visits, summary) = (Visits::default(), Vec::new());
        Self { rig, args, printer, stop, visits, last_line: String::new(), kills: 0, summary }
    }

    async fn play(mut self) -> Result<ExitStatus, CliError> {
        let refused = |refusal: Refusal| CliError::Usage(refusal.to_string());
        self.rig.furnish(&[WORKLOAD]).map_err(refused)?;
        let replica = Replica::start(self.rig, self.setup());
        if let Err(late) =
            self.rig.until("Palier has hold of the workload, which serves", LONGEST, is_ready).await
        {
            return Err(CliError::Usage(late.to_string()));
        }
        self.printer.print(OPENING)?;
        let mut is_as_wanted = true;
        for (number, scene) in SCENES.iter().enumerate() {
            let before = (self.visits.clone(), self.rig.time.now(), self.kills);
            self.rig.push(SHOP, WORKLOAD, &image(WORKLOAD, scene.tag)).map_err(refused)?;
            self.say(&format!("{} of {}: {}", number + 1, SCENES.len(), scene.title))?;
            let End::Done(outcome) = self.act(scene, &replica).await? else {
                return Ok(ExitStatus::Interrupted);
            };
            is_as_wanted &= outcome == Some(scene.wanted);
            self.sum_up(scene, outcome, &before);
        }
        self.close()?;
        Ok(if is_as_wanted && self.visits.lost == 0 { ExitStatus::Success } else { ExitStatus::Refused })
    }

    fn setup(&self) -> Setup {
        let has = |fault| self.args.fault.contains(&fault);
        let faults = (has(DemoFault::LostAnswers), has(DemoFault::Refusals), has(DemoFault::SlowNetwork));
        let mut setup = Setup::plain(self.rig, "demo");
        setup.weather = Box::new(move |_| Some(weather(faults)));
        if has(DemoFault::OldViews) {
            setup.front = Front::new(Sight::Late(Duration::from_secs(3)));
        }
        setup
    }

    /// Plays until the run of this push has ended and the cluster is at rest again.
    async fn act(&mut self, scene: &Scene, replica: &Replica) -> Result<End, CliError> {
        let printer = self.printer;
        let mut live = printer.is_live().then(|| Live::new(printer)).transpose()?;
        let (mut killed_at, began) = (Vec::new(), tokio::time::Instant::now());
        let run =
            self.rig.server.read(|store| {
                rollout(store).and_then(|it| it["status"]["run"]["number"].as_i64()).unwrap_or(0)
            }) + 1;
        let mut rests = 0;
        while began.elapsed() < LONGEST {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Interrupted);
            }
            tokio::time::sleep(FRAME).await;
            self.visits.ask(self.rig, (SHOP, WORKLOAD), VISITORS);
            let weight = self.rig.server.read(weight_of);
            if scene.is_bad && weight >= 50 {
                self.spoil(scene.tag);
            }
            if scene.kills && weight > 0 && !killed_at.contains(&weight) {
                killed_at.push(weight);
                self.kills += 1;
                replica.kill();
            }
            if self.args.fault.contains(&DemoFault::MetricsAway) {
                let away = (20..80).contains(&began.elapsed().as_secs());
                self.rig.prometheus.set_mood(if away { Mood::Down } else { Mood::Well });
            }
            let Some(now) = self.rig.server.read(read) else { continue };
            self.show(&now, live.as_mut())?;
            let status = now.status.unwrap_or_default();
            let ended = status.run.filter(|it| it.number == run && it.ended_at.is_some());
            rests += u32::from(ended.is_some());
            if let Some(ended) = ended.filter(|_| rests > 8) {
                return Ok(End::Done(ended.outcome));
            }
        }
        Ok(End::Done(None))
    }

    /// The new version answers badly, wherever it runs.
    fn spoil(&self, tag: &str) {
        let wanted = image(WORKLOAD, tag);
        let set = self.rig.server.read(|store| {
            let mut sets = store.list(Kind::ReplicaSet, Some(SHOP));
            let found =
                sets.find(|(_, set)| set["spec"]["template"]["spec"]["containers"][0]["image"] == *wanted);
            found.map(|(key, _)| key.name.clone())
        });
        if let Some(set) = set {
            self.rig.prometheus.set_bad(&set, BAD);
        }
    }

    fn show(&mut self, rollout: &Rollout, live: Option<&mut Live<'_>>) -> Result<(), CliError> {
        let now = self.rig.time.now();
        let Some(live) = live else {
            let line = status_line(rollout);
            if line != self.last_line {
                self.printer.print(&format!("{} {line}\n", stamp(now)))?;
                self.last_line = line;
            }
            return Ok(());
        };
        let (columns, style) = (self.printer.size().0, self.printer.style());
        let mut frame = render_status(rollout, now, columns, style, Detail::Attention);
        let visitors = format!("visitors: {}, {} lost", served(&self.visits), self.visits.lost);
        let ink = if self.visits.lost == 0 { Ink::Dim } else { Ink::Bad };
        let _ = write!(frame, "\n{}\n", style.paint(ink, &visitors));
        live.draw(&frame)?;
        pass_real_time(FRAME / self.args.speed);
        Ok(())
    }

    fn say(&self, what: &str) -> Result<(), CliError> {
        let style = self.printer.style();
        Ok(self.printer.print(&format!("\n{}\n", style.paint(Ink::Strong, &format!("\u{25b8} {what}"))))?)
    }

    fn sum_up(&mut self, scene: &Scene, outcome: Option<Outcome>, before: &(Visits, jiff::Timestamp, u32)) {
        let visits = self.visits.since(&before.0);
        let took = span(self.rig.time.now().duration_since(before.1).as_secs());
        let outcome = outcome.map_or("not ended".to_owned(), |outcome| format!("{outcome:?}"));
        let kills = match self.kills - before.2 {
            0 => String::new(),
            kills => format!(", killed {kills} times"),
        };
        let (tag, all) = (scene.tag, visits.total());
        let line = format!(
            "  {tag}  {outcome:<11} {took:>7}  {all:>5} requests: {}, {} lost{kills}",
            served(&visits),
            visits.lost
        );
        self.summary.push(line);
    }

    fn close(&self) -> Result<(), CliError> {
        let requests = self.rig.server.read(|store| {
            store.log().iter().filter(|it| it.by == CONTROLLER && it.key.kind != Kind::Lease).count()
        });
        let text = format!(
            "\nWhat the visitors got\n\n{}\n\n  {requests} writes of the controller. The same story again: palier demo --seed {}\n\n{CLOSING}",
            self.summary.join("\n"),
            self.args.seed,
        );
        Ok(self.printer.print(&text)?)
    }
}

const OPENING: &str = "\
A Deployment api of four pods serves v1. A Rollout beside it says: 10 %, 50 %, 100 %, each for 20 s, and at most 5 % errors.\n";

const CLOSING: &str = "\
Next: `make demo` plays this on a real control plane on this machine, and the README says how to install Palier.\n";

fn weather((loses, refuses, is_slow): (bool, bool, bool)) -> Weather {
    let (mut writes, mut requests) = (0_u64, 0_usize);
    Box::new(move |sighted: &Sighted| {
        let mut fate = Fate::default();
        if is_slow {
            (fate.request_delay, fate.answer_delay) =
                (Duration::from_millis(400), Duration::from_millis(400));
        }
        if sighted.key.kind == Kind::Lease || sighted.act == Act::Watch {
            return fate;
        }
        requests += 1;
        writes += u64::from(sighted.act.is_write());
        if refuses && requests % 5 == 0 {
            let answers = [
                (409, "Conflict"),
                (429, "TooManyRequests"),
                (500, "InternalError"),
                (503, "ServiceUnavailable"),
            ];
            let (code, reason) = answers[requests / 5 % answers.len()];
            fate.deed = Deed::Refuse(Refusal::new(code, reason, "the demo's weather"));
        } else if loses && sighted.act.is_write() && writes % 7 == 0 {
            fate.deed = Deed::LoseAnswer;
        }
        fate
    })
}

fn rollout(store: &Store) -> Option<&Value> {
    store.get(Kind::Rollout, SHOP, "shop").map(AsRef::as_ref)
}

/// The workload serves all who ask, and Palier knows its version.
fn is_ready(store: &Store) -> bool {
    let is_known = rollout(store).is_some_and(|it| !it["status"]["components"][0]["stable"].is_null());
    let slices = store.list(Kind::EndpointSlice, Some(SHOP));
    is_known && slices.flat_map(|(_, slice)| slice["endpoints"].as_array().into_iter().flatten()).count() == 4
}

fn read(store: &Store) -> Option<Rollout> {
    serde_json::from_value(rollout(store)?.clone()).ok()
}

/// The canary's share, as the route says.
fn weight_of(store: &Store) -> i64 {
    let Some(route) = store.get(Kind::HttpRoute, SHOP, WORKLOAD) else { return 0 };
    let canary = format!("{WORKLOAD}-canary");
    let mut backends = route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten();
    backends
        .find(|backend| backend["name"] == *canary)
        .map_or(0, |backend| backend["weight"].as_i64().unwrap_or(1))
}

fn served(visits: &Visits) -> String {
    let parts: Vec<String> = visits.served.iter().map(|(tag, count)| format!("{tag} {count}")).collect();
    if parts.is_empty() { "nothing yet".to_owned() } else { parts.join(", ") }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo's own clock stands still meanwhile: this is for the eyes of a person"
)]
fn pass_real_time(time: Duration) {
    std::thread::sleep(time);
}
