{{/* The beginning of every name. */}}
{{- define "dli-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 27 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* What never changes during the life of a release. */}}
{{- define "dli-operator.selectorLabels" -}}
app.kubernetes.io/name: dli-operator
app.kubernetes.io/component: controller-manager
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* On everything. */}}
{{- define "dli-operator.labels" -}}
app.kubernetes.io/name: dli-operator
app.kubernetes.io/part-of: dli-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "dli-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (printf "%s-controller-manager" (include "dli-operator.fullname" .)) -}}
{{- end -}}

{{- define "dli-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The subject of the operator's bindings. */}}
{{- define "dli-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "dli-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* Not empty if others than the pod itself reach the metrics: to tell who may
takes a right in the whole cluster, to review tokens. */}}
{{- define "dli-operator.metricsPort" -}}
{{- if and .Values.metrics.enabled (not (and .Values.rbac.namespaced .Values.metrics.secure)) -}}
true
{{- end -}}
{{- end -}}
