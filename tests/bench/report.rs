//! The page `docs/performance.md`.

use std::fmt::Write as _;

use crate::reaction::{Bad, Spread};
use crate::release::Release;
use crate::rest::Rest;

const MIB: f64 = 1024.0 * 1024.0;

/// What was measured at one size.
pub struct Row {
    /// Number of Rollouts.
    pub size: usize,
    /// At rest.
    pub rest: Rest,
    /// During a release of all.
    pub release: Release,
    /// Reaction to a bad metric.
    pub bad: Bad,
    /// Reaction to an abort.
    pub abort: Spread,
}

/// Everything that was measured.
pub struct Report {
    /// By size.
    pub rows: Vec<Row>,
    /// Whether every size was measured.
    pub is_whole: bool,
    /// Bytes of the program.
    pub binary: u64,
}

impl Row {
    /// One paragraph for the terminal.
    pub fn in_short(&self) -> String {
        let Self { size, rest, release, bad, abort } = self;
        let mut text = format!(
            "N={size}: completed +{:.1} s, earned +{:.1} s, median run +{:.1} s; {:.1} requests and {:.1} Events each, {:.2} conflicts, \
             {:.1} queries; {:.1} ms CPU; peak {:.1} MiB, at rest {:.1} MiB, {:.2} requests/min each, {:.2} s CPU/min\n",
            release.completed,
            release.earned,
            release.run,
            release.requests.0,
            release.requests.1,
            release.conflicts,
            release.queries,
            release.cpu,
            release.peak as f64 / MIB,
            rest.resident as f64 / MIB,
            rest.requests,
            rest.cpu,
        );
        let _ = writeln!(text, "  requests: {}", in_words(&release.by_kind));
        let _ =
            writeln!(text, "  reconciles: {}; at rest: {:?}", in_words(&release.reconciles), rest.by_kind);
        let _ = writeln!(
            text,
            "  bad answer → 0: {}; flip → 0: {}; abort → 0: {}",
            spread(&bad.from_answer),
            spread(&bad.from_flip),
            spread(abort)
        );
        text
    }
}

/// Seconds, or a dash where they were not measured.
fn time(seconds: f64, digits: usize) -> String {
    if seconds.is_nan() { "–".to_owned() } else { format!("{seconds:.digits$}") }
}

fn in_words(by_kind: &[(String, f64)]) -> String {
    by_kind.iter().map(|(kind, count)| format!("{kind} {count:.2}")).collect::<Vec<_>>().join(", ")
}

fn spread(spread: &Spread) -> String {
    format!("p50 {:.3} s, p99 {:.3} s (n={})", spread.quantile(0.5), spread.quantile(0.99), spread.len())
}

impl Report {
    fn each(&self, show: impl Fn(&Row) -> String) -> String {
        self.rows.iter().map(show).collect::<Vec<_>>().join(" / ")
    }

