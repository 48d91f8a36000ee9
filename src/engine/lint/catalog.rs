//! Every check that lint makes, with its code. A code is never given to another check.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, but hardly as meant.
    Warning,
    /// Is refused, holds for ever, or judges something else.
    Error,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One check.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// `PAL` and three digits.
    pub code: &'static str,
    /// How bad a finding of it is.
    pub severity: Severity,
    /// What it looks for, in a few words.
    pub title: &'static str,
}

macro_rules! checks {
    ($($name:ident $code:literal $severity:ident $title:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: Check = Check { code: $code, severity: Severity::$severity, title: $title };
        )*
        /// All checks, by code.
        pub static ALL: &[&Check] = &[$(&$name),*];
    };
}

checks! {
    NOT_YAML "PAL001" Error "a document that is not YAML, or has a key twice";
    UNKNOWN_KIND "PAL002" Error "a kind or version that palier.dev does not have";
    UNKNOWN_FIELD "PAL003" Error "a field that the definition does not have";
    MISSING_FIELD "PAL004" Error "a required field that is missing";
    WRONG_TYPE "PAL005" Error "a value of another type";
    UNKNOWN_WORD "PAL006" Error "a word that is not among those allowed";
    OUT_OF_BOUNDS "PAL007" Error "a number, text or list out of its bounds";
    RULE_BROKEN "PAL008" Error "a rule of the definition that the API server would refuse";
    STATUS_GIVEN "PAL009" Note "a status in a manifest, which nobody reads";
    TWICE "PAL010" Warning "one object twice, with different contents";

    NOT_PROMQL "PAL101" Error "a query that is not PromQL";
    BAD_VARIABLE "PAL102" Error "a variable that is unknown or stands in the wrong place";
    NOT_ONE_NUMBER "PAL103" Error "a query that answers a range or a text";
    RATE_OF_COUNTERS "PAL104" Error "a rate where raw counters are counted";
    NO_POD "PAL105" Error "counters that are not told apart by pod";
    NO_BOUND "PAL106" Error "buckets without the label le";
    QUANTILE_WITHOUT_BOUND "PAL107" Error "histogram_quantile over buckets without the label le";
    NO_SERIES_YET "PAL108" Warning "a ratio whose numerator has no series while all is well, or while nothing is";
    ZERO_FOR_NO_TRAFFIC "PAL109" Warning "a ratio that turns no traffic into zero errors";
    NOT_THE_CANARY "PAL110" Warning "a query that does not tell the canary from stable";
    NO_STABLE "PAL111" Error "a comparison with stable that reads the canary's pods alone";
    NO_SUCH_VALUE "PAL112" Error "a variable that the component has no value for";
    PATTERN_AS_TEXT "PAL113" Error "a pattern compared with = instead of =~";
    SEVERAL_SERIES "PAL114" Warning "a query that answers several series";
    LAST_TWO_SAMPLES "PAL115" Warning "irate, which looks at two samples";
    COUNTER_AS_NUMBER "PAL116" Warning "a counter judged by its height";
    FILTER_NOT_NUMBER "PAL117" Warning "a comparison in the query, which answers nothing while it is false";
    SAME_QUERY "PAL118" Error "one query for the bad and for all requests";
    OTHER_METRIC "PAL119" Warning "bad requests that are not among all requests";

    PER_CENT "PAL201" Warning "a limit in per cent for a ratio, or a ratio for per cent";
    NO_TOLERANCE "PAL202" Warning "a limit of zero errors";
    UNIT_OF_TIME "PAL203" Warning "milliseconds for a metric in seconds, or the other way round";
    TOO_FEW_SAMPLES "PAL204" Warning "a window that never holds as many requests as the gate waits for";
    EASY_COMPARISON "PAL205" Warning "a comparison that hardly ever fails";
    UNIT_OF_AUTO "PAL206" Error "a limit in seconds or milliseconds of metrics that are yet to be chosen";

    SHORT_WINDOW "PAL301" Warning "a window that holds fewer than two scrapes";
    LONG_WINDOW "PAL302" Warning "a window that is longer than the bake";
    UNUSED_WINDOW "PAL303" Warning "a window that no query uses";
    FAST_INTERVAL "PAL304" Warning "an interval that is shorter than a scrape";
    FEW_EVALUATIONS "PAL305" Warning "more evaluations than the bake has time for";
    SLOW_TRIP "PAL306" Warning "a gate that needs longer than the bake to trip";
    IDLE_FAILURE_WINDOW "PAL307" Warning "a failureWindow that never decides";
    SHORT_PATIENCE "PAL308" Warning "a deadline for missing data that the first gap meets";
    IDLE_DEADLINE "PAL309" Warning "a deadline for missing data that is never reached";
    LATE_START "PAL310" Warning "an initialDelay that is longer than the bake";
    IDLE_MIN_BAKE "PAL311" Warning "a minBakeTime that changes nothing";
    NO_TIME_TO_START "PAL312" Error "a progressDeadline in which no pod can become ready";
    FALSE_ALARMS "PAL313" Warning "a rule that fails healthy releases too often";

    BLIND_PHASE "PAL401" Warning "a phase that is too short for its gate";
    NOBODY_TO_COMPARE "PAL402" Warning "a comparison with stable where there is no stable traffic";
    COARSE_SHARE "PAL403" Warning "a share of pods that the number of pods cannot give";
    NO_ROOM "PAL404" Error "more canary pods than maxExtraPods allows";
    LOOSE_ALPHA "PAL405" Warning "a large chance of false rollbacks";

    RECREATE "PAL501" Error "a Deployment that stops all pods first";
    UNKNOWN_NAME "PAL502" Warning "a name that looks like a slip";
    SERVICE_SELECTOR "PAL503" Error "a Service whose selector does not fit the Deployment";
    ROUTE_WITHOUT_SERVICE "PAL504" Error "a route that does not name the Service";
    SHARED_RULE "PAL505" Error "a route rule with other backends beside the Service";
    FOREIGN_PODS "PAL506" Error "a Service that selects pods of another Deployment";
    CANARY_NAME_TAKEN "PAL507" Error "another Service that has the canary's name";
    TWO_ROLLOUTS "PAL508" Error "a Deployment of two Rollouts";
    RUNNING_CRON_JOB "PAL509" Error "a CronJob of a hook that is not suspended";
    SWITCH_WITHOUT_PLACE "PAL510" Error "a switch whose place is not there";
    SOURCE_NOT_FOR_US "PAL511" Error "a MetricSource that is not for this namespace";
    OTHER_NAMESPACE "PAL512" Error "an object of that name in another namespace only";
    SAME_POD_NAMES "PAL513" Error "a Deployment whose pods cannot be told apart by name";
    MOVING_TAG "PAL514" Warning "an image whose tag says nothing about its version";

    CIRCLE "PAL601" Error "components that depend on each other";
    UNKNOWN_PART "PAL602" Error "a hook for a phase or component that is not there";
    NOWHERE_TO_STEP "PAL603" Warning "a step back with no phase to step back to";
    UNUSED_MODE "PAL604" Warning "a degraded mode that no gate asks for";
    MODE_TOO_SHORT "PAL605" Error "a degraded mode that ends before it can recover";
    NO_WAY_BACK "PAL606" Warning "a full rollback that cannot take back what has baked";
    RESTORE_WITHOUT_BACKUP "PAL607" Warning "a restore without a backup";
    BACKUP_MAY_FAIL "PAL608" Warning "a release that goes on without its backup";
    NOTHING_JUDGES "PAL609" Warning "a component that no gate can stop";
    SWITCH_TWICE "PAL610" Error "two switches of one place, or a value that is not JSON";
    UNPROVEN_PROMOTION "PAL611" Warning "a phase that is earned without proof";

    TEMPLATE_PARAMETER "PAL620" Error "a parameter that a template does not have, needs, or cannot take";
    TEMPLATE_GATE "PAL621" Error "a gate of a template that is no gate once its parameters are filled in";
    TEMPLATE_CLASH "PAL622" Error "gates of a template that do not go with the other gates";
    UNUSED_PARAMETER "PAL623" Warning "a parameter that no gate of its template uses";

    NOTHING_TODAY "PAL701" Warning "a query that answers nothing today";
    NO_GOOD_ANSWER "PAL702" Error "a query that the server cannot answer";
    FAILED_YESTERDAY "PAL703" Warning "a limit that yesterday's traffic would have failed";
    NOT_IN_THE_CLUSTER "PAL704" Error "an object that is not in the cluster";
    NO_CHOICE "PAL705" Warning "a preset that cannot be chosen today";
}
