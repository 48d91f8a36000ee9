{{/* Name of the chart's objects. */}}
{{- define "palier.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that pods are selected by: they never change. */}}
{{- define "palier.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "palier.labels" -}}
{{ include "palier.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: palier
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Name of the controller's ServiceAccount. */}}
{{- define "palier.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "palier.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The controller as the API server knows it. */}}
{{- define "palier.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "palier.serviceAccountName" . }}
{{- end -}}

{{/* Whether admission policies are installed: they are cluster-wide objects. */}}
{{- define "palier.policies" -}}
{{- and .Values.policies.enabled (not .Values.namespaced) -}}
{{- end -}}

{{/* Whether those that change objects are: served since Kubernetes 1.36. */}}
{{- define "palier.mutatingPolicies" -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- $wanted := or (eq (toString .Values.policies.mutating) "true") (and (eq (toString .Values.policies.mutating) "auto") $served) -}}
{{- and (eq (include "palier.policies" .) "true") $wanted -}}
{{- end -}}

{{/* Whether configuration can be released: pods get their copies from a policy that changes objects. */}}
{{- define "palier.configCopies" -}}
{{- and .Values.config.enabled (eq (include "palier.mutatingPolicies" .) "true") -}}
{{- end -}}

{{/* How many objects of a kind are looked up by name when the author of a Rollout may not patch all of the kind. */}}
{{- define "palier.namedChecks" -}}7{{- end -}}

{{/* How many switches of degraded modes are looked up by name in the same case. */}}
{{- define "palier.namedSwitches" -}}24{{- end -}}

{{/* The image, by digest when one is given. */}}
{{- define "palier.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
What the controller may do with the objects of Rollouts, in every namespace or in one. Each rule is needed: a test takes
them away one by one.
*/}}
{{- define "palier.workRules" -}}
# The policy and its finalizer; the live status.
- apiGroups: [palier.dev]
  resources: [rollouts]
  verbs: [get, list, watch, patch]
- apiGroups: [palier.dev]
  resources: [rollouts/status]
  verbs: [patch]
# The records of runs.
- apiGroups: [palier.dev]
  resources: [rolloutruns]
  verbs: [get, create, delete]
- apiGroups: [palier.dev]
  resources: [rolloutruns/status]
  verbs: [patch]
# What people ask for.
- apiGroups: [palier.dev]
  resources: [rolloutactions]
  verbs: [list, watch]
# Gates to share.
- apiGroups: [palier.dev]
  resources: [gatetemplates]
  verbs: [list, watch]
# Deployments are paused and labelled, never made or deleted.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, patch]
# Canary ReplicaSets are made, sized, handed over and deleted.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch, create, patch, delete]
# Services are pinned; canary Services are made and deleted.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Which pods are behind a Service, and whether one of them is of another workload.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# Weights.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if .Values.hooks.enabled }}
# Hooks: Jobs made from suspended CronJobs, watched, and ended after their time.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if eq (include "palier.configCopies" .) "true" }}
# Configuration is read and copied; copies are handed over or deleted. The users' objects are never changed.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, update, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, create, patch, delete]
{{- end }}
{{- end -}}

{{/* What the controller may do in its own namespace. */}}
{{- define "palier.homeRules" -}}
# The right to create cannot be given by name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [palier]
  verbs: [get, update]
{{- with .Values.metricSecrets }}
# Tokens and CA bundles of metric servers, and no other Secret.
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- toYaml . | nindent 4 }}
  verbs: [get]
{{- end }}
{{- end -}}

{{/* What a person may look at. */}}
{{- define "palier.viewRules" -}}
- apiGroups: [palier.dev]
  resources: [rollouts, rolloutruns, rolloutactions, gatetemplates{{ if not .Values.namespaced }}, clustergatetemplates, metricsources{{ end }}]
  verbs: [get, list, watch]
{{- end -}}

{{/* What a person may ask of a run. */}}
{{- define "palier.operatorRules" -}}
- apiGroups: [palier.dev]
  resources: [rolloutactions]
  verbs: [create]
- apiGroups: [palier.dev]
  resources: [rollouts]
  verbs: [approve, promote, abort, pause, resume, retry]
{{- end -}}