    fn table(&self) -> String {
        let mut text =
            String::from("| | Argo Rollouts | Flagger | budget | Palier |\n|---|---|---|---|---|\n");
        let mut line = |what: &str, argo: &str, flagger: &str, budget: &str, palier: String| {
            let _ = writeln!(text, "| {what} | {argo} | {flagger} | {budget} | {palier} |");
        };
        let by_size =
            |show: &dyn Fn(&Row) -> f64, digits: usize| self.each(|row| format!("{:.digits$}", show(row)));
        line(
            "all promoted, seconds beyond the ideal 30",
            "0.15 / 27 / 706",
            "40 / 46 / never",
            "– / 2 / 60",
            by_size(&|row| row.release.completed, 1),
        );
        line(
            "every phase earned, seconds beyond the ideal 30",
            "–",
            "–",
            "–",
            by_size(&|row| row.release.earned, 1),
        );
        line(
            "API requests per Rollout, Events included",
            "77 / 69 / 46",
            "120 / 123 / 990",
            "32",
            by_size(&|row| row.release.requests.0 + row.release.requests.1, 1),
        );
        line(
            "of these Events",
            "30 / 25 / 1.3",
            "8 / 0.8 / 13",
            "–",
            by_size(&|row| row.release.requests.1, 1),
        );
        line(
            "API requests per Rollout and minute at rest",
            "0",
            "60",
            "0",
            by_size(&|row| row.rest.requests, 2),
        );
        line(
            "bad answer → weight 0 in seconds, p50",
            "–",
            "–",
            "0.05 at N=1",
            self.each(|row| time(row.bad.from_answer.quantile(0.5), 3)),
        );
        line(
            "bad answer → weight 0 in seconds, p99",
            "–",
            "–",
            "1 at N=100",
            self.each(|row| time(row.bad.from_answer.quantile(0.99), 3)),
        );
        line(
            "metric bad → weight 0 in seconds, p50, gate asked each second",
            "0.61 / 7.3 / –",
            "15.2 / 15.4 / –",
            "–",
            self.each(|row| time(row.bad.from_flip.quantile(0.5), 2)),
        );
        line(
            "the same, p99",
            "1.01 / 8.2 / –",
            "19.8 / 17.5 / –",
            "–",
            self.each(|row| time(row.bad.from_flip.quantile(0.99), 2)),
        );
        line(
            "abort → weight 0 in seconds, p50",
            "0.031 / 6.9 / –",
            "3.1 / 5.7 / –",
            "0.03 at N=1",
            self.each(|row| time(row.abort.quantile(0.5), 3)),
        );
        line(
            "the same, p99",
            "0.042 / 13.4 / –",
            "9.7 / 7.4 / –",
            "0.5 at N=100",
            self.each(|row| time(row.abort.quantile(0.99), 3)),
        );
        line(
            "controller CPU per Rollout in ms",
            "260 / 219 / 702",
            "90 / 41 / 354",
            "– / 15 / 15",
            by_size(&|row| row.release.cpu, 1),
        );
        line(
            "controller CPU at rest, seconds per minute",
            "0.06 / 0.05 / 0.07",
            "0.05 / 3.9 / 18",
            "–",
            by_size(&|row| row.rest.cpu, 2),
        );
        line(
            "resident memory at rest in MiB",
            "90 / 102 / 169",
            "66 / 74 / 109",
            "12 / 14 / 30",
            by_size(&|row| row.rest.resident as f64 / MIB, 1),
        );
        line(
            "peak in MiB",
            "94 / 136 / 787",
            "67 / 80 / 191",
            "– / – / 60",
            by_size(&|row| row.release.peak as f64 / MIB, 1),
        );
        line("Prometheus queries per Rollout", "3", "3", "–", by_size(&|row| row.release.queries, 1));
        line("release binary in MB", "95", "69", "15", format!("{:.1}", self.binary as f64 / 1e6));
        text
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut text = format!(
            "# What Palier costs\n\n\
             Written by `make bench` (`tests/bench`). Values are for N = {} Rollouts, in this order; those of Argo Rollouts 1.10.1 and\n\
             Flagger 1.44.0 for N = 1 / 100 / 1 000 of the same work on a machine of the same kind, with raised client limits.\n\n{}\n",
            self.each(|row| row.size.to_string()),
            self.table()
        );
        text.push_str("## Requests of one Rollout, by kind\n\n");
        for row in &self.rows {
            let _ = writeln!(text, "- N = {}: {}", row.size, in_words(&row.release.by_kind));
        }
        text.push_str(HOW);
        if let Ok(note) = std::env::var("BENCH_NOTE") {
            let _ = writeln!(text, "- {note}");
        }
        text
    }
}

const HOW: &str = "
## Where the time goes with many at once

- In the API server. Of the processor time that a release of 100 Rollouts takes it uses about three quarters, some 350 ms for each
  Rollout (Palier's requests and everybody else's together), controller manager, etcd and scheduler most of the rest, Palier 6 %.
  When nothing else happens it answers a write of a Rollout's status in some 8 ms, of a route in 4 ms, an Event in 2 ms.
- Of a status write's processor time in the API server a quarter is its garbage collector, a fifth decoding the object, an eighth
  checking it against the schema with all CEL rules (the rules some 1 to 2 %, by 258 samples), 6 % managed fields, 4 % the policies. Its form matters
  little (300 writes of each, side by side): the whole status as a JSON patch 1, a patch of two fields 1.02, a PUT without the spec
  0.90; without the chart's policies 0.90. Fewer and smaller writes are what helps.
- A Service gets its address under a lock that the API server holds for a whole inner request (`AllocateNextService`, Kubernetes
  1.36): canaries' Services are made one at a time, each in 5 ms when nothing else happens and in some 70 ms on two busy cores.
  That is why canary pods are started before their Service is asked for.

## How it is measured

- Two cores carry everything: etcd, kube-apiserver, controller manager and scheduler 1.36, KWOK as nodes and kubelets, the benchmark
  itself. One controller with the chart's rights and default settings.
- A Rollout has a Deployment of 2 replicas, a Service and an HTTPRoute; phases 10 → 50 → 100 % with `bakeTime: 10s`; one gate with
  `interval: 10s`, `minEvaluations: 1`; `drainTime: 1s`. A stub answers its query at once. All images are changed at once.
- A stand-in for the gateway accepts each version of a route at once. A real one adds its own time.
- *All promoted*: from the first changed image until the record of the last run says complete, with the Service, the route and the
  Deployment handed back. In it are a second in which the data plane learns of the canary's endpoints, and the drain time.
- Requests are counted in the API server's audit log by user, without leader election and watches. CPU time, resident memory and its peak
  are the kernel's (`/proc`); memory at rest is that of a freshly started controller.
- Reaction: gates are asked each second, one failure trips. The stub knows when it gave the bad answer, the audit log when the write that
  took the weight back was done. N = 1: repeated runs; otherwise all Rollouts at once.
";
