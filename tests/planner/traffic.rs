//! A metric server with counters of its own: steady requests to every pod, of which a fixed share goes badly or slowly.

use jiff::{SignedDuration, Timestamp};
use palier::api::Preset;
use palier::engine::{Answer, Ask, Line, Measurement, Reading};
use palier::sim::Reply;

use crate::fixtures::{at, start};

/// What the pods count.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Requests a second to each canary pod and to each stable pod.
    pub rates: (f64, f64),
    /// The share of bad ones of the canary and of stable.
    pub bad: (f64, f64),
    /// The pods of the canary and of stable.
    pub pods: (usize, usize),
    /// When the canary's pods began.
    pub began_at: Timestamp,
    /// From when to when the metric server does not answer, and took no samples.
    pub outage: Option<(Timestamp, Timestamp)>,
    /// From when on the metric server answers, but takes no samples.
    pub blind_from: Option<Timestamp>,
    /// A moment at which the canary's processes begin anew.
    pub restart: Option<Timestamp>,
    /// The presets that have series.
    pub presets: Vec<Preset>,
}

impl Traffic {
    /// Healthy: 40 requests a second to one canary pod, 40 to each of four stable ones; 1 % go badly.
    pub fn healthy() -> Self {
        Self {
            rates: (40.0, 40.0),
            bad: (0.01, 0.01),
            pods: (1, 4),
            began_at: at(31),
            outage: None,
            blind_from: None,
            restart: None,
            presets: Vec::new(),
        }
    }

    /// Answers a question at `now`.
    pub fn answer(&self, asked: &Measurement, now: Timestamp) -> Reply {
        if self.is_out(now) {
            return Reply::Now(Answer::Failed("no connection to the server".into()));
        }
        let (queries, from, until, step) = match &asked.ask {
            Ask::Series { queries, from, until, step } => (queries, from, until, step),
            Ask::Which { presets, queries, at } => return Reply::Now(self.which(presets, queries, *at)),
            Ask::Number(_) => return Reply::Now(Answer::Sample { value: 0.0, sampled_at: now }),
        };
        assert!(*until <= now, "{until} is not over at {now}");
        let moments: Vec<Timestamp> =
            std::iter::successors(Some(*from), |at| at.checked_add(step.as_signed()).ok())
                .take_while(|at| at <= until)
                .collect();
        Reply::Now(Answer::Series(queries.iter().map(|query| self.lines(query, &moments)).collect()))
    }

    fn which(&self, presets: &[Preset], queries: &[String], at: Timestamp) -> Answer {
        let lines = |(preset, query): (&Preset, &String)| {
            if self.presets.contains(preset) { self.lines(query, &[at]) } else { Vec::new() }
        };
        Answer::Series(presets.iter().zip(queries).map(lines).collect())
    }

    fn is_out(&self, at: Timestamp) -> bool {
        self.outage.is_some_and(|(from, until)| at >= from && at < until)
    }

    /// The series of a query: of the pods whose ReplicaSets its pattern names, the first of them the canary's.
    fn lines(&self, query: &str, moments: &[Timestamp]) -> Vec<Line> {
        let is_pattern = |part: &&str| part.ends_with("[a-z0-9]{5}");
        let pattern = query.split('"').find(is_pattern).expect("a pattern of pods");
        let sets: Vec<&str> = pattern.split('|').map(|it| it.trim_end_matches("[a-z0-9]{5}")).collect();
        let with_canary = sets.len() == 2;
        let pods = sets.iter().enumerate().flat_map(|(index, set)| {
            let is_canary = with_canary && index == 0;
            let count = if is_canary { self.pods.0 } else { self.pods.1 };
            (0..count).map(move |pod| (is_canary, format!("{set}aaa{pod:02}")))
        });
        let uppers: &[Option<f64>] =
            if query.contains("buckets") { &[Some(0.1), Some(0.5), Some(f64::INFINITY)] } else { &[None] };
        pods.flat_map(|(is_canary, pod)| uppers.iter().map(move |upper| (is_canary, pod.clone(), *upper)))
            .map(|(is_canary, pod, upper)| Line {
                pod,
                upper,
                points: moments.iter().filter_map(|at| self.point(query, is_canary, upper, *at)).collect(),
            })
            .collect()
    }

    fn point(
        &self,
        query: &str,
        is_canary: bool,
        upper: Option<f64>,
        moment: Timestamp,
    ) -> Option<(Timestamp, Reading)> {
        let (rate, bad) = if is_canary { (self.rates.0, self.bad.0) } else { (self.rates.1, self.bad.1) };
        let stable_since = start().checked_sub(SignedDuration::from_hours(8)).expect("a time");
        let born = if is_canary { self.began_at } else { stable_since };
        let born = self.restart.filter(|at| is_canary && *at <= moment).unwrap_or(born);
        let is_blind = self.blind_from.is_some_and(|from| moment >= from);
        if moment < born || is_blind || self.is_out(moment) {
            return None;
        }
        let total = (moment.duration_since(born).as_secs_f64() * rate).floor();
        let is_bad = query.starts_with("bad") || query.contains("response_code=~");
        let count = match upper {
            // The share of slow requests is above half a second.
            Some(upper) if upper <= 0.1 => (total * (1.0 - bad) * 0.5).floor(),
            Some(upper) if upper <= 0.5 => total - (total * bad).floor(),
            None if is_bad => (total * bad).floor(),
            _ => total,
        };
        // The first bad request makes the series.
        (!is_bad || count > 0.0).then_some((moment, Reading::Number(count)))
    }
}
