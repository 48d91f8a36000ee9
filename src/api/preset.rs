//! Queries that are known by the name of what serves the metrics: no line of PromQL to write.
//!
//! | preset | whose metrics | told apart by |
//! |---|---|---|
//! | `Istio` | the proxies of the pods, as receivers | the pod |
//! | `Linkerd` | the proxies of the pods, inbound | the pod |
//! | `OTel` | HTTP servers by OpenTelemetry's conventions | the pod |
//! | `Traefik` | the gateway | the Service: the canary has one of its own |
//! | `Kubelet` | the kubelet's own cAdvisor: CPU | the pod |
//! | `KubeStateMetrics` | the same, with the limits that kube-state-metrics tells: memory | the pod |
//!
//! `Auto` is none of them: it is chosen when a run begins, as the one of the first four that has series of the component.
//!
//! Counts by Service are given the name of a pod of the revision that the Service stands for, so that all rules for counters hold
//! for them as well: one series for each version, over all replicas of the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose metrics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// <https://istio.io/latest/docs/reference/config/metrics/>
    Istio,
    /// <https://linkerd.io/2/reference/proxy-metrics/>
    Linkerd,
    /// <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>
    OTel,
    /// <https://doc.traefik.io/traefik/observability/metrics/overview/>
    Traefik,
    /// Saturation of the CPU: periods in which a container was held back, of all periods.
    /// <https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md>
    Kubelet,
    /// Saturation of memory: what the fullest canary container uses, as a share of its limit; one number, for `threshold`.
    /// <https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md>
    KubeStateMetrics,
    /// The one of `Istio`, `Linkerd`, `OTel` and `Traefik` that has series of the component when the run begins; no
    /// verdict while none or several have.
    Auto,
}

/// Sums of Traefik's counters for the canary's Service and for the other, each named as a pod of its revision; `$by` are further
/// labels to keep, `$more` further matchers.
macro_rules! traefik {
    ($metric:literal, $by:literal, $more:literal) => {
        concat!(
            "label_replace(sum",
            $by,
            "(",
            $metric,
            "{service=~\"$namespace-$service-canary-(http-|grpc-)?[0-9]+@kubernetesgateway\"",
            $more,
            "}),\"pod\",\"$canary_set-total\",\"\",\"\") or label_replace(sum",
            $by,
            "(",
            $metric,
            "{service=~\"$namespace-$service-(http-|grpc-)?[0-9]+@kubernetesgateway\"",
            $more,
            "}),\"pod\",\"$stable_set-total\",\"\",\"\")"
        )
    };
}

impl Preset {
    /// All with queries of their own.
    pub const ALL: [Self; 6] =
        [Self::Istio, Self::Linkerd, Self::OTel, Self::Traefik, Self::Kubelet, Self::KubeStateMetrics];

    /// Those that `Auto` may stand for: they count requests. `Traefik` counts by Service, so that the component needs one.
    #[must_use]
    pub const fn candidates(has_service: bool) -> &'static [Self] {
        const ALL: [Preset; 4] = [Preset::Istio, Preset::Linkerd, Preset::OTel, Preset::Traefik];
        if has_service { &ALL } else { ALL.split_at(3).0 }
    }

    /// PromQL of one number, of a preset that answers one.
    #[must_use]
    pub const fn number(self) -> Option<&'static str> {
        match self {
            Self::KubeStateMetrics => Some(
                "max(max by (pod, container) (container_memory_working_set_bytes{namespace=\"$namespace\",\
                 pod=~\"$canary_pods\",container!=\"\"}) / max by (pod, container) (kube_pod_container_resource_limits{\
                 namespace=\"$namespace\",pod=~\"$canary_pods\",resource=\"memory\"}))",
            ),
            _ => None,
        }
    }

    /// PromQL of the counter of requests that ended with an error of the server, or of periods without enough CPU.
    #[must_use]
    pub const fn bad(self) -> Option<&'static str> {
        Some(match self {
            Self::Istio => {
                "sum by (pod) (istio_requests_total{reporter=\"destination\",namespace=\"$namespace\",pod=~\"$pods\",\
                 response_code=~\"5..|0\"})"
            }
            Self::Linkerd => {
                "sum by (pod) (response_total{direction=\"inbound\",namespace=\"$namespace\",pod=~\"$pods\",\
                 classification=\"failure\"})"
            }
            Self::OTel => {
                "sum by (pod) (label_replace(http_server_request_duration_seconds_count{k8s_namespace_name=\"$namespace\",\
                 k8s_pod_name=~\"$pods\",http_response_status_code=~\"5..\"},\"pod\",\"$1\",\"k8s_pod_name\",\"(.*)\"))"
            }
            Self::Traefik => traefik!("traefik_service_requests_total", "", ",code=~\"5..\""),
            Self::Kubelet => {
                "sum by (pod) (container_cpu_cfs_throttled_periods_total{namespace=\"$namespace\",pod=~\"$pods\",container!=\"\"})"
            }
            Self::KubeStateMetrics | Self::Auto => return None,
        })
    }

    /// PromQL of the counter of all requests, or periods.
    #[must_use]
    pub const fn total(self) -> Option<&'static str> {
        Some(match self {
            Self::Istio => {
                "sum by (pod) (istio_requests_total{reporter=\"destination\",namespace=\"$namespace\",pod=~\"$pods\"})"
            }
            Self::Linkerd => {
                "sum by (pod) (response_total{direction=\"inbound\",namespace=\"$namespace\",pod=~\"$pods\"})"
            }
            Self::OTel => {
                "sum by (pod) (label_replace(http_server_request_duration_seconds_count{k8s_namespace_name=\"$namespace\",\
                 k8s_pod_name=~\"$pods\"},\"pod\",\"$1\",\"k8s_pod_name\",\"(.*)\"))"
            }
            Self::Traefik => traefik!("traefik_service_requests_total", "", ""),
            Self::Kubelet => {
                "sum by (pod) (container_cpu_cfs_periods_total{namespace=\"$namespace\",pod=~\"$pods\",container!=\"\"})"
            }
            Self::KubeStateMetrics | Self::Auto => return None,
        })
    }

    /// PromQL of the histogram of latency: in milliseconds for `Istio` and `Linkerd`, in seconds for the others.
    #[must_use]
    pub const fn buckets(self) -> Option<&'static str> {
        Some(match self {
            Self::Istio => {
                "sum by (pod, le) (istio_request_duration_milliseconds_bucket{reporter=\"destination\",\
                 namespace=\"$namespace\",pod=~\"$pods\"})"
            }
            Self::Linkerd => {
                "sum by (pod, le) (response_latency_ms_bucket{direction=\"inbound\",namespace=\"$namespace\",pod=~\"$pods\"})"
            }
            Self::OTel => {
                "sum by (pod, le) (label_replace(http_server_request_duration_seconds_bucket{\
                 k8s_namespace_name=\"$namespace\",k8s_pod_name=~\"$pods\"},\"pod\",\"$1\",\"k8s_pod_name\",\"(.*)\"))"
            }
            Self::Traefik => traefik!("traefik_service_request_duration_seconds_bucket", " by (le) ", ""),
            Self::Kubelet | Self::KubeStateMetrics | Self::Auto => return None,
        })
    }
}
